# SPDX-License-Identifier: MIT
"""Origins of a number: the dataset, a second one beside it, the published protocol run here, or the thread."""

from __future__ import annotations

from uffdlab.vocabulary.looks import BESIDE_GREY, BLUE, GREEN, ORANGE, VERMILLION, Look

MEASURED, PROTOCOL, BESIDE = "measured", "measured by the published protocol", "measured, a second dataset"
HERE = "this machine"  # what a second dataset is called that its reader measured
ORIGINS = {
    MEASURED: Look(BLUE, "octagon"),
    PROTOCOL: Look(ORANGE, "pentagon"),
    BESIDE: Look(BESIDE_GREY, "star"),
}
PUBLISHED_SYMBOL = "x-thin-open"
# By source of the thread's table.
AUTHORS = {
    "xu-vm": ("published: Peter Xu", GREEN),
    "anjum-first": ("published: M. Usama Anjum", VERMILLION),
    "anjum-madvise": ("published: M. Usama Anjum", VERMILLION),
    "anjum-always": ("published: M. Usama Anjum", VERMILLION),
}
