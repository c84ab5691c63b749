# SPDX-License-Identifier: MIT
"""hugetlb: does it need WP_UNPOPULATED, does it work already, and could QEMU skip populating?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import Evidence
from uffdlab.claims.verdict import Tested, Verdict, in_children, with_interval
from uffdlab.datasets import Dataset
from uffdlab.errors import NotMeasuredError
from uffdlab.stats import Estimate
from uffdlab.summaries.medians import estimate, ratio_of, warm_of, with_filled, with_total
from uffdlab.units import in_sizes
from uffdlab.vocabulary.backings import BACKINGS

TIME_SAVED_RATIO = 1.25  # a saving counts when the time with the step is more than this times the time without
FILLED_SHARE = 0.5  # and when the step fills more than this share of what was untouched
SAVED_KIB = 1 << 20  # the range that is compared: 1 GiB
WRITTEN = (0.0, 0.5)  # fractions written beforehand at which both have to be saved

# --- deciding from the semantics table ------------------------------------------------------------------------------

_PRIVATE_HUGETLB = ("hugetlb_2m_private", "hugetlb_1g_private")
HUGETLB = (*_PRIVATE_HUGETLB, "hugetlb_2m_shared", "hugetlb_1g_shared")


def reported(data: Dataset, backing: str, features: str) -> bool | None:
    """Whether a write to an empty, protected page raised a write-protect event; None when that was not measured."""
    rows = _empty_protected(data, backing, features)
    if rows is None or rows.write_reported.isna().any():
        return None
    answers = {bool(answer) for answer in rows.write_reported}
    if len(answers) > 1:
        raise NotMeasuredError(
            f"`states.write_reported` contradicts itself on {BACKINGS[backing].short}, features {features}: a write to "
            "empty protected memory was reported in some child processes and not in others"
        )
    return answers.pop() if answers else None


def _empty_protected(data: Dataset, backing: str, features: str) -> Any:
    """Return what was seen of empty, protected pages, a row per child process; None where nothing was."""
    if "states" not in data.tables:
        return None
    states = data.require("states", ("block", "backing", "features", "content", "moment", "write_reported"))
    here = (states.backing == backing) & (states.features == features)
    return states[(here & (states.content == "empty") & (states.moment == "protected")).fillna(False)]


def _named(backings: Iterable[str]) -> str:
    return ", ".join(BACKINGS[backing].short for backing in backings)


def _state_evidence(data: Dataset, backings: Iterable[str], features: Iterable[str]) -> tuple[str, ...]:
    words = {True: "reported", False: "not reported", None: "not measured"}
    return tuple(
        f"states: {BACKINGS[backing].short}, features {wanted}, empty, protected: "
        f"write {words[reported(data, backing, wanted)]}{in_children(_empty_protected(data, backing, wanted))}"
        for backing in backings
        for wanted in features
    )


def needs_feature(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether the feature turns an unreported write to empty hugetlb memory into a reported one."""
    data = evidence.campaign
    pairs = {b: (reported(data, b, "none"), reported(data, b, "wp_unpopulated")) for b in HUGETLB}
    measured = [b for b, pair in pairs.items() if None not in pair]
    gained = [b for b in measured if pairs[b] == (False, True)]
    lines = _state_evidence(data, HUGETLB, ("none", "wp_unpopulated"))
    because = f"the feature turns an unreported write into a reported one on {_named(gained)}"
    if gained and len(gained) < len(measured):
        condition = f"the memory is {_named(gained)}"
        return claim.ruled(data, "depends", because, lines, depends_on="the backing", condition=condition)
    if len(measured) < len(HUGETLB):
        absent = [b for b in HUGETLB if b not in measured]
        return claim.undecided(data, f"{_named(absent)}: not measured with and without the feature")
    if gained:
        return claim.ruled(data, "holds", because, lines)
    without = [b for b in measured if not pairs[b][0]]
    because = "the write to empty memory is reported without the feature too, on every hugetlb backing"
    if without:
        because = f"the write to empty memory is not reported with the feature either on {_named(without)}"
    return claim.ruled(data, "does not hold", because, lines)


def already_works(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether private hugetlb reports a write to empty memory with features 0."""
    data = evidence.campaign
    answers = {b: reported(data, b, "none") for b in _PRIVATE_HUGETLB}
    works = [b for b, answer in answers.items() if answer]
    fails = [b for b, answer in answers.items() if answer is False]
    lines = _state_evidence(data, _PRIVATE_HUGETLB, ("none",))
    if len(works) == len(_PRIVATE_HUGETLB):
        because = "with features 0 a write to an empty, protected page is reported on private 2 MiB and 1 GiB hugetlb"
        return claim.ruled(data, "holds", because, lines)
    if works and fails:
        because = f"reported on {_named(works)}, not on {_named(fails)}"
        condition = f"the memory is {_named(works)}"
        return claim.ruled(data, "depends", because, lines, depends_on="the backing", condition=condition)
    if len(fails) == len(_PRIVATE_HUGETLB):
        because = f"not reported on {_named(fails)}"
        return claim.ruled(data, "does not hold", because, lines)
    absent = [b for b, answer in answers.items() if answer is None]
    return claim.undecided(data, f"{_named(absent)}: a write to empty protected memory was not measured")


# --- deciding from the protect samples -------------------------------------------------------------------------------

_SAMPLED = ("block", "design", "size_kib", "populated", "prepare_ns", "protect_ns", "rss_growth_kib",
            "hugetlb_growth_kib")  # fmt: skip
_QEMU_BACKENDS = ("shmem", "hugetlb_2m_private", "hugetlb_2m_shared")


@dataclass(frozen=True)
class _Saving:
    """What skipping saves on one backing: time by fraction written beforehand, and the share of the range filled."""

    time: dict[float, Estimate]
    filled: Estimate

    def counts(self) -> bool | None:
        """Whether both time and memory are saved; None while an interval straddles its threshold."""
        beyond = [ratio.above(TIME_SAVED_RATIO) for ratio in self.time.values()] + [self.filled.above(FILLED_SHARE)]
        short = [ratio.below(TIME_SAVED_RATIO) for ratio in self.time.values()] + [self.filled.below(FILLED_SHARE)]
        return True if all(beyond) else False if any(short) else None

    def words(self) -> str:
        """Return the numbers in words."""
        times = [f"{with_interval(ratio)} times as long with {at:.0%} written" for at, ratio in self.time.items()]
        filled = f"fills {with_interval(self.filled)} of the untouched part"
        return f"populating takes {' and '.join(times)}, and {filled}"


def _saving(data: Dataset, backing: str, **at: int) -> _Saving | None:
    """Return the time and memory that skipping saves; None where they were not measured."""
    rows = warm_of(data, "samples", *_SAMPLED, backing=backing, cluster_pages=1, **at)
    if rows is None:
        return None
    sides = {at: _sides(rows[rows.populated == at]) for at in WRITTEN}
    time = {at: _time(*both) for at, both in sides.items()}
    known = {at: ratio for at, ratio in time.items() if ratio is not None}
    filled = rows[(rows.populated == 0) & (rows.design == "preread")]
    if len(known) < len(time) or filled.empty:
        return None
    share = estimate(with_filled(filled), "filled_kib", "size_kib")
    return _Saving(known, share) if share else None


def _sides(rows: Any) -> tuple[Any, Any]:
    """Return the rows with populating and without."""
    return rows[rows.design == "preread"], rows[rows.design == "unprotected"]


def _time(populating: Any, without: Any) -> Estimate | None:
    """Return (read loop + protect) / protect of both sides; None without one."""
    return ratio_of("samples", with_total(populating), without, "total_ns", below_the_line="protect_ns")


def qemu_could_skip(evidence: Evidence, claim: Claim, size_kib: int | None = SAVED_KIB) -> Verdict:
    """Decide, on a stock kernel, whether populating first can be skipped on QEMU's backends.

    Without ``size_kib`` the largest size counts that both sides of a ratio have.
    """
    data = evidence.campaign
    at = {"size_kib": size_kib} if size_kib else {}
    protected = {b: reported(data, b, "none") for b in _QEMU_BACKENDS}
    saved = {b: _saving(data, b, **at) for b in _QEMU_BACKENDS}
    unknown = [b for b in _QEMU_BACKENDS if protected[b] is None or (protected[b] and saved[b] is None)]
    if unknown:
        because = f"{_named(unknown)}: no state of empty memory, or no time with and without populating"
        return claim.undecided(data, because)
    savings = {b: saving for b, saving in saved.items() if saving and protected[b]}
    could = [b for b, saving in savings.items() if saving.counts()]
    open_ = [b for b, saving in savings.items() if saving.counts() is None]
    lines = _state_evidence(data, _QEMU_BACKENDS, ("none",)) + tuple(
        f"samples: {BACKINGS[b].short}: {saving.words()}" for b, saving in savings.items()
    )
    if open_:
        because = f"{_named(open_)}: an interval of the time or memory saved straddles its threshold"
        tested = [
            one
            for b in open_
            for one in (
                *(
                    Tested(f"{BACKINGS[b].short}, {at:.0%} written", ratio, TIME_SAVED_RATIO)
                    for at, ratio in savings[b].time.items()
                ),
                Tested(f"{BACKINGS[b].short}, share filled", savings[b].filled, FILLED_SHARE),
            )
        ]
        return claim.undecided(data, because, f"more rounds of {claim.needs}", tested=tested)
    if not could:
        because = "nowhere is empty memory protected without populating and time and memory saved as well"
        return claim.ruled(data, "does not hold", because, lines)
    least = min((ratio for b in could for ratio in savings[b].time.values()), key=lambda ratio: ratio.value)
    share = min((savings[b].filled for b in could), key=lambda filled: filled.value)
    size = f" {in_sizes([size_kib])}" if size_kib else ""
    return claim.ruled(
        data,
        "predicted to hold",
        f"on {_named(could)} protection holds without populating; populating{size} takes at least "
        f"{with_interval(least)} times as long and fills at least {with_interval(share)} of what was untouched",
        lines,
        quantity="least (read loop + protect) / protect over these backends, untouched and half written",
        effect=least,
        condition=f"the guest's memory is one of {_named(could)}",
        missing="a real QEMU snapshot with and without populating, on each of these backends",
        limits="a probe on empty ranges stands in for a snapshot of a running guest",
    )
