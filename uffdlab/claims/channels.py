# SPDX-License-Identifier: MIT
"""Is the shared zeropage a wire, and do markers cut it? The same test on memory as each design prepares it.

Only registered points decide: those at which controls ran as well. What is asked of several points at once is asked of
each at a level divided by their number. That nothing passes is believed only where a channel of a hundredth of what
passes beside it, or was sent, would have been noticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import CHANNEL, Evidence
from uffdlab.claims.verdict import Verdict
from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, median_interval, ratio_interval
from uffdlab.summaries.transmissions import (
    LEVEL,
    Judged,
    Transmission,
    by_child,
    capacity_kbit_s,
    judge,
    registered,
    transmissions,
)
from uffdlab.units import format_ratio
from uffdlab.vocabulary.channel import MEMORIES, PLACEMENTS, SHARED

_ZEROPAGES, _MARKERS = ("zeropage", "huge_zeropage"), ("markers_unread", "markers_read")
_OTHERS = ("empty_unread", "populated", "huge_populated", "shmem", "hugetlb")
_NOTICED = 0.01
_WEAK = "a control is null, and more than 1 % of what passes beside it could have passed it unnoticed"
_AGAIN = "the channel measured again beside its controls, on a machine with nothing else to do"
_LIMITS = (
    "two processes of one kernel on one machine, which both want to be heard; between virtual machines the page and "
    "the flush are the same, agreeing on a time is not"
)


@dataclass(frozen=True)
class _Point:
    """The samples of one registered point: how they were judged, and the capacity of either kind that passes."""

    memory: str
    placement: str
    silent: bool
    spot: tuple[int, int]  # length of a slot, lines
    judged: Judged
    samples: int
    faster: tuple[int, Estimate | None]  # samples in which bits pass and a 1 is the faster load, and their capacity
    slower: tuple[int, Estimate | None]  # those in which it is the slower one
    rates: list[float]  # by child, of the first kind
    sent_kbit_s: float

    @property
    def capacity(self) -> Estimate | None:
        return self.faster[1] or self.slower[1]

    @property
    def place(self) -> str:
        return PLACEMENTS.get(self.placement, self.placement)

    @property
    def below_kbit_s(self) -> float:
        return self.judged.below * self.sent_kbit_s

    def __str__(self) -> str:
        where, p = f"on {self.place}", f"p = {format_ratio(self.judged.p)}"
        if self.judged.passes and self.capacity is None:
            return f"{where} bits pass in all samples together ({p}), which are too short or too few of them pass alone"
        if self.capacity is None or not self.judged.passes:
            return f"{where} no channel detected ({p}, below {format_ratio(self.below_kbit_s)} kbit/s)"
        said = [
            f"{_kbit_s(found)}{which}" + ("" if number == self.samples else f" in {number} of {self.samples} samples")
            for which, (number, found) in (("", self.faster), (", a 1 being the slower load,", self.slower))
            if found is not None
        ]
        return f"{where} {' and '.join(said)}"


def _kbit_s(found: Estimate) -> str:
    known = found.low is not None and found.high is not None
    between = f" ({format_ratio(found.low)} to {format_ratio(found.high)})" if known else ""  # type: ignore[arg-type]
    return f"{format_ratio(found.value)} kbit/s{between}"


def covert_channel(given: Evidence, claim: Claim) -> Verdict:
    """Decide whether bits pass through the zeropage where nothing passes through the controls."""
    data = given.holding(CHANNEL)
    points = _points(data)
    small = [one for one in points if one.memory == "zeropage" and not one.silent and _controlled(one, points)]
    if not small:
        return claim.undecided(data, "the zeropage was not measured beside a silent sender and written pages")
    controls = _controls_of(small, points)
    loud = _loud(controls)
    if loud:
        return claim.undecided(data, f"a control is not null: {loud[0].memory} {loud[0]}", _AGAIN)
    evidence = [f"{MEMORIES[one].phrase}: {_told(points, one)}" for one in _ZEROPAGES if _told(points, one)]
    evidence.append(f"controls: {_said(controls)}")
    passing = [one for one in small if _passes(one, small)]
    told = "; ".join(map(str, small))
    if not passing:
        if any(one.below_kbit_s > _NOTICED * one.sent_kbit_s for one in small):
            return claim.undecided(data, f"nothing was noticed, and more than 1 % could have passed: {told}", _AGAIN)
        return claim.ruled(
            data, "does not hold", f"nothing passes through the zeropage: {told}", evidence, limits=_LIMITS
        )
    if not any(one.capacity for one in passing):
        return claim.undecided(data, f"no sample passes alone, so that no capacity is known: {told}", _AGAIN)
    weak = _weak(controls, passing)
    if weak:
        return claim.undecided(data, f"{_WEAK}: {weak[0].memory} {weak[0]}", _AGAIN)
    # On two CPUs samples are of several kinds; one CPU comes first.
    best = max(passing, key=lambda one: one.placement == "same")
    return claim.ruled(
        data,
        "holds",
        f"bits pass through the zeropage, {told}; of {len(controls)} controls none carries any",
        evidence,
        effect=best.capacity,
        quantity=f"capacity at the registered point on {best.place}, kbit/s, median of children",
        limits=_LIMITS,
    )


def markers_close(given: Evidence, claim: Claim) -> Verdict:
    """Decide whether nothing passes through memory that markers protect where bits pass through fresh memory."""
    data = given.holding(CHANNEL)
    points = _points(data)
    sent = [one for one in points if not one.silent]
    fresh = [one for one in sent if one.memory == "zeropage" and _controlled(one, points)]
    heard = [one for one in fresh if _passes(one, fresh)]
    marked = [one for one in sent if one.memory in _MARKERS and one.placement in {one.placement for one in heard}]
    if not fresh or {(one.memory, one.placement) for one in marked} < {
        (m, f.placement) for f in heard for m in _MARKERS
    }:
        return claim.undecided(data, "fresh memory and markers, read and unread, were not all measured beside controls")
    if not heard:
        because = f"nothing passes through fresh memory either: {_told(points, 'zeropage')}"
        return claim.undecided(data, because, _AGAIN)
    controls = _controls_of([*heard, *marked], points)
    loud, weak = _loud(controls), _weak(controls, [*heard, *(one for one in marked if _passes(one, marked))])
    if loud or weak:
        why, one = ("a control is not null", loud[0]) if loud else (_WEAK, weak[0])
        return claim.undecided(data, f"{why}: {one.memory} {one}", _AGAIN)
    evidence = [f"fresh memory: {_told(points, 'zeropage')}"]
    evidence += [f"{MEMORIES[one].phrase}: {_told(points, one)}" for one in (*_MARKERS, *_OTHERS) if _told(points, one)]
    open_ = [name for name in _MARKERS if any(one.memory == name and _passes(one, marked) for one in marked)]
    if not open_:
        known = [one.capacity.value for one in heard if one.capacity]
        if not known:
            because = f"no sample passes alone, so that no capacity is known: {_told(points, 'zeropage')}"
            return claim.undecided(data, because, _AGAIN)
        least = min(known)
        if any(one.below_kbit_s > _NOTICED * least for one in marked):
            because = (
                "nothing was noticed through markers, and more than 1 % of what passes fresh memory could have passed"
            )
            return claim.undecided(data, because, _AGAIN)
        return claim.ruled(data, "holds", "nothing passes through markers, read or unread", evidence, limits=_LIMITS)
    return claim.ruled(
        data,
        "does not hold",
        f"bits pass through {' and through '.join(MEMORIES[name].phrase for name in open_)}: the first read maps the "
        "zeropage as it does in fresh memory, which any process has",
        evidence,
        effect=_ratio([one for one in marked if one.memory == "markers_read"], heard),
        quantity="capacity of markers after their first read / of fresh memory, one CPU, medians of children",
        limits=f"only forbidding the zeropage would help, which is not measured by time here; {_LIMITS}",
    )


def _passes(one: _Point, of: Sequence[_Point]) -> bool:
    return one.judged.p < LEVEL / len(of)


def _loud(controls: Sequence[_Point]) -> list[_Point]:
    return [one for one in controls if _passes(one, controls)]


def _weak(controls: Sequence[_Point], passing: Sequence[_Point]) -> list[_Point]:
    """Return the controls through which more than a hundredth of what passes at the same spot could pass unnoticed."""
    beside: dict[tuple[str, tuple[int, int]], list[float]] = {}
    for one in passing:
        if one.capacity:
            beside.setdefault((one.placement, one.spot), []).append(one.capacity.value)
    found = ((one, beside.get((one.placement, one.spot))) for one in controls)
    return [one for one, rates in found if rates and one.below_kbit_s > _NOTICED * min(rates)]


def _controlled(one: _Point, points: Iterable[_Point]) -> bool:
    """Whether both controls ran at the same point: a silent sender, and pages of one's own."""
    here = {
        (other.memory, other.silent) for other in points if (other.placement, other.spot) == (one.placement, one.spot)
    }
    return (one.memory, True) in here and ("private", False) in here


def _controls_of(chosen: Sequence[_Point], points: Iterable[_Point]) -> list[_Point]:
    """Return the silent controls of points, and all memory that shares nothing at one of their spots."""
    spots = {(one.placement, one.spot) for one in chosen}
    memories = {one.memory for one in chosen}
    return [
        one
        for one in points
        if (one.placement, one.spot) in spots and (one.memory not in SHARED or (one.silent and one.memory in memories))
    ]


def _ratio(top: Iterable[_Point], bottom: Iterable[_Point]) -> Estimate | None:
    above, below = ([one for one in of if one.placement == "same"] for of in (top, bottom))
    if not above or not below or not above[0].rates or min(below[0].rates, default=0) <= 0:
        return None
    return ratio_interval(above[0].rates, below[0].rates)


def _told(points: Iterable[_Point], memory: str) -> str:
    return "; ".join(str(one) for one in points if one.memory == memory and not one.silent)


def _said(controls: Sequence[_Point]) -> str:
    least = min(controls, key=lambda one: one.judged.p)
    return (
        f"{len(controls)} of them, no sender or memory that shares nothing; the least p is "
        f"{format_ratio(least.judged.p)} and would count below {format_ratio(LEVEL / len(controls))}"
    )


def _points(data: Dataset) -> list[_Point]:
    """Return the points that were registered, one CPU first."""
    found: dict[tuple[str, str, bool, int, int], list[Transmission]] = {}
    for one in transmissions(data):
        row = one.row
        key = (row["memory"], row["placement"], bool(row["silent"]), row["slot_ns"], row["lines"])
        found.setdefault(key, []).append(one)
    points = []
    for key in sorted(registered(found), key=lambda key: (key[1] != "same", *key)):
        samples = found[key]
        heard = [one for one in samples if judge([one]).passes]
        kinds = [[one for one in heard if bool(one.row["slower"]) is slower] for slower in (False, True)]
        rates = [[capacity_kbit_s(child) for child in by_child(kind)] for kind in kinds]
        faster, slower = (
            (len(kind), median_interval(known) if known else None) for kind, known in zip(kinds, rates, strict=True)
        )
        spot, sent = (key[3], key[4]), samples[0].kbit_s_sent
        points.append(_Point(*key[:3], spot, judge(samples), len(samples), faster, slower, rates[0], sent))
    return points
