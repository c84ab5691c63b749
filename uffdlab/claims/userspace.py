# SPDX-License-Identifier: MIT
"""Populating in user space: does it leave the page states that the patch would, and which way of it is faster?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import Evidence
from uffdlab.claims.verdict import Tested, Verdict, in_children, with_interval
from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, split_confidence
from uffdlab.summaries.medians import ratio_of, sizes_of, warm_of
from uffdlab.units import format_ratio, in_sizes
from uffdlab.vocabulary.backings import BACKINGS
from uffdlab.vocabulary.designs import WAYS

FASTER, SLOWER = 1.25, 0.8  # read loop / MADV_POPULATE_READ above and below
SHARES = (0.0, 0.5, 1.0)  # of the range, written beforehand
_MIB = 1 << 10  # in KiB
# The size that is compared of each backing: at which all shares written are measured.
POPULATED_KIB: dict[str, int | None] = {
    "anon": 256 * _MIB,
    "anon_thp": 256 * _MIB,
    "shmem": 256 * _MIB,
    "hugetlb_2m_private": 1024 * _MIB,
}
_STANDS_IN = "markers that were read stand for the patch, which no kernel has: both are a protected zeropage per PTE"


def equal(data: Dataset, backing: str) -> dict[str, bool] | None:
    """Return, per way of populating, whether every page is in the state of a marker after its first read."""
    rows = warm_of(data, "equality", "way", "state", "pages", "equal_pages", backing=backing)
    if rows is None or not set(WAYS) <= set(rows.way.dropna()):
        return None
    same = rows.pages == rows.equal_pages
    if same.isna().any():
        return None  # unknown for some pages
    return {way: bool(same[rows.way == way].all()) for way in WAYS}


def _evidence_lines(data: Dataset) -> tuple[str, ...]:
    found = {backing: equal(data, backing) for backing in ("anon", "anon_thp", "shmem")}
    return tuple(
        f"equality: {backing}, {way}: every page {'as' if same else 'not as'} after markers that were read"
        f"{in_children(warm_of(data, 'equality', 'block', backing=backing, way=way))}"
        for backing, ways in found.items()
        for way, same in (ways or {}).items()
    )


def _states(data: Dataset, backing: str) -> str:
    """Return the states of pages after populating."""
    rows = warm_of(data, "equality", "way", "state", backing=backing)
    assert rows is not None
    return " or ".join(sorted(set(rows[rows.way.isin(list(WAYS))].state.fillna("unknown"))))


def _pages(data: Dataset) -> str:
    """Return the sizes of the ranges that were compared page by page."""
    rows = warm_of(data, "equality", "pages", backing="anon")
    return in_sizes(
        sorted({int(n) * BACKINGS["anon"].page_kib for n in rows.pages.dropna()}) if rows is not None else []
    )


def patch_equals_populate(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether both ways of populating leave every page as the patch would, with THP off and on."""
    data = evidence.campaign
    small, huge = equal(data, "anon"), equal(data, "anon_thp")
    of = _pages(data)
    if small is None or huge is None:
        return claim.undecided(data, "states after populating were not compared page by page, with THP off and on")
    if not all(small.values()):
        because = f"with THP off not every page of {of} ends as markers that were read"
        return claim.ruled(data, "does not hold", because, _evidence_lines(data), limits=_STANDS_IN)
    if all(huge.values()):
        because = f"every page of {of} ends as markers that were read, with THP off and on"
        return claim.ruled(data, "holds", because, _evidence_lines(data), limits=_STANDS_IN)
    with_huge = _states(data, "anon_thp")
    because = f"with THP off every page of {of} ends as markers that were read; with THP on pages are {with_huge}"
    condition = "THP is off for the memory"
    lines = _evidence_lines(data)
    return claim.ruled(data, "depends", because, lines, depends_on="THP", condition=condition, limits=_STANDS_IN)


_CHOICES = (("anon", "THP off"), ("anon_thp", "THP on"), ("shmem", "shmem"))


def userspace_has_choice(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether a write is reported after either way of populating and protecting."""
    data = evidence.campaign
    read = ("block", "size_kib", "present_pages", "zeropages", "reported")
    reported: dict[str, bool] = {}
    lines = []
    seen = []
    for backing, name in _CHOICES:
        for design, way, _ in WAYS.values():
            rows = warm_of(
                data, "zeropages", *read, backing=backing, design=design, step="protected", huge_zeropage="on"
            )
            if rows is None or rows.reported.isna().any():
                return claim.undecided(data, f"whether a write is reported after {way} was not measured, {name}")
            seen.append(rows)
            reported[f"{way}, {name}"] = bool(rows.reported.all())
            lines.append(
                f"zeropages: {way}, {name}: write {'' if rows.reported.all() else 'not '}reported{in_children(rows)}"
            )
    protected = [case for case, all_of_them in reported.items() if all_of_them]
    limits = (
        "protection, not identical page states (see patch-equals-populate); where the zeropage is forbidden or the "
        "memory has none, populating fills it with real pages (see forbidden-zeropage)"
    )
    where = f"cases of populating and protecting {in_sizes(sizes_of(*seen))}"
    because = f"a write is reported in {len(protected)} of {len(reported)} {where}"
    if len(protected) == len(reported):
        return claim.ruled(data, "holds", because, lines, limits=limits)
    if not protected:
        return claim.ruled(data, "does not hold", because, lines, limits=limits)
    condition = f"the memory is populated by {'; or by '.join(protected)}"
    return claim.ruled(data, "depends", because, lines, depends_on="how and where", condition=condition, limits=limits)


def speeds(data: Dataset, sizes_kib: Mapping[str, int | None]) -> dict[str, Estimate]:
    """Return read loop / MADV_POPULATE_READ of each backing and share written that was measured at its size.

    Without a size (None) the largest common one counts.
    """
    ratios = {}
    level = split_confidence(len(sizes_kib) * len(SHARES))
    for backing, size_kib in sizes_kib.items():
        for share in SHARES:
            how: dict[str, Any] = {"backing": backing, "populated": share, "cluster_pages": 1}
            how |= {"size_kib": size_kib} if size_kib else {}
            loop, call = (
                warm_of(data, "samples", "block", "size_kib", "prepare_ns", design=design, **how)
                for design, *_ in WAYS.values()
            )
            ratio = ratio_of("samples", loop, call, "prepare_ns", "size_kib", confidence=level)
            if ratio is not None:
                ratios[case_of(backing, share)] = ratio
    return ratios


def case_of(backing: str, share: float) -> str:
    """Return a kind of memory and a share of it (0..1) as the words that name a case."""
    return f"{BACKINGS[backing].short}, {share:.0%} written"


# memory-backend-ram asks for huge pages (ram_block_add), which it gets where THP is not off.
QEMU = {
    "anon_thp": "memory-backend-ram with huge pages",
    "anon": "the same where THP is off",
    "shmem": "memory-backend-memfd",
    "hugetlb_2m_private": "private hugetlb of 2 MiB",
}


def _on_qemu(ratios: Mapping[str, Estimate]) -> str:
    """Return the ratios of each kind of memory that a guest has, from the least to the greatest share written."""
    said = []
    for backing, name in QEMU.items():
        ends = sorted(ratios[case_of(backing, share)].value for share in SHARES)
        said.append(f"{name} {format_ratio(ends[0])} to {format_ratio(ends[-1])}")
    return ", ".join(said)


def _by_value(ratios: Mapping[str, Estimate]) -> Callable[[str], float]:
    return lambda name: ratios[name].value


def populate_read_faster(
    evidence: Evidence, claim: Claim, sizes_kib: Mapping[str, int | None] = POPULATED_KIB
) -> Verdict:
    """Decide where MADV_POPULATE_READ beats a read loop, by backing and share written."""
    data = evidence.campaign
    ratios, cases = speeds(data, sizes_kib), len(sizes_kib) * len(SHARES)
    if len(ratios) < cases:
        because = f"timed side by side in {len(ratios)} of {cases} cases"
        return claim.undecided(data, because)
    faster = [name for name, ratio in ratios.items() if ratio.above(FASTER)]
    slower = [name for name, ratio in ratios.items() if ratio.below(SLOWER)]
    between = [name for name in ratios if name not in (*faster, *slower)]
    lines = tuple(f"samples: read loop / MADV_POPULATE_READ, {name}: {with_interval(r)}" for name, r in ratios.items())
    named = sorted({size for size in sizes_kib.values() if size})
    sizes = f", over {in_sizes(named)}" if named else ""
    least, most = min(ratios, key=_by_value(ratios)), max(ratios, key=_by_value(ratios))
    ends = " to ".join(f"{with_interval(ratios[name])} ({name})" for name in (least, most))
    because = (
        f"of {len(ratios)} cases{sizes}, the call is faster in {len(faster)} and slower in {len(slower)}; read loop / "
        f"MADV_POPULATE_READ from {ends}. On QEMU's own memory: {_on_qemu(ratios)}"
    )
    limits = f"neither is shown on: {'; '.join(between)}" if between else None
    more: dict[str, Any] = {
        "effect": ratios[least],
        "quantity": "read loop / MADV_POPULATE_READ, least of the cases",
        "limits": limits,
    }
    if len(faster) == len(ratios):
        return claim.ruled(data, "holds", because, lines, **more)
    if len(slower) == len(ratios):
        return claim.ruled(data, "does not hold", because, lines, **more)
    if faster and slower:
        depends_on, condition = "the backing and the share written", f"the memory is {'; '.join(faster)}"
        return claim.ruled(data, "depends", because, lines, depends_on=depends_on, condition=condition, **more)
    tested = (
        Tested(name, ratio, FASTER if ratio.value > 1 else SLOWER) for name, ratio in ratios.items() if name in between
    )
    return claim.undecided(data, because, f"more rounds of {claim.needs}", tested=tested, short_of="certainty")
