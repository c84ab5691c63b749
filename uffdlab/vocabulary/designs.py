# SPDX-License-Identifier: MIT
"""The write-protect designs a stock kernel lets user space choose between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Prepare = Literal["nothing", "read loop", "MADV_POPULATE_READ"]


@dataclass(frozen=True)
class Design:
    """How a range is made ready and protected: features asked for, preparation, and whether holes are caught."""

    name: str
    features: tuple[str, ...]
    prepare: Prepare
    missing: bool
    title: str


DESIGNS: dict[str, Design] = {
    design.name: design
    for design in (
        Design(
            "unprotected",
            (),
            "nothing",
            False,
            "nothing prepared, features 0: anon's default on every kernel",
        ),
        Design("preread", (), "read loop", False, "one byte read per page first, as QEMU does"),
        Design("populate_read", (), "MADV_POPULATE_READ", False, "MADV_POPULATE_READ first, as proposed for QEMU"),
        Design("pte_marker", ("WP_UNPOPULATED",), "nothing", False, "markers for empty pages, merged in 6.4"),
        Design("missing_wp", (), "nothing", True, "registered MISSING|WP: holes raise events, on any kernel"),
        Design(
            "async",
            ("WP_UNPOPULATED", "WP_ASYNC"),
            "nothing",
            False,
            "markers, faults resolved by the kernel",
        ),
    )
}
