# SPDX-License-Identifier: MIT
"""The first argument: does hugetlb need the feature, does it work already, and could QEMU skip populating?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from uffdlab.claims.claim import Claim
from uffdlab.claims.verdict import Verdict
from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, ratio_interval
from uffdlab.units import format_ratio

TIME_SAVED_RATIO = 1.25  # a saving counts when the time with the step is more than this times the time without

# --- deciding from the semantics table ------------------------------------------------------------------------------

_PRIVATE_HUGETLB = ("hugetlb_2m_private", "hugetlb_1g_private")
_HUGETLB = (*_PRIVATE_HUGETLB, "hugetlb_2m_shared", "hugetlb_1g_shared")
_TITLES = {
    "anon": "anonymous 4 KiB",
    "shmem": "shmem",
    "hugetlb_2m_private": "hugetlb 2 MiB private",
    "hugetlb_1g_private": "hugetlb 1 GiB private",
    "hugetlb_2m_shared": "hugetlb 2 MiB shared",
    "hugetlb_1g_shared": "hugetlb 1 GiB shared",
}


def _reported(data: Dataset, backing: str, features: str) -> bool | None:
    """Whether a write to an empty, protected page raised a write-protect event; None when that was not measured."""
    if "states" not in data.tables:
        return None
    states = data.table("states")
    rows = states[
        (states.backing == backing)
        & (states.features == features)
        & (states.content == "empty")
        & (states.moment == "protected")
    ]
    answers = {bool(answer) for answer in rows.write_reported}
    return answers.pop() if len(answers) == 1 else None


def _named(backings: Iterable[str]) -> str:
    return ", ".join(_TITLES[backing] for backing in backings)


def _state_evidence(data: Dataset, backings: Iterable[str], features: Iterable[str]) -> tuple[str, ...]:
    words = {True: "reported", False: "not reported", None: "not measured"}
    return tuple(
        f"states: {_TITLES[backing]}, features {wanted}, empty, protected: "
        f"write {words[_reported(data, backing, wanted)]}"
        for backing in backings
        for wanted in features
    )


def needs_feature(data: Dataset, claim: Claim) -> Verdict:
    """Decide whether the feature turns an unreported write to empty hugetlb memory into a reported one."""
    pairs = {b: (_reported(data, b, "none"), _reported(data, b, "wp_unpopulated")) for b in _HUGETLB}
    measured = [b for b, pair in pairs.items() if None not in pair]
    gained = [b for b in measured if pairs[b] == (False, True)]
    evidence = _state_evidence(data, _HUGETLB, ("none", "wp_unpopulated"))
    if gained:
        everywhere = len(gained) == len(_HUGETLB)
        return Verdict(
            claim.id,
            "holds" if everywhere else "holds if",
            claim.rule,
            f"the feature turns an unreported write into a reported one on {_named(gained)}",
            evidence,
            condition=None if everywhere else f"the memory is {_named(gained)}",
            dataset=data.id,
        )
    if len(measured) < len(_HUGETLB):
        absent = [b for b in _HUGETLB if b not in measured]
        because = f"{_named(absent)}: not measured with and without the feature"
        return claim.undecided(data, because)
    without = [b for b in measured if not pairs[b][0]]
    because = "the write to empty memory is reported without the feature too, on every hugetlb backing"
    if without:
        because = f"the write to empty memory is not reported with the feature either on {_named(without)}"
    return Verdict(claim.id, "does not hold", claim.rule, because, evidence, dataset=data.id)


def already_works(data: Dataset, claim: Claim) -> Verdict:
    """Decide whether private hugetlb reports a write to empty memory with features 0."""
    answers = {b: _reported(data, b, "none") for b in _PRIVATE_HUGETLB}
    works = [b for b, answer in answers.items() if answer]
    fails = [b for b, answer in answers.items() if answer is False]
    evidence = _state_evidence(data, _PRIVATE_HUGETLB, ("none",))
    if len(works) == len(_PRIVATE_HUGETLB):
        because = "with features 0 a write to an empty, protected page is reported on private 2 MiB and 1 GiB hugetlb"
        return Verdict(claim.id, "holds", claim.rule, because, evidence, dataset=data.id)
    if works and fails:
        because = f"reported on {_named(works)}, not on {_named(fails)}"
        condition = f"the memory is {_named(works)}"
        return Verdict(claim.id, "holds if", claim.rule, because, evidence, condition=condition, dataset=data.id)
    if len(fails) == len(_PRIVATE_HUGETLB):
        because = f"not reported on {_named(fails)}"
        return Verdict(claim.id, "does not hold", claim.rule, because, evidence, dataset=data.id)
    absent = [b for b, answer in answers.items() if answer is None]
    return claim.undecided(data, f"{_named(absent)}: a write to empty protected memory was not measured")


# --- deciding from the protect samples -------------------------------------------------------------------------------

_QEMU_BACKENDS = ("shmem", "hugetlb_2m_private", "hugetlb_2m_shared")


def _warm(data: Dataset, backing: str, design: str) -> Any:
    """Return the warm samples of untouched memory at the largest size measured both with and without populating."""
    samples = data.table("samples")
    rows = samples[(samples.backing == backing) & ~samples.cold & (samples.populated == 0)]
    sizes = [set(rows[rows.design == d].size_kib) for d in ("preread", "unprotected")]
    common = sizes[0] & sizes[1]
    return rows[(rows.design == design) & (rows.size_kib == max(common, default=-1))]


def _time_saved(data: Dataset, backing: str) -> Estimate | None:
    """Ratio of read loop + protect to protect alone; None when either was not measured."""
    if "samples" not in data.tables:
        return None
    top, bottom = _warm(data, backing, "preread"), _warm(data, backing, "unprotected")
    if top.empty or bottom.empty:
        return None
    return ratio_interval(list(top.prepare_ns + top.protect_ns), list(bottom.protect_ns))


def _memory_saved_kib(data: Dataset, backing: str) -> float:
    """Return what populating would have filled: growth of RSS and huge pages, median over samples, KiB."""
    grown = {d: _warm(data, backing, d) for d in ("preread", "unprotected")}
    total = {d: (r.rss_growth_kib + r.hugetlb_growth_kib.fillna(0)).median() for d, r in grown.items()}
    return float(total["preread"] - total["unprotected"])


def qemu_could_skip(data: Dataset, claim: Claim) -> Verdict:
    """Decide, as far as a stock kernel shows, whether populating first can be left out on QEMU's backends."""
    protected = {b: _reported(data, b, "none") for b in _QEMU_BACKENDS}
    saved = {b: _time_saved(data, b) for b in _QEMU_BACKENDS}
    known = [b for b in _QEMU_BACKENDS if protected[b] is False or (protected[b] and saved[b] is not None)]
    unknown = [b for b in _QEMU_BACKENDS if b not in known]
    if unknown:
        because = f"{_named(unknown)}: no state of empty memory, or no time with and without populating"
        return claim.undecided(data, because)
    open_ = [b for b in known if protected[b] and not _settled(saved[b])]
    could = [b for b in known if protected[b] and _above(saved[b]) and _memory_saved_kib(data, b) > 0]
    evidence = _state_evidence(data, _QEMU_BACKENDS, ("none",)) + tuple(
        f"samples: {_TITLES[b]}: (read loop + protect) / protect = {format_ratio(one.value)}"
        + (_between(one))
        + f", {_memory_saved_kib(data, b) / 1024:.4g} MiB not filled"
        for b, one in saved.items()
        if one
    )
    if not could:
        if open_:
            return claim.undecided(data, f"{_named(open_)}: the interval of the time saved straddles the threshold")
        because = "nowhere is empty memory protected without populating and time and memory saved as well"
        return Verdict(claim.id, "does not hold", claim.rule, because, evidence, dataset=data.id)
    least = min((saved[b] for b in could), key=lambda one: one.value if one else 0)
    assert least is not None
    return Verdict(
        claim.id,
        "holds if",
        claim.rule,
        f"on {_named(could)} protection holds without populating, at a fraction of the time and with no page filled",
        evidence,
        quantity="least (read loop + protect) / protect over these backends",
        effect=least.value,
        interval=None if least.low is None or least.high is None else (least.low, least.high),
        condition=f"the guest's memory is one of {_named(could)}, and a real snapshot behaves as the probe does",
        dataset=data.id,
        limits="a probe on empty ranges, not a snapshot of a running guest: that part of the rule is not measured yet",
    )


def _between(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return " (too few samples for an interval)"
    return f" ({format_ratio(estimate.low)} to {format_ratio(estimate.high)})"


def _settled(estimate: Estimate | None) -> bool:
    return _above(estimate) or (estimate is not None and estimate.below(TIME_SAVED_RATIO))


def _above(estimate: Estimate | None) -> bool:
    return estimate is not None and estimate.above(TIME_SAVED_RATIO)
