# SPDX-License-Identifier: MIT
"""The thread's claims, the rule that decides each, and the function from data to verdict.

A rule is written before its data is looked at: a quantity, a threshold and an interval. An effect counts when its
95 % interval lies wholly beyond the threshold; otherwise the verdict is "not decided", with the measurement that
would decide it. A verdict belongs to a dataset: another machine may get another one.

DH is David Hildenbrand, PX is Peter Xu, – means that it follows from the thread; the number is that of the argument in
the mail of 16 Feb 2023. Claims are paraphrased.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.stats import Estimate, ratio_interval

MAIL = "https://lore.kernel.org/all/4f64d62f-c21d-b7c8-640e-d41742bbbe7b@redhat.com"
TIME_SAVED_RATIO = 1.25  # a saving counts when the time with the step is more than this times the time without

Ruling = Literal["holds", "holds if", "does not hold", "not decided"]


@dataclass(frozen=True)
class Verdict:
    """What a dataset says about a claim.

    ``effect`` is the deciding quantity (``quantity`` names it and its unit) with its 95 % ``interval``; both are None
    for a rule about states, which either are so or not, and where nothing was measured. ``condition`` belongs to
    "holds if", ``missing`` (the measurement that would decide) to "not decided".
    """

    id: str
    verdict: Ruling
    rule: str
    because: str
    evidence: tuple[str, ...] = ()
    quantity: str | None = None
    effect: float | None = None
    interval: tuple[float, float] | None = None
    condition: str | None = None
    missing: str | None = None
    dataset: str | None = None
    limits: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self) | {"evidence": list(self.evidence), "interval": self.interval and list(self.interval)}

    def _repr_html_(self) -> str:
        """Return the verdict as the card that a notebook shows and a rendered page styles."""
        kind = self.verdict.replace(" ", "-")
        rows = [("Rule", self.rule), ("Because", self.because), ("Holds if", self.condition)]
        rows += [("Would decide it", self.missing), ("Effect", self._effect()), ("Limits", self.limits)]
        rows += [("Computed from", self.dataset)]
        listed = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in rows if text)
        head = f"<p><strong>{self.verdict}</strong> <code>{html.escape(self.id)}</code></p>"
        return f'<div class="verdict {kind}">{head}<dl>{listed}</dl></div>'

    def __str__(self) -> str:
        """Return the verdict in one line."""
        return f"{self.id}: {self.verdict}. {self.because}"

    def _effect(self) -> str | None:
        if self.effect is None:
            return None
        between = f", 95 % interval {self.interval[0]:.3g} to {self.interval[1]:.3g}" if self.interval else ""
        return f"{self.quantity}: {self.effect:.3g}{between}"


@dataclass(frozen=True)
class Claim:
    """One claim: who made it, what it says, the rule that decides it, where it is argued, and how it is decided.

    ``needs`` names the measurement without which it stays undecided.
    """

    id: str
    who: str
    says: str
    rule: str
    notebook: str
    needs: str
    decide: Callable[[Dataset, Claim], Verdict] | None = field(default=None, repr=False)

    def verdict(self, data: Dataset) -> Verdict:
        """Return what the dataset says; "not decided" when it lacks what the rule needs."""
        if self.decide is None:
            return self.undecided(data, "no probe of this version measures it")
        return self.decide(data, self)

    def undecided(self, data: Dataset, because: str, missing: str | None = None) -> Verdict:
        """Return "not decided", naming the missing measurement."""
        return Verdict(self.id, "not decided", self.rule, because, missing=missing or self.needs, dataset=data.id)


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


def _hugetlb_needs_feature(data: Dataset, claim: Claim) -> Verdict:
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
    because = "on every hugetlb backing the write to empty memory is reported, or not, alike with and without it"
    return Verdict(claim.id, "does not hold", claim.rule, because, evidence, dataset=data.id)


def _hugetlb_already_works(data: Dataset, claim: Claim) -> Verdict:
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


def _qemu_could_skip(data: Dataset, claim: Claim) -> Verdict:
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
        f"samples: {_TITLES[b]}: (read loop + protect) / protect = {one.value:.3g}"
        + (f" ({one.low:.3g} to {one.high:.3g})" if one.known else " (too few samples for an interval)")
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


def _settled(estimate: Estimate | None) -> bool:
    return _above(estimate) or (estimate is not None and estimate.below(TIME_SAVED_RATIO))


def _above(estimate: Estimate | None) -> bool:
    return estimate is not None and estimate.above(TIME_SAVED_RATIO)


# --- the claims ------------------------------------------------------------------------------------------------------

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "hugetlb-needs-feature",
        "DH 1",
        "markers for unpopulated memory would add something for anonymous hugetlb",
        "some hugetlb row of the semantics table reports a write to empty memory with WP_UNPOPULATED and not with "
        "features 0 (all rows: holds; some: holds if)",
        "01_anon_hugetlb",
        "probe semantics on hugetlb of 2 MiB and 1 GiB, private and shared, with features 0 and with WP_UNPOPULATED",
        _hugetlb_needs_feature,
    ),
    Claim(
        "hugetlb-already-works",
        "PX",
        "anonymous hugetlb is already protected when empty",
        "every private hugetlb row (2 MiB, 1 GiB) reports a write to empty memory with features 0",
        "01_anon_hugetlb",
        "probe semantics on private hugetlb of 2 MiB and 1 GiB with features 0 (needs one free huge page of each size)",
        _hugetlb_already_works,
    ),
    Claim(
        "qemu-could-skip",
        "DH 1",
        "QEMU could skip populating there (and on shmem)",
        "on QEMU's backends a write to empty memory is reported with features 0; (read loop + protect) / protect is "
        f"above {TIME_SAVED_RATIO} with its whole 95 % interval; populating fills memory that skipping does not; and "
        "the same on a real snapshot",
        "01_anon_hugetlb",
        "probes semantics and protect (preread and unprotected) on shmem and hugetlb 2 MiB; then a real QEMU snapshot",
        _qemu_could_skip,
    ),
    Claim(
        "forbidden-zeropage",
        "DH 2",
        "markers work where the zeropage is forbidden, a zeropage design does not",
        "on a kernel that forbids it markers protect at 0 RSS and populating costs RSS = range; weaker, on a stock "
        "kernel: the same on shmem and hugetlb",
        "02_forbidden_zeropage",
        "what a read of empty memory maps in each backing, and on a kernel that forbids the zeropage",
    ),
    Claim(
        "zeropage-other-contexts",
        "PX",
        "is any other context likely to forbid zeropages?",
        "documented attempts, linked; no measurement",
        "02_forbidden_zeropage",
        "the list of documented attempts",
    ),
    Claim(
        "zeropage-covert-channel",
        "DH",
        "shared zeropages can carry a covert channel",
        "one-sided permutation test at the registered point, p < 0.01, with every null control null",
        "04_covert_channels",
        "flush+reload on the shared zeropage between two processes, with its controls",
    ),
    Claim(
        "markers-close-channel",
        "–",
        "a marker design closes that channel",
        "the same test on fresh memory, on markers never read and on markers after their first read",
        "04_covert_channels",
        "the channel measured on memory prepared by each design",
    ),
    Claim(
        "no-huge-zeropage-needed",
        "PX",
        "the patch does not need the huge zeropage",
        "works and costs the same within 25 % with the huge zeropage off",
        "02_forbidden_zeropage",
        "protect with use_zero_page 0 and 1",
    ),
    Claim(
        "table-fill-slower",
        "DH 3",
        "without the huge zeropage the patch may be slower than today: a full PTE table instead of one PMD",
        "THP on: PTE fill / (populate-read + protect) above 1.25 with its whole 95 % interval",
        "03_pmd_pud_markers",
        "the later-fault and huge-zeropage probes beside protect with THP on",
    ),
    Claim(
        "zeropage-cow-shootdown",
        "–",
        "a filled zeropage costs a TLB shootdown per first write in threaded programs, a marker none",
        "IPIs per first write with two threads: zeropage above 0.5, marker below 0.05",
        "05_preallocated_tables",
        "first writes by two pinned threads, with IPIs counted",
    ),
    Claim(
        "pmd-marker-wins",
        "DH 3",
        "a PMD marker would serve empty ranges far better",
        "protect at least 10 x faster and at least 10 x less table memory at 0 % populated: proxy hugetlb 2 MiB, "
        "prediction and prototype, each named",
        "03_pmd_pud_markers",
        "the calibrated prediction and the prototype beside the hugetlb 2 MiB proxy",
    ),
    Claim(
        "pud-marker-wins",
        "DH 4",
        "the same at the PUD level",
        "the same factors against PMD level: hugetlb 1 GiB, prediction, prototype if any",
        "03_pmd_pud_markers",
        "the calibrated prediction beside the hugetlb 1 GiB proxy",
    ),
    Claim(
        "prealloc-speeds-faults",
        "PX",
        "pre-filled tables speed up later faults, since locks are split",
        "first touch per 2 MiB with tables / without below 0.8; also at every page; 1 and 2 threads",
        "05_preallocated_tables",
        "later faults with and without tables, 1 and 2 threads",
    ),
    Claim(
        "reads-need-no-fault",
        "PX",
        "after the patch only writes fault",
        "fault counts for reads: zeropage 0, marker 1 per page",
        "05_preallocated_tables",
        "fault counts of reads after each preparation",
    ),
    Claim(
        "spread-cost-later",
        "PX",
        "a high marker moves the slow work into later faults, mostly unwanted",
        "p99 of spreading faults / PTE-marker faults; total work at each touched fraction; break-even at 2 MiB",
        "03_pmd_pud_markers",
        "a calibrated prediction of spreading faults",
    ),
    Claim(
        "userspace-has-choice",
        "DH",
        "user space can already choose to pre-populate",
        "read loop and MADV_POPULATE_READ both end in the patch's state; the cost of each",
        "06_snapshots",
        "page-by-page states after a read loop, MADV_POPULATE_READ, and markers + read",
    ),
    Claim(
        "patch-equals-populate",
        "DH",
        "what the patch does, populate + protect already does; MADV_POPULATE_READ would speed QEMU up",
        "page-by-page state equality; read loop / MADV_POPULATE_READ above 1.25; share of a real snapshot's set-up",
        "06_snapshots",
        "page-by-page state equality and a real snapshot's set-up time",
    ),
    Claim(
        "untouched-is-common",
        "DH",
        "large ranges may stay untouched",
        "share of RAM untouched at 4 KiB, 2 MiB and 1 GiB for the guests and processes measured",
        "06_snapshots",
        "occupancy scans of live guests and processes",
    ),
    Claim(
        "untouched-is-rare",
        "PX",
        "large unpopulated portions are the rare case",
        "the same data as untouched-is-common",
        "06_snapshots",
        "occupancy scans of live guests and processes",
    ),
    Claim(
        "higher-levels-involved",
        "PX",
        "higher-level markers need a more involved kernel change",
        "files, functions and lines of a prototype (a lower bound) and the walkers it leaves unhandled, against the "
        "merged commit",
        "03_pmd_pud_markers",
        "a PMD-marker prototype of the kernel",
    ),
    Claim(
        "snapshot-advantage",
        "DH",
        "markers help background snapshots by not filling zeropages and tables",
        "stop time, memory, faults and total work per design; a saver that reads everything, one that skips holes",
        "06_snapshots",
        "a background snapshot, real and simulated",
    ),
    Claim(
        "atomicity",
        "DH",
        "is doing both in one pass worth it?",
        "discards racing with two passes against one: lost writes per million above 0 against 0",
        "06_snapshots",
        "threads that discard and write while one prepares, then protects",
    ),
)


def find(id_: str) -> Claim:
    """Return the claim of that id; UffdlabError when there is none."""
    for claim in CLAIMS:
        if claim.id == id_:
            return claim
    raise UffdlabError(f"no claim is called {id_!r}: 'uffdlab claims' lists them")


def verdict(id_: str, data: Dataset) -> Verdict:
    """Return what the dataset says of one claim."""
    return find(id_).verdict(data)


def verdicts(data: Dataset) -> list[Verdict]:
    """Return what the dataset says of every claim, in the thread's order."""
    return [claim.verdict(data) for claim in CLAIMS]


def text_table(found: Iterable[Verdict]) -> str:
    """Return verdicts as plain text of at most 72 columns, to mail."""
    lines = []
    for one in found:
        lines.append(f"{one.id:<28}{one.verdict}")
        for label, text in (("because", one.because), ("if", one.condition), ("needs", one.missing)):
            if text:
                lines += textwrap.wrap(text, 72, initial_indent=f"  {label}: ", subsequent_indent="    ")
    return "\n".join(lines)


def markdown_table(found: Iterable[Verdict]) -> str:
    """Return the answer so far as a Markdown table: decided claims in full, the others counted in one line."""
    verdicts_ = list(found)
    decided = [one for one in verdicts_ if one.verdict != "not decided"]
    lines = ["| claim | who | says | verdict | because |", "|---|---|---|---|---|"]
    for one in decided:
        claim = find(one.id)
        because = one.because + (f"; holds if {one.condition}" if one.condition else "")
        lines.append(f"| `{one.id}` | {claim.who} | {claim.says} | **{one.verdict}** | {because} |")
    still_open = len(verdicts_) - len(decided)
    return "\n".join(
        [*lines, "", f"{still_open} more claims are not decided yet: `uffdlab claims` names what each needs."]
    )
