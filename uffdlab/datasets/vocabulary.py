# SPDX-License-Identifier: MIT
"""What kind of value a column of a known name holds, in whichever table: text, boolean or number.

Whoever reads a column is told so at once where a dataset has another kind there, and not by arithmetic that fails.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["text", "boolean", "number"]

_TEXTS = frozenset(
    (
        *("architecture", "author", "backing", "bottom", "categories", "citation", "content", "contents", "date"),
        *("dataset", "delivery", "design", "event", "feature", "features", "huge_zeropage", "interleaving", "kernel"),
        *("key", "kind", "late", "link", "memory", "message_id", "method", "mode", "moment", "note"),
        *("operation", "outcome", "part", "pass", "pattern", "phase", "placement", "preparation", "probe", "quantity"),
        *("reason", "received", "relation", "sent", "source", "spec", "state", "status", "step", "summary"),
        *("temperature", "thp", "top", "topic", "touch", "unit", "version", "way", "what", "workload"),
    )
)
_BOOLEANS = frozenset(
    (
        *("after_present", "after_uffd_wp", "cold", "markers", "present", "reported", "silent", "slower", "swap"),
        *("together", "uffd_wp", "use_zero_pages", "write_missing_event", "write_reported", "write_seen_by_scan"),
    )
)
# Names that mean something else in one table.
_HERE: dict[tuple[str, str], Kind] = {
    ("costs", "cold"): "number",
    ("occupancy", "present"): "number",
    ("tracking", "populated"): "boolean",
}


def kind_of(table: str, column: str) -> Kind:
    """Return the kind of value that a column of a table holds; a name that is not known here is a number."""
    if (table, column) in _HERE:
        return _HERE[table, column]
    return "text" if column in _TEXTS else "boolean" if column in _BOOLEANS else "number"
