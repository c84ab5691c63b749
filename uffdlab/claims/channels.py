# SPDX-License-Identifier: MIT
"""Is the shared zeropage a wire, and do markers cut it? The same test on memory as each design prepares it.

Only registered points decide: those at which controls ran as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from uffdlab.claims.claim import Claim
from uffdlab.claims.verdict import Verdict
from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, median_interval, ratio_interval
from uffdlab.transmission import (
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

_PLACEMENTS = {"same": "on one CPU", "cross": "on two CPUs"}
_WIRES = {"zeropage": "the zeropage", "huge_zeropage": "the huge zeropage"}
_MARKERS = {"markers_unread": "markers never read before", "markers_read": "markers after their first read"}
_OTHERS = {
    "empty_unread": "fresh memory never read before",
    "populated": "populated zeropages, protected",
    "huge_populated": "the populated huge zeropage, protected",
    "shmem": "shmem",
    "hugetlb": "hugetlb",
}
_AGAIN = "the channel measured again, on a machine with nothing else to do"
_LIMITS = (
    "two processes of one kernel on one machine, which both want to be heard; between virtual machines the page and "
    "the flush are the same, agreeing on a time and sharing a cache are not"
)


@dataclass(frozen=True)
class _Point:
    """The samples of one registered point: how they were judged, and the capacity of each child in kbit/s."""

    memory: str
    placement: str
    silent: bool
    judged: Judged
    rates: list[float]
    sent_kbit_s: float

    @property
    def capacity(self) -> Estimate:
        return median_interval(self.rates)

    def __str__(self) -> str:
        where, p = _PLACEMENTS[self.placement], f"p = {format_ratio(self.judged.p)}"
        if not self.judged.passes:
            return (
                f"{where} no channel detected ({p}, below {format_ratio(self.judged.below * self.sent_kbit_s)} kbit/s)"
            )
        return f"{where} {_kbit_s(self.capacity)}, {p}"


def _kbit_s(found: Estimate) -> str:
    known = found.low is not None and found.high is not None
    between = f" ({format_ratio(found.low)} to {format_ratio(found.high)})" if known else ""  # type: ignore[arg-type]
    return f"{format_ratio(found.value)} kbit/s{between}"


def covert_channel(data: Dataset, claim: Claim) -> Verdict:
    """Decide whether bits pass through the zeropage where nothing passes through the controls."""
    points = _points(data)
    wires = [one for one in points if one.memory in _WIRES and not one.silent]
    controls = [one for one in points if one.memory == "private" or (one.memory in _WIRES and one.silent)]
    small = {one.placement: one for one in wires if one.memory == "zeropage"}
    if not small or not controls:
        return claim.undecided(data, "the zeropage was not measured beside its controls")
    evidence = [f"{title}: {_told(points, memory)}" for memory, title in _WIRES.items() if _told(points, memory)]
    evidence.append(f"controls: {_controls(controls)}")
    loud = [one for one in controls if one.judged.p < LEVEL / len(controls)]
    if loud:
        return claim.undecided(data, f"a control is not null: {loud[0].memory} {loud[0]}", _AGAIN)
    passing = [one for one in small.values() if one.judged.passes]
    if not passing:
        because = f"nothing passes through the zeropage: {_told(points, 'zeropage')}"
        return claim.ruled(data, "does not hold", because, evidence, limits=_LIMITS)
    # On two CPUs samples are of two kinds, and their median is neither's.
    best = max(passing, key=lambda one: one.placement == "same")
    return claim.ruled(
        data,
        "holds",
        f"bits pass through the zeropage, {_told(points, 'zeropage')}; of the controls none carries any",
        evidence,
        effect=best.capacity,
        quantity=f"capacity at the registered point {_PLACEMENTS[best.placement]}, kbit/s, median of children",
        limits=_LIMITS,
    )


def markers_close(data: Dataset, claim: Claim) -> Verdict:
    """Decide whether nothing passes through memory that markers protect where bits pass through fresh memory."""
    points = _points(data)
    fresh = [one for one in points if one.memory == "zeropage" and not one.silent]
    marked = {name: [one for one in points if one.memory == name and not one.silent] for name in _MARKERS}
    if not fresh or not all(marked.values()):
        return claim.undecided(data, "fresh memory and markers, read and unread, were not all measured")
    evidence = [f"fresh memory: {_told(points, 'zeropage')}"]
    evidence += [f"{t}: {_told(points, name)}" for name, t in {**_MARKERS, **_OTHERS}.items() if _told(points, name)]
    if not any(one.judged.passes for one in fresh):
        because = f"nothing passes through fresh memory either: {_told(points, 'zeropage')}"
        return claim.undecided(data, because, _AGAIN)
    controls = [one for one in points if one.silent and one.memory in ("zeropage", *_MARKERS)]
    loud = [one for one in controls if one.judged.p < LEVEL / len(controls)]
    if loud:
        return claim.undecided(data, f"a control is not null: {loud[0].memory} {loud[0]}", _AGAIN)
    open_ = [name for name, found in marked.items() if any(one.judged.passes for one in found)]
    if not open_:
        return claim.ruled(data, "holds", "nothing passes through markers, read or unread", evidence, limits=_LIMITS)
    effect = _ratio(marked["markers_read"], fresh)
    return claim.ruled(
        data,
        "does not hold",
        f"bits pass through {' and through '.join(_MARKERS[name] for name in open_)}: the first read maps the zeropage "
        "as it does in fresh memory, which any process has",
        evidence,
        effect=effect,
        quantity="capacity of markers after their first read / of fresh memory, one CPU, medians of children",
        limits=f"only forbidding the zeropage would help, which is not measured by time here; {_LIMITS}",
    )


def _ratio(top: Iterable[_Point], bottom: Iterable[_Point]) -> Estimate | None:
    above, below = ([one for one in of if one.placement == "same"] for of in (top, bottom))
    if not above or not below or min(below[0].rates) <= 0:
        return None
    return ratio_interval(above[0].rates, below[0].rates)


def _told(points: Iterable[_Point], memory: str) -> str:
    return "; ".join(str(one) for one in points if one.memory == memory and not one.silent)


def _controls(controls: Sequence[_Point]) -> str:
    least = min(controls, key=lambda one: one.judged.p)
    return (
        f"{len(controls)} of them, no sender or pages of one's own; the least p is {format_ratio(least.judged.p)} and "
        f"counts from {format_ratio(LEVEL / len(controls))} down"
    )


def _points(data: Dataset) -> list[_Point]:
    """Return the points that were registered, in a fixed order."""
    found: dict[tuple[str, str, bool, int, int], list[Transmission]] = {}
    for one in transmissions(data):
        row = one.row
        key = (row["memory"], row["placement"], bool(row["silent"]), row["slot_ns"], row["lines"])
        found.setdefault(key, []).append(one)
    points = []
    for key in sorted(registered(found)):
        samples = found[key]
        rates = [capacity_kbit_s(child) for child in by_child(samples)]
        points.append(_Point(key[0], key[1], key[2], judge(samples), rates, samples[0].kbit_s_sent))
    return points
