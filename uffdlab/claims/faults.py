# SPDX-License-Identifier: MIT
"""Later faults: speed-up by preallocated page tables, read faults, and TLB shootdowns by zeropage CoW."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab import units
from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import Evidence
from uffdlab.claims.verdict import Tested, Verdict, with_interval
from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, column_ratio, split_confidence
from uffdlab.summaries.collapses import df_collapses
from uffdlab.summaries.medians import (
    children,
    common_sizes,
    estimate,
    quotients,
    ratio_of,
    ratio_or_none,
    ratio_over_sizes,
    sizes_of,
    warm_of,
    with_total,
)
from uffdlab.summaries.records import records
from uffdlab.units import in_sizes
from uffdlab.vocabulary.repairs import REPAIRS
from uffdlab.vocabulary.strides import STRIDES

SPEEDS_UP = 0.8  # time with tables / without must lie below this
NO_FAULT, A_FAULT = 0.01, 0.99  # faults per read: none, and one
AN_IPI, NO_IPI = 0.5, 0.05  # shootdown interrupts per first write: about one, and none
FILL_SLOWER = 1.25  # filling PTEs / populating by huge zeropage must lie above this
FILL_SIZES_KIB = (1 << 20, 4 << 20, 10 << 20)  # 1 to 10 GiB: time grows in proportion to size
DEARER = 1.25  # a first read of a marker / of a mapped zeropage must lie above this
EVERY_WRITE, NO_WRITE = 0.99, 0.01  # share of first writes that map a huge page

PAGE_KIB, PMD_KIB = 4, 2048
_DECIDING_KIB = (PMD_KIB, PAGE_KIB)  # strides


def touched(
    data: Dataset,
    column: str,
    preparation: str,
    delivery: str,
    touch: str,
    threads: int,
    stride: int,
    *more: str,
    together: bool = False,
) -> pd.DataFrame | None:
    """Return ``column`` of the warm rows of a pass over anonymous memory, by default each thread apart."""
    how = {"preparation": preparation, "delivery": delivery, "touch": touch, "stride_kib": stride, "together": together}
    read = ("block", "size_kib", "touches", column, *more)
    return warm_of(data, "faults", *read, backing="anon", threads=threads, **how)


def _by_child(data: Dataset, preparation: str, touch: str, threads: int, stride: int) -> dict[int, float]:
    """Return the time of a touch by child; two threads touch under the same page tables."""
    rows = touched(data, "busy_ns", preparation, "plain", touch, threads, stride, together=threads > 1)
    return children(rows, "busy_ns", "touches") if rows is not None else {}


def prealloc_speeds_faults(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether a first touch is faster where its page table is there already, cached or not."""
    data = evidence.campaign
    ratios: dict[str, dict[str, Estimate]] = {arm: {} for arm in _TABLES}
    pairs = []
    for arm, preparations in _TABLES.items():
        for touch in ("first read", "first write"):
            with_, without = (touched(data, "busy_ns", one, "plain", touch, 1, PMD_KIB) for one in preparations)
            ratio = ratio_of("faults", with_, without, "busy_ns", "touches", confidence=split_confidence(len(_TABLES)))
            if ratio is None:
                return claim.undecided(data, f"a {touch} with the page table, {arm}, and without was not measured")
            ratios[arm][touch] = ratio
            pairs.append((with_, without))
    grown = touched(data, "table_growth_kib", "fresh", "plain", "first write", 1, PMD_KIB)
    allocated = estimate(grown, "table_growth_kib", "touches")
    lines = [f"faults: with the page table, {arm} / without, {touch}: {with_interval(ratio)}"
             for arm, by_touch in ratios.items() for touch, ratio in by_touch.items()]  # fmt: skip
    if allocated:
        lines.append(f"faults: page tables allocated per first write without tables: {with_interval(allocated)} KiB")
    faster = [arm for arm, by_touch in ratios.items() if all(ratio.below(SPEEDS_UP) for ratio in by_touch.values())]
    slower = [arm for arm, by_touch in ratios.items() if any(ratio.above(SPEEDS_UP) for ratio in by_touch.values())]
    shown = "; ".join(f"{arm} {with_interval(max(r.values(), key=_value))}" for arm, r in ratios.items())
    sizes = in_sizes(common_sizes(*pairs))
    because = f"first touch per 2 MiB of {sizes}, with the page table / without, the greater of read and write: {shown}"
    more: dict[str, Any] = {
        "effect": max((ratio for by_touch in ratios.values() for ratio in by_touch.values()), key=_value),
        "quantity": "time of a first touch per 2 MiB with its page table / without, greatest of the cases",
        "limits": "what is saved is to allocate, zero and charge a page table, once per 2 MiB; not cached: all that "
        "the processor's caches held was replaced before the first touch, with and without tables",
    }
    if len(faster) == len(ratios):
        return claim.ruled(data, "holds", because, lines, **more)
    if len(slower) == len(ratios):
        return claim.ruled(data, "does not hold", because, lines, **more)
    if faster and slower:
        condition = f"the page table is {faster[0]}"
        return claim.ruled(data, "depends", because, lines, depends_on="the cache", condition=condition, **more)
    tested = (
        Tested(f"{touch}, {arm}", ratio, SPEEDS_UP)
        for arm, by_touch in ratios.items()
        for touch, ratio in by_touch.items()
    )
    return claim.undecided(data, because, f"more rounds of {claim.needs}", lines, tested=tested)


# Preparations with page tables and without.
_TABLES = {"cached": ("tables", "fresh"), "not cached": ("tables_cold", "fresh_cold")}


def _value(ratio: Estimate) -> float:
    return ratio.value


def split_locks_speed_faults(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether page tables save more where two threads fault under the same tables than where one does."""
    data = evidence.campaign
    ratios: dict[str, Estimate] = {}
    tested = []
    for stride in _DECIDING_KIB:
        for touch in ("first read", "first write"):
            two, one = (
                quotients(*(_by_child(data, filled, touch, threads, stride) for filled in ("tables", "fresh")))
                for threads in (2, 1)
            )
            ratio = ratio_or_none(two, one)
            if ratio is None:
                return claim.undecided(data, f"{touch}, {STRIDES[stride]}, was not measured with one and two threads")
            ratios[f"{touch}, {STRIDES[stride]}"] = ratio
            tested.append(touched(data, "busy_ns", "tables", "plain", touch, 2, stride, together=True))
    of = in_sizes(sizes_of(*tested))
    lines = [f"faults: what tables leave, two threads / one, {name}: {with_interval(r)}" for name, r in ratios.items()]
    greatest = max(ratios.values(), key=_value)
    because = (
        f"time with tables / without, of two threads / of one, over {of}, below 1 where locks matter: "
        + "; ".join(f"{name} {with_interval(ratio)}" for name, ratio in ratios.items())
    )
    if all(ratio.below(SPEEDS_UP) for ratio in ratios.values()):
        quantity = "time with tables / without, of two threads / of one, greatest of the cases"
        return claim.ruled(data, "holds", because, lines, effect=greatest, quantity=quantity)
    limits = [Tested(name, ratio, SPEEDS_UP) for name, ratio in ratios.items()]
    return claim.undecided(data, because, claim.needs, lines, tested=limits, short_of="measurement")


def reads_need_no_fault(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether reads of a mapped zeropage fault, and whether reads of a marker do."""
    data = evidence.campaign
    counted = [
        touched(data, "minor_faults", *how, "first read", 1, PAGE_KIB)
        for how in (("zeropage", "plain"), ("markers", "async"))
    ]
    zeropage, marker = (estimate(rows, "minor_faults", "touches") for rows in counted)
    if zeropage is None or marker is None:
        return claim.undecided(data, "faults of reads after both preparations were not counted")
    per_read = (f"{with_interval(zeropage)} where the zeropage is mapped", f"{with_interval(marker)} where a marker is")
    because = f"faults per first read, every page of {in_sizes(sizes_of(*counted))}: {', '.join(per_read)}"
    lines = tuple(f"faults: {text}" for text in per_read)
    quantity = "faults per first read of a mapped zeropage"
    if zeropage.below(NO_FAULT) and marker.above(A_FAULT):
        return claim.ruled(data, "holds", because, lines, effect=zeropage, quantity=quantity)
    if zeropage.above(NO_FAULT) or marker.below(A_FAULT):
        return claim.ruled(data, "does not hold", because, lines, effect=zeropage, quantity=quantity)
    tested = (Tested("a mapped zeropage", zeropage, NO_FAULT), Tested("a marker", marker, A_FAULT))
    return claim.undecided(data, because, f"more rounds of {claim.needs}", lines, tested=tested)


def _ipis(data: Dataset, preparation: str, delivery: str, touch: str) -> Estimate | None:
    """Return TLB shootdown interrupts per touch of two threads, each in a half of its own."""
    return estimate(_interrupted(data, preparation, delivery, touch), "tlb_ipis", "touches")


def _interrupted(data: Dataset, preparation: str, delivery: str, touch: str) -> pd.DataFrame | None:
    return touched(data, "tlb_ipis", preparation, delivery, touch, 2, PAGE_KIB)


def zeropage_cow_shootdown(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether a write to a filled zeropage interrupts the other CPU, and a write to a marker does not."""
    data = evidence.campaign
    arms = {
        "a filled zeropage": _ipis(data, "zeropage", "async", "first write"),
        "a marker that was never read": _ipis(data, "markers", "async", "first write"),
        "a marker that was read": _ipis(data, "markers", "async", "write after reads"),
        "nothing, for as long": _ipis(data, "zeropage", "async", "no touch"),
    }
    known = {name: arm for name, arm in arms.items() if arm is not None}
    if len(known) < len(arms):
        absent = [name for name in arms if name not in known]
        return claim.undecided(data, f"interrupts of two threads were not counted: {'; '.join(absent)}")
    filled, unread, read, nothing = known.values()
    of = in_sizes(sizes_of(_interrupted(data, "zeropage", "async", "first write")))
    because = f"interrupts per first write and other CPU, every page of {of}: " + "; ".join(
        f"{name} {with_interval(arm)}" for name, arm in known.items()
    )
    more: dict[str, Any] = {
        "quantity": "TLB shootdown interrupts per first write to a filled zeropage, for one other CPU",
        "effect": filled,
        "limits": "two threads on CPUs that flush remote TLBs by interrupts; processors with INVLPGB broadcast flushes "
        "instead, and KVM's MMU notifiers, which a guest's memory calls as well, are not counted",
    }
    lines = tuple(f"faults: {name}: {with_interval(arm)} interrupts per write" for name, arm in known.items())
    thresholds = (AN_IPI, NO_IPI, NO_IPI if read.value < AN_IPI else AN_IPI, NO_IPI)
    tested = [Tested(name, arm, limit) for (name, arm), limit in zip(known.items(), thresholds, strict=True)]
    quiet = f"more rounds of {claim.needs}, on a machine with nothing else to run"
    if not nothing.below(NO_IPI):
        return claim.undecided(data, because, quiet, tested=tested, short_of="certainty")
    if filled.below(AN_IPI) or unread.above(NO_IPI):
        return claim.ruled(data, "does not hold", because, lines, **more)
    if not (filled.above(AN_IPI) and unread.below(NO_IPI)) or not (read.above(AN_IPI) or read.below(NO_IPI)):
        return claim.undecided(data, because, quiet, tested=tested, short_of="certainty")
    if read.below(NO_IPI):
        return claim.ruled(data, "holds", because, lines, **more)
    condition = "the marker was never read: after a read it is a zeropage like any other"
    return claim.ruled(data, "depends", because, lines, depends_on="reads", condition=condition, **more)


def shootdown_after_any_read(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether each first write after a read interrupts the other CPU, protected or not, and without one none."""
    data = evidence.campaign
    cases = {"memory that is not protected": ("fresh", "plain"), "markers": ("markers", "async")}
    after = {name: _ipis(data, *how, "write after reads") for name, how in cases.items()}
    without = {name: _ipis(data, *how, "first write") for name, how in cases.items()}
    interrupted, quiet = ([arm for arm in arms.values() if arm] for arms in (after, without))
    if len(interrupted) < len(cases) or len(quiet) < len(cases):
        return claim.undecided(data, "interrupts of two threads were not counted, after reads and without")
    parts = [
        f"{name} {with_interval(read)} after a read, {with_interval(unread)} without"
        for name, read, unread in zip(cases, interrupted, quiet, strict=True)
    ]
    of = in_sizes(sizes_of(*(_interrupted(data, *how, "write after reads") for how in cases.values())))
    because = f"interrupts per write and other CPU, every page of {of}: {'; '.join(parts)}"
    more: dict[str, Any] = {
        "effect": min(interrupted, key=_value),
        "quantity": "TLB shootdown interrupts per write after a read, for one other CPU, the least case",
    }
    if all(arm.above(AN_IPI) for arm in interrupted) and all(arm.below(NO_IPI) for arm in quiet):
        return claim.ruled(data, "holds", because, [f"faults: {part}" for part in parts], **more)
    if any(arm.below(AN_IPI) for arm in interrupted) or any(arm.above(NO_IPI) for arm in quiet):
        return claim.ruled(data, "does not hold", because, [f"faults: {part}" for part in parts], **more)
    tested = [Tested(f"{name}, after a read", arm, AN_IPI) for name, arm in zip(cases, interrupted, strict=True)]
    tested += [Tested(f"{name}, without", arm, NO_IPI) for name, arm in zip(cases, quiet, strict=True)]
    missing = f"more rounds of {claim.needs}, on a machine with nothing else to run"
    return claim.undecided(data, because, missing, tested=tested)


def reads_get_dearer(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether a first read of a marker takes longer than one of a zeropage that populating mapped."""
    data = evidence.campaign
    marker, zeropage, tables = (
        touched(data, "busy_ns", *how, "first read", 1, PAGE_KIB)
        for how in (("markers", "async"), ("zeropage", "plain"), ("tables", "plain"))
    )
    ratio = ratio_of("faults", marker, zeropage, "busy_ns", "touches")
    if ratio is None:
        return claim.undecided(data, "first reads of markers and of mapped zeropages were not timed at one size")
    sizes = in_sizes(common_sizes((marker, zeropage)))
    because = f"first read of a marker / of a mapped zeropage, every page of {sizes}: {with_interval(ratio)}"
    lines = [f"faults: {because}"]
    beside = ratio_of("faults", marker, tables, "busy_ns", "touches")
    if beside:
        lines.append(f"faults: first read of a marker / of an empty, unprotected entry: {with_interval(beside)}")
    more: dict[str, Any] = {"effect": ratio, "quantity": "first read of a marker / of a mapped zeropage"}
    if ratio.above(DEARER):
        return claim.ruled(data, "holds", because, lines, **more)
    if ratio.below(DEARER):
        return claim.ruled(data, "does not hold", because, lines, **more)
    tested = [Tested("the ratio", ratio, DEARER)]
    return claim.undecided(data, because, f"more rounds of {claim.needs}", lines, tested=tested)


def markers_cost_later_thp(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether a first write under PTE markers maps a small page where it would have mapped a huge one."""
    data = evidence.campaign
    how = {"backing": "anon_thp", "touch": "first write", "threads": 1, "stride_kib": PMD_KIB}
    read = ("block", "size_kib", "touches", "rss_growth_kib")
    both = [
        warm_of(data, "faults", *read, preparation=preparation, delivery=delivery, **how)
        for preparation, delivery in (("fresh", "plain"), ("markers", "async"))
    ]
    without, under = (estimate(_with_huge_share(rows), "huge_share") for rows in both)
    if without is None or under is None:
        return claim.undecided(
            data, "first writes in each 2 MiB were not measured with THP on, with and without markers"
        )
    shares = f"{with_interval(without)} without markers, {with_interval(under)} under them"
    sizes = common_sizes(both)
    of = in_sizes(sizes) if sizes else "several sizes"
    because = f"share of first writes, one per 2 MiB of {of}, that map a huge page: {shares}"
    more: dict[str, Any] = {
        "effect": under,
        "quantity": "share of first writes under PTE markers that map a huge page",
        "limits": "whether the range becomes huge pages later, and when, is not part of the rule",
    }
    lines = [f"faults: {because}", *_repairs(data)]
    if without.above(EVERY_WRITE) and under.below(NO_WRITE):
        return claim.ruled(data, "holds", because, lines, **more)
    if under.above(NO_WRITE):
        return claim.ruled(data, "does not hold", because, lines, **more)
    if without.below(EVERY_WRITE):  # there was no free huge page, say
        return claim.undecided(data, because, f"{claim.needs}, where a first write without markers maps a huge page")
    tested = (Tested("without markers", without, EVERY_WRITE), Tested("under them", under, NO_WRITE))
    return claim.undecided(data, because, f"more rounds of {claim.needs}", lines, tested=tested)


def _with_huge_share(rows: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return rows with the share of writes that map a huge page, where the others map a small one, from RSS."""
    if rows is None:
        return None
    per_write_kib = column_ratio(rows.rss_growth_kib, rows.touches)
    return rows.assign(huge_share=((per_write_kib - PAGE_KIB) / (PMD_KIB - PAGE_KIB)).clip(lower=0))


def _repairs(data: Dataset) -> list[str]:
    """Return how soon a range that was written under markers is in huge pages once they are gone, by who makes them."""
    if "collapses" not in data.tables:
        return []
    lines = []
    for row in records(df_collapses(data)):
        took = units.with_interval(row.repair_ns, row.repair_ns_low, row.repair_ns_high, units.format_ns)
        when = f" after {took}" if row.whole else ""
        lines.append(f"collapses: {REPAIRS[row.repair]}: {row.whole} of {row.ranges} ranges in huge pages{when}")
    return lines


def table_fill_slower(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether filling every PTE takes longer than populating with huge zeropages and protecting them."""
    data = evidence.campaign
    read = ("block", "size_kib", "prepare_ns", "protect_ns")
    marked, filled = (
        warm_of(data, "samples", *read, backing="anon_thp", design=design, populated=0)
        for design in ("pte_marker", "populate_read")
    )
    if marked is None or filled is None:
        return claim.undecided(data, "protecting by markers and by populating was not measured with THP on")
    found = ratio_over_sizes("samples", with_total(marked), with_total(filled), "total_ns", FILL_SIZES_KIB)
    if found is None:
        wanted = f"one size of {in_sizes(FILL_SIZES_KIB)} with THP on"
        return claim.undecided(data, f"protecting by markers and by populating was not measured at {wanted}")
    ratio, sizes = found
    because = f"filling PTEs / (populate-read + protect) with THP on: {with_interval(ratio)} over {in_sizes(sizes)}"
    if not (ratio.above(FILL_SLOWER) or ratio.below(FILL_SLOWER)):
        tested = [Tested("the ratio", ratio, FILL_SLOWER)]
        return claim.undecided(data, because, f"more rounds of {claim.needs}", tested=tested)
    return claim.ruled(
        data,
        "predicted to hold" if ratio.above(FILL_SLOWER) else "predicted not to hold",
        because,
        (f"samples: {because}",),
        quantity=f"filling PTEs / (populate-read + protect), THP on, per KiB over {in_sizes(sizes)}",
        effect=ratio,
        missing="the patch itself, on a kernel that has it",
        limits=f"empty memory on {data.provenance.get('cpu_model') or 'an unknown CPU'}; what later faults gain from "
        "huge pages is not part of it. Markers stand for the zeropages of the patch: both write every PTE",
    )
