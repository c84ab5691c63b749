# SPDX-License-Identifier: MIT
"""uffdlab: the UFFD_FEATURE_WP_ZEROPAGE thread as an executable paper.

Importing this package imports nothing heavy: each room (``uffdlab.probes``, ``uffdlab.datasets``,
``uffdlab.claims`` …) is imported by whoever needs it.
"""

__version__ = "0.1.0"
