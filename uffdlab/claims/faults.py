# SPDX-License-Identifier: MIT
"""Later faults: do filled tables speed them up, do reads fault, and what does a filled zeropage cost threads?"""

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
    """Return the warm rows of a pass over anonymous memory, each thread in a share of its own: ``column`` is read."""
    how = {"preparation": preparation, "delivery": delivery, "touch": touch, "stride_kib": stride, "together": False}
    read = ("block", "size_kib", "touches", column)
    return warm_of(data, "faults", *read, backing="anon", threads=threads, **how)


def prealloc_speeds_faults(given: Evidence, claim: Claim) -> Verdict:
    """Decide whether first touches are faster where page tables stand already."""
    data = given.campaign
    ratios: dict[str, Estimate] = {}
    absent = []
    for stride in _DECIDING_KIB:
        for touch in ("first read", "first write"):
            for threads in (1, 2):
                name = f"{touch}, {STRIDES[stride]}, {threads} thread{'s' * (threads > 1)}"
                with_, without = (
                    _touched(data, "busy_ns", filled, "plain", touch, threads, stride) for filled in ("tables", "fresh")
                )
                found = ratio_of("faults", with_, without, "busy_ns", "touches")
                if found is None:
                    absent.append(name)
                else:
                    ratios[name] = found
    if absent:
        return claim.undecided(data, f"not measured: {'; '.join(absent)}")
    faster = [name for name, one in ratios.items() if one.below(SPEEDS_UP)]
    not_so = [name for name, one in ratios.items() if one.above(SPEEDS_UP)]
    open_ = [name for name in ratios if name not in faster + not_so]
    evidence = tuple(f"faults: with tables / without, {name}: {with_interval(one)}" for name, one in ratios.items())
    limits = "more than two threads were not measured"
    if open_:
        limits += f"; straddling the threshold: {'; '.join(open_)}"
    per_2m = [name for name in ratios if "2 MiB" in name]
    decided = _over_cells(faster, not_so, list(ratios))
    if decided is None:
        because = f"the intervals straddle {SPEEDS_UP}: {'; '.join(open_)}"
        return claim.undecided(data, because, f"more rounds of {claim.needs}")
    best = min((ratios[name] for name in per_2m), key=lambda one: one.value)
    return claim.ruled(
        data,
        decided,
        f"below {SPEEDS_UP} in {len(faster)} of {len(ratios)} cases; one touch per 2 MiB: "
        + "; ".join(f"{name.replace(', one per 2 MiB', '')} {with_interval(ratios[name])}" for name in per_2m),
        evidence,
        quantity="time of a first touch with tables / without, least of the cases of one touch per 2 MiB",
        effect=best,
        condition=f"the access is: {'; '.join(faster)}" if decided == "holds if" else None,
        limits=limits,
    )


def _over_cells(yes: list[str], no: list[str], all_: list[str]) -> Ruling | None:
    """Return what cases decided one by one come to together; None while too many are open."""
    if len(yes) == len(all_):
        return "holds"
    if len(no) == len(all_):
        return "does not hold"
    return "holds if" if yes else None


def reads_need_no_fault(given: Evidence, claim: Claim) -> Verdict:
    """Decide whether reads of a filled zeropage fault, and how often reads of a marker do."""
    data = given.campaign
    zeropage, marker = (
        estimate(_touched(data, "minor_faults", *how, "first read", 1, PAGE_KIB), "minor_faults", "touches")
        for how in (("zeropage", "plain"), ("markers", "async"))
    )
    if zeropage is None or marker is None:
        return claim.undecided(data, "faults of reads after both preparations were not counted")
    found = (f"{with_interval(zeropage)} where the zeropage is mapped", f"{with_interval(marker)} where a marker is")
    because = f"faults per first read: {', '.join(found)}"
    evidence = tuple(f"faults: {text}" for text in found)
    quantity = "faults per first read of a mapped zeropage"
    if zeropage.above(NO_FAULT):
        return claim.ruled(data, "does not hold", because, evidence, effect=zeropage, quantity=quantity)
    if zeropage.below(NO_FAULT) and marker.above(A_FAULT):
        return claim.ruled(data, "holds", because, evidence, effect=zeropage, quantity=quantity)
    if zeropage.below(NO_FAULT) and marker.below(A_FAULT):
        condition = "reads of markers, which do not fault each time either, are not counted against the other design"
        return claim.ruled(data, "holds if", because, evidence, effect=zeropage, quantity=quantity, condition=condition)
    return claim.undecided(data, because, f"at least six processes of {claim.needs}")


def zeropage_cow_shootdown(given: Evidence, claim: Claim) -> Verdict:
    """Decide whether replacing a filled zeropage interrupts the other CPU, and replacing a marker does not."""
    data = given.campaign
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
    found = f"zeropage {with_interval(zeropage)}, marker {with_interval(marker)}"
    because = f"interrupts per first write of two threads: {found}"
    evidence = tuple(
        f"faults: {name}: {with_interval(one)} ns per first write, 2 threads" for name, one in times.items() if one
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
        evidence,
        quantity="interrupts per first write to a filled zeropage",
        effect=zeropage,
        limits="two threads on CPUs that are told of a changed translation by interrupts; some broadcast it instead",
    )


def table_fill_slower(given: Evidence, claim: Claim) -> Verdict:
    """Decide whether filling every PTE takes longer than populating with huge zeropages and protecting those."""
    data = given.campaign
    read = ("block", "size_kib", "prepare_ns", "protect_ns")
    marked, filled = (
        warm_of(data, "samples", *read, backing="anon_thp", design=design, populated=0)
        for design in ("pte_marker", "populate_read")
    )
    both = at_common_size(marked, filled)
    if both is None:
        return claim.undecided(data, "protecting by markers and by populating was not measured with THP on at one size")
    top, bottom = map(with_total, both)
    found = ratio_of("samples", top, bottom, "total_ns", "size_kib")
    if found is None:
        return claim.undecided(data, "`samples.prepare_ns` and `samples.protect_ns` hold no time of one of the two")
    size = format_size(float(top.size_kib.iloc[0]) * 1024)
    because = f"filling PTEs / (populate-read + protect) with THP on is {with_interval(found)} at {size}"
    if not (found.above(FILL_SLOWER) or found.below(FILL_SLOWER)):
        return claim.undecided(data, because, f"more rounds of {claim.needs}")
    return claim.ruled(
        data,
        "holds" if found.above(FILL_SLOWER) else "does not hold",
        because,
        (f"samples: {because}",),
        quantity="filling PTEs / (populate-read + protect), THP on",
        effect=found,
        limits="markers stand for the zeropages of the patch, which no kernel has: both write every PTE",
    )
