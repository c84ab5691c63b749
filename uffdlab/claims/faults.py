# SPDX-License-Identifier: MIT
"""Later faults: speed-up by preallocated page tables, read faults, and TLB shootdowns by zeropage CoW."""

from __future__ import annotations

import pandas as pd

from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import Evidence
from uffdlab.claims.verdict import Ruling, Verdict, with_interval
from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate
from uffdlab.summaries.medians import at_common_size, estimate, ratio_of, warm_of, with_total
from uffdlab.units import format_size
from uffdlab.vocabulary.strides import STRIDES

SPEEDS_UP = 0.8  # time with tables / without must lie below this
NO_FAULT, A_FAULT = 0.01, 0.99  # faults per read: none, and one
AN_IPI, NO_IPI = 0.5, 0.05  # shootdown interrupts per first write: about one, and none
FILL_SLOWER = 1.25  # filling PTEs / populating by huge zeropage must lie above this

PAGE_KIB, PMD_KIB = 4, 2048
_DECIDING_KIB = (PMD_KIB, PAGE_KIB)  # strides


def _touched(
    data: Dataset, column: str, preparation: str, delivery: str, touch: str, threads: int, stride: int
) -> pd.DataFrame | None:
    """Return ``column`` of the warm rows of a pass over anonymous memory, each thread in a part of its own."""
    how = {"preparation": preparation, "delivery": delivery, "touch": touch, "stride_kib": stride, "together": False}
    read = ("block", "size_kib", "touches", column)
    return warm_of(data, "faults", *read, backing="anon", threads=threads, **how)


def prealloc_speeds_faults(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether first touches are faster with preallocated page tables."""
    data = evidence.campaign
    ratios: dict[str, Estimate] = {}
    not_measured = []
    for stride in _DECIDING_KIB:
        for touch in ("first read", "first write"):
            for threads in (1, 2):
                name = f"{touch}, {STRIDES[stride]}, {threads} thread{'s' * (threads > 1)}"
                with_, without = (
                    _touched(data, "busy_ns", filled, "plain", touch, threads, stride) for filled in ("tables", "fresh")
                )
                ratio = ratio_of("faults", with_, without, "busy_ns", "touches")
                if ratio is None:
                    not_measured.append(name)
                else:
                    ratios[name] = ratio
    if not_measured:
        return claim.undecided(data, f"not measured: {'; '.join(not_measured)}")
    faster = [name for name, ratio in ratios.items() if ratio.below(SPEEDS_UP)]
    not_faster = [name for name, ratio in ratios.items() if ratio.above(SPEEDS_UP)]
    undecided = [name for name in ratios if name not in faster + not_faster]
    lines = tuple(f"faults: with tables / without, {name}: {with_interval(ratio)}" for name, ratio in ratios.items())
    limits = "more than two threads were not measured"
    if undecided:
        limits += f"; straddling the threshold: {'; '.join(undecided)}"
    per_2m = [name for name in ratios if "2 MiB" in name]
    ruling = _over_cases(faster, not_faster, list(ratios))
    if ruling is None:
        because = f"the intervals straddle {SPEEDS_UP}: {'; '.join(undecided)}"
        return claim.undecided(data, because, f"more rounds of {claim.needs}")
    best = min((ratios[name] for name in per_2m), key=lambda ratio: ratio.value)
    return claim.ruled(
        data,
        ruling,
        f"below {SPEEDS_UP} in {len(faster)} of {len(ratios)} cases; one touch per 2 MiB: "
        + "; ".join(f"{name.replace(', one per 2 MiB', '')} {with_interval(ratios[name])}" for name in per_2m),
        lines,
        quantity="time of a first touch with tables / without, least of the cases of one touch per 2 MiB",
        effect=best,
        condition=f"the access is: {'; '.join(faster)}" if ruling == "holds if" else None,
        limits=limits,
    )


def _over_cases(yes: list[str], no: list[str], all_: list[str]) -> Ruling | None:
    """Return the ruling over all cases from those that agree and disagree; None where it is open."""
    if len(yes) == len(all_):
        return "holds"
    if len(no) == len(all_):
        return "does not hold"
    return "holds if" if yes else None


def reads_need_no_fault(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether reads of a mapped zeropage fault, and whether reads of a marker do."""
    data = evidence.campaign
    zeropage, marker = (
        estimate(_touched(data, "minor_faults", *how, "first read", 1, PAGE_KIB), "minor_faults", "touches")
        for how in (("zeropage", "plain"), ("markers", "async"))
    )
    if zeropage is None or marker is None:
        return claim.undecided(data, "faults of reads after both preparations were not counted")
    per_read = (f"{with_interval(zeropage)} where the zeropage is mapped", f"{with_interval(marker)} where a marker is")
    because = f"faults per first read: {', '.join(per_read)}"
    lines = tuple(f"faults: {text}" for text in per_read)
    quantity = "faults per first read of a mapped zeropage"
    if zeropage.above(NO_FAULT):
        return claim.ruled(data, "does not hold", because, lines, effect=zeropage, quantity=quantity)
    if zeropage.below(NO_FAULT) and marker.above(A_FAULT):
        return claim.ruled(data, "holds", because, lines, effect=zeropage, quantity=quantity)
    if zeropage.below(NO_FAULT) and marker.below(A_FAULT):
        condition = "reads of markers, which do not fault each time either, are not counted against the other design"
        return claim.ruled(data, "holds if", because, lines, effect=zeropage, quantity=quantity, condition=condition)
    return claim.undecided(data, because, f"at least six processes of {claim.needs}")


def zeropage_cow_shootdown(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether a write to a mapped zeropage causes a TLB shootdown IPI, and a write to a marker none."""
    data = evidence.campaign
    ipis, times = (
        {
            name: estimate(_touched(data, column, *how, "first write", 2, PAGE_KIB), column, "touches")
            for name, how in (("zeropage", ("zeropage", "plain")), ("marker", ("markers", "async")))
        }
        for column in ("tlb_ipis", "busy_ns")
    )
    zeropage, marker = ipis["zeropage"], ipis["marker"]
    if zeropage is None or marker is None:
        return claim.undecided(data, "shootdown interrupts of two threads were not counted")
    per_write = f"zeropage {with_interval(zeropage)}, marker {with_interval(marker)}"
    because = f"interrupts per first write of two threads: {per_write}"
    lines = tuple(
        f"faults: {name}: {with_interval(time)} ns per first write, 2 threads" for name, time in times.items() if time
    )
    verdict: Ruling
    if zeropage.above(AN_IPI) and marker.below(NO_IPI):
        verdict = "holds"
    elif zeropage.below(AN_IPI) or marker.above(NO_IPI):
        verdict = "does not hold"
    else:
        return claim.undecided(data, because, f"more rounds of {claim.needs}, on a machine with nothing else to run")
    return claim.ruled(
        data,
        verdict,
        because,
        lines,
        quantity="interrupts per first write to a filled zeropage",
        effect=zeropage,
        limits="two threads on CPUs that flush remote TLBs by interrupts; some processors broadcast the flush instead",
    )


def table_fill_slower(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether filling every PTE takes longer than populating with huge zeropages and protecting them."""
    data = evidence.campaign
    read = ("block", "size_kib", "prepare_ns", "protect_ns")
    marked, filled = (
        warm_of(data, "samples", *read, backing="anon_thp", design=design, populated=0)
        for design in ("pte_marker", "populate_read")
    )
    both = at_common_size(marked, filled)
    if both is None:
        return claim.undecided(data, "protecting by markers and by populating was not measured with THP on at one size")
    top, bottom = map(with_total, both)
    ratio = ratio_of("samples", top, bottom, "total_ns", "size_kib")
    if ratio is None:
        return claim.undecided(data, "`samples.prepare_ns` and `samples.protect_ns` hold no time of one of the two")
    size = format_size(float(top.size_kib.iloc[0]) * 1024)
    because = f"filling PTEs / (populate-read + protect) with THP on is {with_interval(ratio)} at {size}"
    if not (ratio.above(FILL_SLOWER) or ratio.below(FILL_SLOWER)):
        return claim.undecided(data, because, f"more rounds of {claim.needs}")
    return claim.ruled(
        data,
        "holds" if ratio.above(FILL_SLOWER) else "does not hold",
        because,
        (f"samples: {because}",),
        quantity="filling PTEs / (populate-read + protect), THP on",
        effect=ratio,
        limits="markers stand for the zeropages of the patch, which no kernel has: both write every PTE",
    )
