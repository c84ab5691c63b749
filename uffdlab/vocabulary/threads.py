# SPDX-License-Identifier: MIT
"""Number of threads that work on a range, and which page tables they share."""

from __future__ import annotations

from uffdlab.vocabulary.looks import BLUE, ORANGE, VERMILLION, Look

# By number of threads, and whether they touch pages under the same tables.
THREADS = {
    (1, False): ("1 thread", Look(BLUE, "star")),
    (2, False): ("2 threads, a half each", Look(VERMILLION, "star-square")),
    (2, True): ("2 threads under the same tables", Look(ORANGE, "star-diamond")),
}

# Which tables, with a lock each, several threads share: a PTE table maps 2 MiB, a PMD table 1 GiB.
SHARINGS = {
    "same_2mib": "threads take pages in turn, under the same PTE tables",
    "same_1gib": "threads take 2 MiB in turn, each under a PTE table of its own and all under the same PMD table",
    "own_1gib": "each thread has 1 GiB or more, with a PMD table of its own",
}
