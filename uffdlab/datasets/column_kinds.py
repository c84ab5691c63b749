# SPDX-License-Identifier: MIT
"""The kind of each column by name, in any table: text, boolean or number, and which numbers are never negative.

Reading a column checks its kind, so that a wrong one is refused before any arithmetic.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["text", "boolean", "number"]

_TEXTS = frozenset(
    (
        *("architecture", "author", "backing", "bottom", "categories", "child_entry", "citation", "content"),
        *("contents", "date", "dataset", "delivery", "design", "entry", "errno", "event", "feature", "features"),
        *("huge_zeropage", "interleaving", "kernel"),
        *("key", "kind", "late", "link", "memory", "message_id", "method", "metric", "mode", "moment"),
        *("neighbour", "note"),
        *("operation", "outcome", "part", "pass", "pattern", "phase", "placement", "preparation", "probe", "quantity"),
        *(
            "reason",
            "received",
            "relation",
            "repair",
            "result",
            "sent",
            "sequence",
            "sharing",
            "source",
            "spec",
            "state",
            "status",
            "step",
            "summary",
        ),
        *("temperature", "thp", "top", "topic", "touch", "unit", "version", "way", "what", "workload"),
    )
)
_BOOLEANS = frozenset(
    (
        *(
            "after_present",
            "after_uffd_wp",
            "child_uffd_wp",
            "cold",
            "gave_up",
            "markers",
            "present",
            "reported",
            "silent",
            "slower",
            "swap",
        ),
        *("together", "uffd_wp", "use_zero_pages", "write_missing_event", "write_reported", "write_seen_by_scan"),
        "written",
    )
)
# Exceptions by table.
_HERE: dict[tuple[str, str], Kind] = {
    ("costs", "cold"): "number",
    ("occupancy", "present"): "number",
    ("tracking", "populated"): "boolean",
}

# Times, sizes and counts. Growth and other differences may be negative, and so may ``tlb_ipis``, the difference of sums
# of the kernel's 32-bit counters.
NEVER_NEGATIVE = frozenset(
    (
        *(
            "again_ns",
            "handler_cpu_ns",
            "faults",
            "arm_ns",
            "begin_ns",
            "below_ns",
            "busy_ns",
            "collect_ns",
            "cpu_ns",
            "duration_ms",
            "end_ns",
            "from_ns",
            "high_ns",
            "low_ns",
            "measured_ns",
            "median_ns",
        ),
        *("merged_ns", "ns", "pause_us", "predicted_ns", "prepare_ns", "private_ns", "protect_ns", "protect_us"),
        *(
            "p50_ns",
            "p99_ns",
            "p999_ns",
            "rearm_ns",
            "register_ns",
            "repair_ns",
            "reprotect_ns",
            "resolve_ns",
            "scan_ns",
            "sleep_ms",
            "slot_ns",
            "system_us",
            "threshold_ns",
            "took_ns",
        ),
        *("total_ns", "wall_ns", "write_ns"),
        *("granularity_kib", "huge_kib", "piece_kib", "rss_before_kib", "size_kib", "stride_kib", "table_before_kib"),
        *("vm_pte_kib", "vm_rss_kib"),
        *("again_pages", "bits", "bits_on_wire", "calls", "cluster_pages", "copies", "corrected_bytes", "count", "cpu"),
        *("cycles", "cycles_per_us", "dirty_pages", "discards_before", "discards_preparing", "discards_since"),
        *("equal_pages", "events", "excluded", "excluded_unreported", "excluded_during"),
        *("excluded_during_unreported", "failed_events", "hit_cycles"),
        *(
            "collapse_errno",
            "huge_after_pages",
            "huge_asked_pages",
            "huge_before_pages",
            "huge_pages",
            "idle_slots",
            "invented",
            "judged",
        ),
        *("judged_discarded", "ksm_zero_pages", "late_received", "late_sent", "lines", "loads", "lost"),
        *("lost_undiscarded", "message_slots", "minor_faults", "miss_cycles", "missed", "missed_pages"),
        *(
            "missing_events",
            "moment_missing_events",
            "moment_wp_events",
            "number",
            "ones",
            "other_events",
            "turn",
            "pages",
            "pages_shared",
        ),
        *("pages_sharing", "pages_to_scan", "phases", "preambles", "prepare_minor_faults", "present_pages"),
        *("probe_cycles", "processes", "protect_minor_faults", "racing_writes", "regions", "reported_pages"),
        *("resolves", "scan_calls", "scans", "slots", "spurious_pages", "text_bytes", "threads"),
        *("threshold_cycles", "touches", "units", "wp_events", "write_minor_faults", "writes", "zeropages"),
        *("zeropages_before", "involuntary_switches", "mmap_lock_waits", "semaphore_waits", "spin_waits"),
        *("table_lock_waits", "thread", "vma_lock_fallbacks", "voluntary_switches"),
    )
)


def kind_of(table: str, column: str) -> Kind:
    """Return the kind of a column of a table; an unknown name is a number."""
    if (table, column) in _HERE:
        return _HERE[table, column]
    return "text" if column in _TEXTS else "boolean" if column in _BOOLEANS else "number"
