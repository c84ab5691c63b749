# SPDX-License-Identifier: MIT
"""The zeropage: markers where it is forbidden, attempts to forbid it, and whether the huge zeropage is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import Evidence
from uffdlab.claims.verdict import Ruling, Tested, Verdict, with_interval
from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate
from uffdlab.summaries.medians import common_sizes, estimate, ratio_of, sizes_of, warm_of, with_filled
from uffdlab.units import in_sizes
from uffdlab.vocabulary.backings import BACKINGS

NOTHING, EVERYTHING = 0.01, 0.99  # share of the range that is filled
SAME = 1.25  # costs are the same when the ratio lies between 1 / SAME and SAME

# Stand-ins for a forbidden zeropage on a stock kernel: memory in which a read of a hole maps a real page.
RELATIVES = (
    ("shmem", "on"),
    ("anon_thp", "off"),
    ("hugetlb_2m_private", "on"),
    ("hugetlb_2m_shared", "on"),
    ("hugetlb_1g_private", "on"),
    ("hugetlb_1g_shared", "on"),
)


@dataclass(frozen=True)
class _Filled:
    """Share of an empty range that a design fills, and whether a write is reported afterwards."""

    share: Estimate
    reported: bool
    sizes_kib: tuple[int, ...]


def _filled(data: Dataset, backing: str, huge_zeropage: str, design: str) -> _Filled | None:
    read = ("block", "size_kib", "rss_growth_kib", "hugetlb_growth_kib", "reported")
    rows = warm_of(
        data, "zeropages", *read, backing=backing, huge_zeropage=huge_zeropage, design=design, step="protected"
    )
    if rows is None or rows.reported.isna().any():
        return None
    share = estimate(with_filled(rows), "filled_kib", "size_kib")
    return _Filled(share, bool(rows.reported.all()), tuple(sizes_of(rows))) if share else None


def _title(backing: str, huge_zeropage: str) -> str:
    return BACKINGS[backing].short + (", no huge zeropage" if huge_zeropage == "off" else "")


def forbidden_zeropage(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide, on stand-ins for a forbidden zeropage, whether markers fill nothing and populating fills the range."""
    data = evidence.campaign
    cases = {
        _title(b, h): (_filled(data, b, h, "pte_marker"), _filled(data, b, h, "populate_read")) for b, h in RELATIVES
    }
    not_measured = [name for name, pair in cases.items() if None in pair]
    if not_measured:
        return claim.undecided(data, f"not measured: {'; '.join(not_measured)}")
    known = {name: (m, p) for name, (m, p) in cases.items() if m and p}
    supporting = [
        n for n, (m, p) in known.items() if m.reported and m.share.below(NOTHING) and p.share.above(EVERYTHING)
    ]
    contradicting = [
        n for n, (m, p) in known.items() if not m.reported or m.share.above(NOTHING) or p.share.below(EVERYTHING)
    ]
    lines = tuple(
        f"zeropages: {name}: markers fill {with_interval(m.share)} of the range and "
        f"{'report' if m.reported else 'lose'} a write; MADV_POPULATE_READ fills {with_interval(p.share)}"
        for name, (m, p) in known.items()
    )
    losing = [name for name, (markers, _) in known.items() if not markers.reported]
    if losing:
        return claim.ruled(data, "does not hold", f"markers lose a write on {'; '.join(losing)}", lines)
    if len(contradicting) == len(known):
        because = "nowhere do markers protect without filling while populating fills the range"
        return claim.ruled(data, "does not hold", because, lines)
    if not supporting:
        because = "the intervals of the share filled are too wide"
        tested = [Tested(f"{name}, markers fill", markers.share, NOTHING) for name, (markers, _) in known.items()]
        tested += [Tested(f"{name}, populating fills", filled.share, EVERYTHING) for name, (_, filled) in known.items()]
        return claim.undecided(data, because, f"more rounds of {claim.needs}", tested=tested)
    others = [name for name in known if name not in supporting]
    limits = (
        "memory in which a read of a hole maps a real page stands in for memory whose zeropage is forbidden; s390, "
        "which forbids zeropages to KVM guests, has no uffd-wp"
    )
    if others:
        limits += f"; not so, or not decided, on {'; '.join(others)}"
    least = min((known[name][1].share for name in supporting), key=lambda share: share.value)
    sizes = sorted({size for name in supporting for one in known[name] for size in one.sizes_kib})
    return claim.ruled(
        data,
        "predicted to hold",
        f"where a read of a hole maps a real page ({'; '.join(supporting)}) markers protect and fill nothing, and "
        f"populating fills at least {with_interval(least)} of {in_sizes(sizes)}",
        lines,
        quantity="least share of the range that populating fills",
        effect=least,
        missing="the same on a kernel that forbids the zeropage",
        limits=limits,
    )


def other_contexts(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide from documented attempts to forbid zeropages outside s390; nothing is measured."""
    published = evidence.published
    if published is None:
        return claim.undecided(evidence.campaign, "the list of attempts is not at hand: it comes with a checkout")
    attempts = published.require("attempts", ("author", "architecture", "what", "outcome", "source"))
    others = attempts[attempts.architecture != "s390"]
    merged = others[others.outcome == "merged"]
    lines = [f"{row.author}, {row.what}: {row.outcome} ({row.source})" for row in _rows(others)]
    because = f"attempts known outside s390: {len(others)}, of which {len(merged)} merged"
    limits = "a list of what was found, not of all there is"
    return claim.ruled(published, "answer", because, lines, limits=limits)


def _rows(frame: Any) -> Iterator[Any]:
    yield from frame.itertuples()


def no_huge_zeropage_needed(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether marking every PTE works, and costs the same, with the huge zeropage switched off."""
    data = evidence.campaign
    read = ("block", "size_kib", "protect_ns", "reported")
    with_, without = (
        warm_of(
            data, "zeropages", *read, backing="anon_thp", design="pte_marker", step="protected", huge_zeropage=state
        )
        for state in ("on", "off")
    )
    ratio = ratio_of("zeropages", without, with_, "protect_ns", "size_kib", neighbours=True)
    if ratio is None or with_ is None or without is None:
        return claim.undecided(data, "protecting was not measured with the huge zeropage on and off")
    if with_.reported.isna().any() or without.reported.isna().any():
        return claim.undecided(data, "`zeropages.reported` does not say of every sample whether a write was reported")
    sizes = in_sizes(common_sizes((without, with_)))
    because = f"time to protect {sizes} without the huge zeropage / with it: {with_interval(ratio)}"
    lines = (f"zeropages: {because}",)
    limits = "markers stand for the zeropages of the patch, which no kernel has: both write every PTE"
    verdict: Ruling
    if not (bool(with_.reported.all()) and bool(without.reported.all())):
        verdict, because = "does not hold", "a write to the protected range was not reported"
    elif ratio.above(1 / SAME) and ratio.below(SAME):
        verdict = "predicted to hold"
    elif ratio.below(1 / SAME) or ratio.above(SAME):
        verdict = "predicted not to hold"
    else:
        tested = (Tested("the ratio", ratio, limit) for limit in (1 / SAME, SAME))
        return claim.undecided(data, because, f"more rounds of {claim.needs}", tested=tested)
    limits += (
        ", and neither ever maps the huge zeropage: no difference is expected, and one would point at the experiment"
    )
    quantity = "protect without the huge zeropage / with it, THP on"
    missing = "the patch itself, on a kernel that has it"
    return claim.ruled(data, verdict, because, lines, effect=ratio, quantity=quantity, missing=missing, limits=limits)
