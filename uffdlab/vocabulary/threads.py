# SPDX-License-Identifier: MIT
"""Number of threads that work on a range, which page tables they share, and what they do to it."""

from __future__ import annotations

from uffdlab.vocabulary.looks import BLUE, GREEN, ORANGE, VERMILLION, Look

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
# The same in a few words, and how it looks.
SHARING_LOOKS = {
    "same_2mib": ("same PTE tables", Look(BLUE, "hexagon")),
    "same_1gib": ("own PTE tables, same PMD table", Look(ORANGE, "triangle-up", "dash")),
    "own_1gib": ("own PMD tables", Look(GREEN, "circle", "dot")),
}

# Of probe *scale*: what each operation is called.
SCALED = {
    "read_nothing": "first read",
    "write_nothing": "first write",
    "write_zeropages": "first write to a protected zeropage",
    "write_markers": "first write to a marker",
    "protect_nothing": "protecting 4 KiB, nothing there",
    "protect_zeropages": "protecting 4 KiB, a zeropage",
    "protect_nothing_by_2mib": "protecting 2 MiB, nothing there",
    "protect_zeropages_by_2mib": "protecting 2 MiB, zeropages",
}
# What is compared with one another: operations, and the stride in KiB. At 2 MiB each page needs a PTE table of its own.
SCALED_TOGETHER = {
    "first writes to protected memory": (("write_markers", "write_zeropages"), 4),
    "protecting page by page": (("protect_nothing", "protect_zeropages"), 4),
    "protecting 2 MiB at a time": (("protect_nothing_by_2mib", "protect_zeropages_by_2mib"), 4),
    "first touches": (("read_nothing", "write_nothing"), 4),
    "first touches, a new table for each": (("read_nothing", "write_nothing"), 2048),
    "protecting pages, a new table for each": (("protect_nothing",), 2048),
}
