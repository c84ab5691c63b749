# SPDX-License-Identifier: MIT
"""Scan the pages of a live process by state, without touching any of them.

``scan`` reads one process; ``as_dict`` and ``text`` format the result, ``bitmap_of`` converts it for replay, and
``running`` starts a command to scan. The states are defined in ``uffdlab.occupancy.scanning``.
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
