# SPDX-License-Identifier: MIT
"""Rules that were replaced after data had been measured: what each says of evidence, in the words it had.

A verdict whose rule is younger than its data shows what the rule before it says. "holds if" is a word of that time: it
stood for a condition, a proxy and a prediction alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from uffdlab import sim
from uffdlab.claims import channels, hugetlb, markers, spreading, userspace
from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import COSTS_ARE_MISSING, Evidence
from uffdlab.claims.faults import touched
from uffdlab.claims.verdict import with_interval
from uffdlab.datasets import Dataset
from uffdlab.sim import Range
from uffdlab.stats import Estimate
from uffdlab.summaries.atomicity import LostWrites, lost_writes
from uffdlab.summaries.medians import at_common_size, estimate, ratio_of, warm_of, with_total

NOT_MEASURED = "not decided: not measured"


def _beyond(ratio: Estimate | None, threshold: float, above: str = "holds", below: str = "does not hold") -> str:
    """Return the verdict of a ratio that has to lie above a threshold with its whole interval."""
    if ratio is None:
        return NOT_MEASURED
    word = above if ratio.above(threshold) else below if ratio.below(threshold) else "not decided"
    return f"{word} ({with_interval(ratio)})"


def hugetlb_needs_feature(evidence: Evidence, claim: Claim) -> str:
    """Decide from the backings measured with and without the feature: gained on all, on some, or on none."""
    pairs = [
        [hugetlb.reported(evidence.campaign, backing, features) for features in ("none", "wp_unpopulated")]
        for backing in hugetlb.HUGETLB
    ]
    gained, whole = pairs.count([False, True]), all(None not in pair for pair in pairs)
    if gained:
        return "holds" if gained == len(pairs) else "holds if"
    return "does not hold" if whole else NOT_MEASURED


def reads_need_no_fault(evidence: Evidence, claim: Claim) -> str:
    """Decide by faults per read of a mapped zeropage; of a marker it asks only between holds and holds if."""
    zeropage, marker = (
        estimate(touched(evidence.campaign, "minor_faults", *how, "first read", 1, 4), "minor_faults", "touches")
        for how in (("zeropage", "plain"), ("markers", "async"))
    )
    if zeropage is None or marker is None:
        return NOT_MEASURED
    if zeropage.above(0.01):
        return "does not hold"
    sure = zeropage.below(0.01) and (marker.above(0.99) or marker.below(0.99))
    return "not decided" if not sure else "holds" if marker.above(0.99) else "holds if"


def table_fill_slower(evidence: Evidence, claim: Claim) -> str:
    """Decide at the largest common size: above 1.25."""
    marked, filled = (
        warm_of(
            evidence.campaign, "samples", "block", "size_kib", "prepare_ns", "protect_ns",
            backing="anon_thp", design=design, populated=0,
        )
        for design in ("pte_marker", "populate_read")
    )  # fmt: skip
    both = at_common_size(marked, filled)
    ratio = ratio_of("samples", with_total(both[0]), with_total(both[1]), "total_ns", "size_kib") if both else None
    return _beyond(ratio, 1.25)


def markers_cost_later_thp(evidence: Evidence, claim: Claim) -> str:
    """Decide by the memory that first writes add, over 2 MiB each: a small page counts as 0.002 of a huge one."""
    how = {"backing": "anon_thp", "touch": "first write", "threads": 1, "stride_kib": 2048}
    read = ("block", "size_kib", "touches", "rss_growth_kib")
    both = [
        warm_of(evidence.campaign, "faults", *read, preparation=preparation, delivery=delivery, **how)
        for preparation, delivery in (("fresh", "plain"), ("markers", "async"))
    ]
    fresh, marked = (estimate(rows, "rss_growth_kib", "touches") for rows in both)
    if fresh is None or marked is None:
        return NOT_MEASURED
    without, under = (grown.scaled(1 / 2048) for grown in (fresh, marked))
    if without.above(0.99) and under.below(0.01):
        return f"holds ({with_interval(under)})"
    return f"does not hold ({with_interval(under)})" if under.above(0.01) else "not decided"


def zeropage_cow_shootdown(evidence: Evidence, claim: Claim) -> str:
    """Decide from writes to an unprotected zeropage and to a marker: interrupts above 0.5 and below 0.05."""
    zeropage, marker = (
        estimate(touched(evidence.campaign, "tlb_ipis", *how, "first write", 2, 4), "tlb_ipis", "touches")
        for how in (("zeropage", "plain"), ("markers", "async"))
    )
    if zeropage is None or marker is None:
        return NOT_MEASURED
    shown = f"zeropage {with_interval(zeropage)}, marker {with_interval(marker)}"
    if zeropage.above(0.5) and marker.below(0.05):
        return f"holds ({shown})"
    return f"{'does not hold' if zeropage.below(0.5) or marker.above(0.05) else 'not decided'} ({shown})"


_LEVELS: Mapping[str, tuple[tuple[str, str], tuple[str, str], tuple[str, str]]] = {
    "pmd": (("anon", "pte_marker"), ("hugetlb_2m_private", "unprotected"), ("pte_marker", "pmd_marker")),
    "pud": (("hugetlb_2m_private", "unprotected"), ("hugetlb_1g_private", "unprotected"), ("pmd_marker", "pud_marker")),
}


def qemu_could_skip(evidence: Evidence, claim: Claim) -> str:
    """Decide the same at the largest common size."""
    return hugetlb.qemu_could_skip(evidence, claim, size_kib=None).words


def always_on_dearer(evidence: Evidence, claim: Claim) -> str:
    """Decide the same, each case at its largest size."""
    verdict = markers.always_on_dearer(evidence, claim, size_kib=None)
    return f"{verdict.words} ({verdict.because})"


def populate_read_faster(evidence: Evidence, claim: Claim) -> str:
    """Decide the same at the largest common size of each case."""
    sizes = dict.fromkeys(userspace.POPULATED_KIB)
    return userspace.populate_read_faster(evidence, claim, sizes).words


def pmd_marker_wins(evidence: Evidence, claim: Claim) -> str:
    """Decide at the largest common size and by the prediction: at least ten times."""
    return _ten_times(evidence, "pmd")


def pud_marker_wins(evidence: Evidence, claim: Claim) -> str:
    """Decide the same for PUD markers."""
    return _ten_times(evidence, "pud")


def _ten_times(evidence: Evidence, level: str) -> str:
    below, above, imagined = _LEVELS[level]
    lower, higher = (
        warm_of(
            evidence.campaign, "samples", "block", "size_kib", "protect_ns", backing=backing, design=design, populated=0
        )
        for backing, design in (below, above)
    )
    time = ratio_of("samples", lower, higher, "protect_ns", "size_kib")
    if time is None or evidence.costs is None:
        return NOT_MEASURED if time is None else f"not decided: {COSTS_ARE_MISSING[0]}"
    ledgers = []
    for name in imagined:
        memory = Range(sim.DESIGNS[name], 256 << 30)
        memory.protect()
        ledgers.append(memory.ledger())
    predicted = sim.costs_of(evidence.costs).ratio(*ledgers)
    shown = f"{with_interval(time)} by proxy, {with_interval(predicted)} predicted"
    if time.below(10) or predicted.below(10):
        return f"does not hold ({shown})"
    return f"{'holds if' if time.above(10) and predicted.above(10) else 'not decided'} ({shown})"


def prealloc_speeds_faults(evidence: Evidence, claim: Claim) -> str:
    """Decide eight cases, one and two threads: below 0.8 in all, in some, or in none."""
    ratios = []
    for stride in (2048, 4):
        for touch in ("first read", "first write"):
            for threads in (1, 2):
                with_, without = (
                    touched(evidence.campaign, "busy_ns", filled, "plain", touch, threads, stride)
                    for filled in ("tables", "fresh")
                )
                ratios.append(ratio_of("faults", with_, without, "busy_ns", "touches"))
    if any(ratio is None for ratio in ratios):
        return NOT_MEASURED
    known = [ratio for ratio in ratios if ratio]
    faster, not_faster = sum(r.below(0.8) for r in known), sum(r.above(0.8) for r in known)
    word = {len(known): "holds", 0: "not decided"}.get(faster, "holds if")
    return f"{'does not hold' if not_faster == len(known) else word} (below 0.8 in {faster} of {len(known)} cases)"


def spread_cost_later(evidence: Evidence, claim: Claim) -> str:
    """Decide the write that a handler receives: above 1.25; total work decides only between holds and holds if."""
    if evidence.costs is None:
        return f"not decided: {COSTS_ARE_MISSING[0]}"
    found = spreading.compared(sim.costs_of(evidence.costs))
    tail, work = found.tails[spreading.DECIDING], found.work
    return _beyond(tail, 1.25, above="holds" if work.above(1) else "holds if")


def spread_cost_in_three_cases(evidence: Evidence, claim: Claim) -> str:
    """Decide a read and two kinds of write: above 1.25 in each, or in some."""
    if evidence.costs is None:
        return f"not decided: {COSTS_ARE_MISSING[0]}"
    found = spreading.compared(sim.costs_of(evidence.costs))
    dearer = [ratio for ratio in found.tails.values() if ratio.above(1.25)]
    if all(ratio.below(1.25) for ratio in found.tails.values()):
        return "does not hold"
    if not dearer:
        return "not decided"
    word = "holds" if len(dearer) == len(found.tails) and found.work.above(1) else "holds if"
    return f"{word} (dearer in {len(dearer)} of {len(found.tails)} cases)"


def userspace_has_choice(evidence: Evidence, claim: Claim) -> str:
    """Decide by identical page states, with THP off and on."""
    small, huge = (userspace.equal(evidence.campaign, backing) for backing in ("anon", "anon_thp"))
    if small is None or huge is None:
        return NOT_MEASURED
    if not all(small.values()):
        return "does not hold"
    return "holds" if all(huge.values()) else "holds if"


def patch_equals_populate(evidence: Evidence, claim: Claim) -> str:
    """Decide by identical page states with THP off, and read loop / MADV_POPULATE_READ above 1.25 on empty memory."""
    same = userspace.equal(evidence.campaign, "anon")
    loop, call = (
        warm_of(
            evidence.campaign, "samples", "block", "size_kib", "prepare_ns", backing="anon", design=design, populated=0
        )
        for design in ("preread", "populate_read")
    )
    ratio = ratio_of("samples", loop, call, "prepare_ns", "size_kib")
    if same is None or ratio is None:
        return NOT_MEASURED
    return _beyond(ratio, 1.25, above="holds if") if all(same.values()) else "does not hold"


def atomicity(evidence: Evidence, claim: Claim) -> str:
    """Decide by lost writes per judged write: one pass none, below one per million; two passes some."""
    one = _lost(evidence.campaign, "one_pass")
    two = [_lost(evidence.campaign, name) for name in ("two_pass_read", "two_pass_populate")]
    if one and one.children.above(0):
        return "does not hold"
    if all(lost and _bounded(lost) for lost in two):
        return "does not hold"
    losing = [lost for lost in two if lost and lost.children.above(0)]
    if one is None or not _bounded(one) or not losing:
        return "not decided"
    return f"{'holds' if len(losing) == len(two) else 'holds if'} (one pass: {one.lost:,} of {one.judged:,})"


def _bounded(lost: LostWrites) -> bool:
    return lost.lost == 0 and lost.pooled.below(1e-6)


def _lost(data: Dataset, preparation: str) -> LostWrites | None:
    if "races" not in data.tables:
        return None
    races = data.require("races", ("block", "backing", "preparation", "interleaving", "judged", "lost"))
    here = (races.backing == "anon") & (races.preparation == preparation) & (races.interleaving == "racing")
    return lost_writes(races[here.fillna(False)])


def no_huge_zeropage_needed(evidence: Evidence, claim: Claim) -> str:
    """Decide from independent processes, not from pairs that ran one right after the other."""
    with_, without = (
        warm_of(
            evidence.campaign, "zeropages", "block", "size_kib", "protect_ns", "reported",
            backing="anon_thp", design="pte_marker", step="protected", huge_zeropage=state,
        )
        for state in ("on", "off")
    )  # fmt: skip
    ratio = ratio_of("zeropages", without, with_, "protect_ns", "size_kib")
    if ratio is None or with_ is None or without is None:
        return NOT_MEASURED
    if not (_all(with_.reported) and _all(without.reported)):
        return "does not hold"
    same = ratio.above(1 / 1.25) and ratio.below(1.25)
    different = ratio.below(1 / 1.25) or ratio.above(1.25)
    return f"{'holds' if same else 'does not hold' if different else 'not decided'} ({with_interval(ratio)})"


def _all(answers: Iterable[object]) -> bool:
    return all(answer is not None and bool(answer) for answer in answers)


def covert_channel(evidence: Evidence, claim: Claim) -> str:
    """Decide by the one-sided test, whether or not a control could notice a hundredth of what passes beside it."""
    return channels.covert_channel(evidence, claim, detectable=float("inf"), inverted=False, null=True).words


def covert_channel_one_sided(evidence: Evidence, claim: Claim) -> str:
    """Decide by the one-sided test."""
    return channels.covert_channel(evidence, claim, inverted=False, null=True).words


def covert_channel_null(evidence: Evidence, claim: Claim) -> str:
    """Decide by the two-sided test, and not where a control carries anything."""
    return channels.covert_channel(evidence, claim, null=True).words


def markers_close(evidence: Evidence, claim: Claim) -> str:
    """Decide the same of markers."""
    return channels.markers_close(evidence, claim, detectable=float("inf"), inverted=False, null=True).words


def markers_close_one_sided(evidence: Evidence, claim: Claim) -> str:
    """Decide the same of markers."""
    return channels.markers_close(evidence, claim, inverted=False, null=True).words


def markers_close_null(evidence: Evidence, claim: Claim) -> str:
    """Decide the same of markers."""
    return channels.markers_close(evidence, claim, null=True).words
