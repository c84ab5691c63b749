# SPDX-License-Identifier: MIT
"""What the memory of a live process is made of, page by page, without touching any of it.

``scan`` looks at one process; ``as_dict`` and ``text`` say what was found, ``bitmap_of`` makes it a file to replay, and
``running`` starts a command to look at. What the shares mean stands in ``uffdlab.occupancy.scanning``.
"""

from __future__ import annotations

from .command import running
from .export import bitmap_of
from .report import as_dict, mapping_dicts, summary_dict, text
from .scanning import METHODS, STATES, Granularity, Occupancy, Progress, Scan, scan

__all__ = [
    "METHODS",
    "STATES",
    "Granularity",
    "Occupancy",
    "Progress",
    "Scan",
    "as_dict",
    "bitmap_of",
    "mapping_dicts",
    "running",
    "scan",
    "summary_dict",
    "text",
]
