# SPDX-License-Identifier: MIT
"""The covert channel through the shared zeropage, and whether markers close it: one test for memory of every design.

Only registered points decide: those with controls at the same point. A test of several points is one of each at the
level divided by their number (Bonferroni). A control need not be nothing: it bounds what does not come by way of a
shared page, and a hundredth of what passes beside it is little enough. "Nothing passes" needs a test that would have
detected a hundredth of what passes through other memory, or of what was sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import CHANNEL, Evidence
from uffdlab.claims.verdict import Verdict
from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, median_interval
from uffdlab.summaries.medians import ratio_or_none
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
_DETECTABLE = 0.01
_WEAK = "more than 1 % of what passes beside it may pass a control"
_REMEASURE = "the channel measured again beside its controls, on a machine with nothing else to do"
_LIMITS = (
    "two processes of one kernel on one machine, which both want to be heard; between virtual machines the page and "
    "the flush are the same, agreeing on a time is not"
)


@dataclass(frozen=True)
class _Point:
    """The samples of one registered point: their test, and the capacity of those in which a 1 is faster, or slower."""

    memory: str
    placement: str
    silent: bool
    spot: tuple[str, int, int]  # placement, slot length in ns, lines
    judged: Judged
    samples: int
    faster: tuple[int, Estimate | None]  # number of samples in which bits pass, a 1 the faster load; their capacity
    slower: tuple[int, Estimate | None]  # the same, a 1 the slower load
    rates: dict[int, float]  # of ``faster``, by child
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
        parts = [
            f"{_kbit_s(capacity)}{which}{'' if n == self.samples else f' in {n} of {self.samples} samples'}"
            for which, (n, capacity) in (("", self.faster), (", a 1 being the slower load,", self.slower))
            if capacity is not None
        ]
        return f"{where} {' and '.join(parts)}"


def _kbit_s(capacity: Estimate) -> str:
    known = capacity.low is not None and capacity.high is not None
    between = f" ({format_ratio(capacity.low)} to {format_ratio(capacity.high)})" if known else ""  # type: ignore[arg-type]
    return f"{format_ratio(capacity.value)} kbit/s{between}"


def covert_channel(
    evidence: Evidence, claim: Claim, *, detectable: float = _DETECTABLE, inverted: bool = True, null: bool = False
) -> Verdict:
    """Decide whether bits pass through the zeropage where next to nothing passes through the controls.

    The share ``detectable`` of what passes beside it has to lie above the bound on each control, which with ``null``
    has to be nothing by its test as well; ``inverted`` as in ``judge``.
    """
    data = evidence.holding(CHANNEL)
    points = _points(data, inverted)
    sent = [point for point in points if not point.silent]
    zeropage = [point for point in sent if point.memory == "zeropage" and _controlled(point, points)]
    if not zeropage:
        return claim.undecided(data, "the zeropage was not measured beside a silent sender and written pages")
    controls = _controls_of(zeropage, points)
    not_null = _not_null(controls) if null else []
    if not_null:
        return claim.undecided(
            data, f"a control is not null: {not_null[0].memory} {not_null[0]}", _REMEASURE, short_of="certainty"
        )
    lines = [*_lines(points, _ZEROPAGES), f"controls: {_controls_in_words(controls)}"]
    passing = [point for point in zeropage if _passes(point, zeropage)]
    in_words = "; ".join(map(str, zeropage))
    if not passing:
        if any(point.below_kbit_s > _DETECTABLE * point.sent_kbit_s for point in zeropage):
            because = f"nothing was noticed, and more than 1 % could have passed: {in_words}"
            return claim.undecided(data, because, _REMEASURE, short_of="certainty")
        because = f"nothing passes through the zeropage: {in_words}"
        return claim.ruled(data, "does not hold", because, lines, limits=_LIMITS)
    if not any(point.capacity for point in passing):
        return claim.undecided(
            data, f"no sample passes alone, so that no capacity is known: {in_words}", _REMEASURE, short_of="certainty"
        )
    weak = _weak(controls, passing, detectable)
    if weak:
        return claim.undecided(
            data, f"{_WEAK}: {_against(weak[0], passing, detectable)}", _REMEASURE, short_of="certainty"
        )
    # On two CPUs samples are of several kinds; one CPU comes first.
    best = max(passing, key=lambda point: point.placement == "same")
    return claim.ruled(
        data,
        "holds",
        f"bits pass through the zeropage, {in_words}; of {len(controls)} controls none carries 1 % of that, at most "
        f"{format_ratio(max(point.below_kbit_s for point in controls))} kbit/s",
        lines,
        effect=best.capacity,
        quantity=f"capacity at the registered point on {best.place}, kbit/s, median of children",
        limits=_LIMITS,
    )


def markers_close(
    evidence: Evidence, claim: Claim, *, detectable: float = _DETECTABLE, inverted: bool = True, null: bool = False
) -> Verdict:
    """Decide whether nothing passes through memory that markers protect where bits pass through fresh memory.

    ``detectable``, ``inverted`` and ``null`` as in ``covert_channel``.
    """
    data = evidence.holding(CHANNEL)
    points = _points(data, inverted)
    sent = [point for point in points if not point.silent]
    fresh = [point for point in sent if point.memory == "zeropage" and _controlled(point, points)]
    passing = [point for point in fresh if _passes(point, fresh)]
    placements = {point.placement for point in passing}
    marked = [point for point in sent if point.memory in _MARKERS and point.placement in placements]
    measured = {(point.memory, point.placement) for point in marked}
    if not fresh or measured < {(memory, placement) for memory in _MARKERS for placement in placements}:
        return claim.undecided(data, "fresh memory and markers, read and unread, were not all measured beside controls")
    if not passing:
        because = f"nothing passes through fresh memory either: {_in_words(points, 'zeropage')}"
        return claim.undecided(data, because, _REMEASURE, short_of="certainty")
    controls = _controls_of([*passing, *marked], points)
    open_ = [point for point in marked if _passes(point, marked)]
    not_null = _not_null(controls) if null else []
    weak = _weak(controls, [*passing, *open_], detectable)
    if not_null or weak:
        if not_null:
            because = f"a control is not null: {not_null[0].memory} {not_null[0]}"
        else:
            because = f"{_WEAK}: {_against(weak[0], [*passing, *open_], detectable)}"
        return claim.undecided(data, because, _REMEASURE, short_of="certainty")
    lines = [f"fresh memory: {_in_words(points, 'zeropage')}", *_lines(points, (*_MARKERS, *_OTHERS))]
    if not open_:
        capacities = [point.capacity.value for point in passing if point.capacity]
        if not capacities:
            because = f"no sample passes alone, so that no capacity is known: {_in_words(points, 'zeropage')}"
            return claim.undecided(data, because, _REMEASURE, short_of="certainty")
        least = min(capacities)
        if any(point.below_kbit_s > _DETECTABLE * least for point in marked):
            because = (
                "nothing was noticed through markers, and more than 1 % of what passes fresh memory could have passed"
            )
            return claim.undecided(data, because, _REMEASURE, short_of="certainty")
        return claim.ruled(data, "holds", "nothing passes through markers, read or unread", lines, limits=_LIMITS)
    phrases = [MEMORIES[memory].phrase for memory in _MARKERS if any(point.memory == memory for point in open_)]
    return claim.ruled(
        data,
        "does not hold",
        f"bits pass through {' and through '.join(phrases)}: the first read maps the zeropage as it does in fresh "
        "memory, which any process has",
        lines,
        effect=_ratio([point for point in marked if point.memory == "markers_read"], passing),
        quantity="capacity of markers after their first read / of fresh memory, one CPU, medians of children",
        limits=f"only forbidding the zeropage would help, which is not measured by time here; {_LIMITS}",
    )


def _passes(point: _Point, points: Sequence[_Point]) -> bool:
    return point.judged.p < LEVEL / len(points)


def _not_null(controls: Sequence[_Point]) -> list[_Point]:
    return [point for point in controls if _passes(point, controls)]


def _weak(controls: Sequence[_Point], passing: Sequence[_Point], detectable: float) -> list[_Point]:
    """Return the controls that may carry more than the share ``detectable`` of what passes at the same spot, the
    most first.
    """
    least = dict[tuple[str, int, int], float]()
    for point in passing:
        if point.capacity:
            least[point.spot] = min(point.capacity.value, least.get(point.spot, inf))
    weak = [point for point in controls if point.below_kbit_s > detectable * least.get(point.spot, inf)]
    return sorted(weak, key=lambda point: -point.below_kbit_s)


def _against(control: _Point, passing: Sequence[_Point], detectable: float) -> str:
    """Return a control that is too weak, and below which rate it would decide."""
    least = min(point.capacity.value for point in passing if point.capacity and point.spot == control.spot)
    return f"{control.memory} {control}; below {format_ratio(detectable * least)} kbit/s would decide"


def _controlled(point: _Point, points: Iterable[_Point]) -> bool:
    """Whether both controls ran at the same point: a silent sender, and private pages."""
    here = {(other.memory, other.silent) for other in points if other.spot == point.spot}
    return (point.memory, True) in here and ("private", False) in here


def _controls_of(chosen: Sequence[_Point], points: Iterable[_Point]) -> list[_Point]:
    """Return the controls of points: the silent senders, and unshared memory at one of their spots."""
    spots, memories = {point.spot for point in chosen}, {point.memory for point in chosen}
    at_spots = [point for point in points if point.spot in spots]
    return [p for p in at_spots if p.memory not in SHARED or (p.silent and p.memory in memories)]


def _ratio(top: Iterable[_Point], bottom: Iterable[_Point]) -> Estimate | None:
    above, below = ([point for point in points if point.placement == "same"] for points in (top, bottom))
    return ratio_or_none(above[0].rates, below[0].rates) if above and below else None


def _lines(points: Sequence[_Point], memories: Iterable[str]) -> list[str]:
    measured = [memory for memory in memories if _in_words(points, memory)]
    return [f"{MEMORIES[memory].phrase}: {_in_words(points, memory)}" for memory in measured]


def _in_words(points: Iterable[_Point], memory: str) -> str:
    return "; ".join(str(point) for point in points if point.memory == memory and not point.silent)


def _controls_in_words(controls: Sequence[_Point]) -> str:
    least = min(controls, key=lambda point: point.judged.p)
    return (
        f"{len(controls)} of them, no sender or memory that shares nothing; the least p is "
        f"{format_ratio(least.judged.p)} and would count below {format_ratio(LEVEL / len(controls))}"
    )


def _points(data: Dataset, inverted: bool) -> list[_Point]:
    """Return the registered points, those on one CPU first."""
    by_point: dict[tuple[str, str, bool, int, int], list[Transmission]] = {}
    for sample in transmissions(data):
        row = sample.row
        key = (row["memory"], row["placement"], bool(row["silent"]), row["slot_ns"], row["lines"])
        by_point.setdefault(key, []).append(sample)
    points = []
    for key in sorted(registered(by_point), key=lambda key: (key[1] != "same", *key)):
        samples = by_point[key]
        passing = [sample for sample in samples if judge([sample], inverted=inverted).passes]
        kinds = [[sample for sample in passing if bool(sample.row["slower"]) is slower] for slower in (False, True)]
        rates = [{child[0].row["block"]: capacity_kbit_s(child) for child in by_child(kind)} for kind in kinds]
        faster, slower = (
            (len(kind), median_interval(list(known.values())) if known else None)
            for kind, known in zip(kinds, rates, strict=True)
        )
        spot, sent = (key[1], key[3], key[4]), samples[0].kbit_s_sent
        points.append(
            _Point(*key[:3], spot, judge(samples, inverted=inverted), len(samples), faster, slower, rates[0], sent)
        )
    return points
