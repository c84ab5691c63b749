# SPDX-License-Identifier: MIT
"""Number of threads that touch a range, and whether they share page tables."""

from __future__ import annotations

from uffdlab.vocabulary.looks import BLUE, ORANGE, VERMILLION, Look

# By number of threads, and whether they touch pages under the same tables.
THREADS = {
    (1, False): ("1 thread", Look(BLUE, "star")),
    (2, False): ("2 threads, a half each", Look(VERMILLION, "star-square")),
    (2, True): ("2 threads under the same tables", Look(ORANGE, "star-diamond")),
}
