# SPDX-License-Identifier: MIT
"""Origins of a number: the reference, this machine, the published protocol run here, or the thread."""

from __future__ import annotations

from uffdlab.vocabulary.looks import BLUE, GREEN, HERE_GREY, ORANGE, VERMILLION, Look

MEASURED, PROTOCOL, HERE = "measured", "measured by the published protocol", "this machine"
ORIGINS = {
    MEASURED: Look(BLUE, "octagon"),
    PROTOCOL: Look(ORANGE, "pentagon"),
    HERE: Look(HERE_GREY, "star"),
}
PUBLISHED_SYMBOL = "x-thin-open"
# By source of the thread's table.
AUTHORS = {
    "xu-vm": ("published: Peter Xu", GREEN),
    "anjum-first": ("published: M. Usama Anjum", VERMILLION),
    "anjum-madvise": ("published: M. Usama Anjum", VERMILLION),
    "anjum-always": ("published: M. Usama Anjum", VERMILLION),
}
