# SPDX-License-Identifier: MIT
"""The answer on top of a page: who claimed what, the answer, one number, its condition, and what to do with it.

Words are fixed here; verdicts, numbers and conditions are computed from the evidence, so that they hold on any dataset.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from uffdlab import claims, sim, summaries
from uffdlab.claims import Evidence, Verdict
from uffdlab.claims.evidence import CHANNEL, TRACKERS
from uffdlab.claims.faults import DEARER, PAGE_KIB, touched
from uffdlab.claims.hugetlb import SAVED_KIB
from uffdlab.claims.spreading import DECIDING, compared
from uffdlab.claims.verdict import with_interval
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.notebook.thread import rankings
from uffdlab.stats import Estimate
from uffdlab.summaries.medians import estimate, ratio_of, warm_of, with_filled
from uffdlab.units import format_ratio, format_share, in_sizes
from uffdlab.units import with_interval as number_with_interval
from uffdlab.vocabulary.channel import MEMORIES
from uffdlab.vocabulary.tracking import TRACKERS as METHODS

_LABELS = ("Claimed", "Answer", "Number", "Condition", "What to do")
_QEMU_BACKENDS = ("shmem", "hugetlb_2m_private", "hugetlb_2m_shared")
_SHARES = (0.001, 0.01, 0.1)  # of the pages, written
_RANGE_KIB = 256 << 10
_DECIDED = ("holds", "depends", "predicted to hold")  # the outcomes that are advised alike


class Answer:
    """Five sentences on a page, shown as one block."""

    def __init__(self, sentences: Sequence[str]) -> None:
        """Show the sentences, in the order of their labels."""
        self.sentences = dict(zip(_LABELS, map(_sentence, sentences), strict=True))

    def _repr_html_(self) -> str:
        found = {"Answer": ' class="found"'}  # it stands out
        rows = "".join(
            f"<dt>{label}</dt><dd{found.get(label, '')}>{html.escape(text)}</dd>"
            for label, text in self.sentences.items()
        )
        return f'<div class="answers"><dl>{rows}</dl></div>'

    def __repr__(self) -> str:
        """Return a line for each sentence."""
        return "\n".join(f"{label}: {text}" for label, text in self.sentences.items())


@dataclass(frozen=True)
class _Page:
    """What a page answers.

    ``asks`` has, by claim, what is so where it holds, and where it does not. The advice follows the first of them, or
    the one named by ``decisive``: ``do`` where it holds, ``otherwise`` where it does not. ``number`` is computed, and
    ``answer`` as well where verdicts are not the answer. ``scope`` says of what the number is, and ``where`` words a
    verdict's condition. ``table`` is set where the claims rest on one that a suite of its own measures.
    """

    claimed: str
    asks: Mapping[str, tuple[str, str]]
    number: Callable[[Evidence], str | None]
    scope: str
    do: str
    otherwise: str
    decisive: str | None = None
    answer: Callable[[Evidence], str | None] | None = None
    where: str = "where {}"
    table: str | None = None


def answer(page: str, evidence: Evidence) -> Answer:
    """Return the answer of a page, by the number that its notebook's name begins with.

    Raises UffdlabError where there is no such page.
    """
    if page not in _PAGES:
        raise UffdlabError(f"no page is called {page!r}: choose one of {', '.join(_PAGES)}")
    asked = _PAGES[page]
    data = evidence.holding(asked.table)
    verdicts = {id_: claims.verdict(id_, evidence) for id_ in asked.asks}
    number = _computed(asked.number, evidence)
    found = _computed(asked.answer, evidence) or _in_words(asked, verdicts)
    first = verdicts[asked.decisive or next(iter(asked.asks))]
    return Answer(
        [
            asked.claimed,
            found,
            number or f"Not measured in {data.id}",
            _condition(asked, verdicts, data) if number else f"Not measured in {data.id}",
            _advice(asked, first),
        ]
    )


def _computed(compute: Callable[[Evidence], str | None] | None, evidence: Evidence) -> str | None:
    """Return a computed sentence; None where its measurement is missing."""
    try:
        return compute(evidence) if compute else None
    except UffdlabError:  # a table is missing, or a column of it
        return None


def _in_words(page: _Page, verdicts: Mapping[str, Verdict]) -> str:
    """Return what becomes of each claim, in one sentence."""
    return "; ".join(_so_or_not(verdicts[id_], *both) for id_, both in page.asks.items())


def _so_or_not(verdict: Verdict, so: str, not_so: str) -> str:
    match verdict.verdict:
        case "answer":
            return verdict.because.replace("attempts", so, 1)
        case "depends":
            return f"whether {so} {verdict.words}"
        case "not decided":
            return f"whether {so} is not decided"
    predicted = " (predicted)" if verdict.verdict.startswith("predicted") else ""
    return f"{not_so if 'not' in verdict.verdict.split() else so}{predicted}"


def _condition(page: _Page, verdicts: Mapping[str, Verdict], data: Dataset) -> str:
    """Return under which condition the answer holds, and where the number comes from."""
    conditions = [verdict.condition for verdict in verdicts.values() if verdict.condition]
    facts = data.provenance
    machine = f"{facts.get('cpu_model') or 'an unknown CPU'}, Linux {facts.get('kernel_release') or 'unknown'}"
    parts = [*(page.where.format(one) for one in conditions[:1]), page.scope, f"measured on {machine}"]
    return "; ".join(parts)


def _advice(page: _Page, verdict: Verdict) -> str:
    if verdict.verdict in _DECIDED:
        return page.do
    if verdict.verdict == "not decided":
        return f"Wait: what would decide it is {verdict.missing}"
    return page.otherwise


def _sentence(text: str) -> str:
    """Return a text as a sentence: it begins with a capital, unless that is a name, and ends in a full stop."""
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."


# --- numbers ---------------------------------------------------------------------------------------------------------


def _longer(ratio: Estimate) -> str:
    """Return how many times as long one takes, or that it takes no longer."""
    times = f"{with_interval(ratio)} times"
    return f"no longer: {times}" if ratio.below(DEARER) else f"{times} as long"


def _faster_by_thp(evidence: Evidence) -> str | None:
    """Return whether markers or populating are faster, with THP off and on."""
    words = {thp: _faster(ratios["populate_read"]) for thp, _, ratios in rankings(evidence.campaign)}
    if not words:
        return None
    turns = "the order turns over with transparent huge pages (THP): " if len(set(words.values())) > 1 else ""
    return turns + ", ".join(f"with THP {thp} {faster}" for thp, faster in words.items())


def _faster(ratio: Estimate | None) -> str:
    if ratio is None or not (ratio.above(1) or ratio.below(1)):
        return "neither is shown to be faster"
    return "markers are faster" if ratio.above(1) else "populating is faster"


def _ranking(evidence: Evidence) -> str | None:
    """Return how many times as long the slower way takes, with THP off and on."""
    parts, sizes = [], []
    inverse = {thp: ratios["pte_marker"] for thp, _, ratios in rankings(evidence.campaign, "populate_read")}
    for thp, size_kib, ratios in rankings(evidence.campaign):
        populating, markers = ratios["populate_read"], inverse[thp]
        if populating is None or markers is None:
            continue
        sizes.append(int(size_kib))
        if populating.below(1):
            parts.append(f"markers take {with_interval(markers)} times as long as populating with THP {thp}")
        else:
            parts.append(f"populating takes {with_interval(populating)} times as long as markers with THP {thp}")
    return f"to protect {in_sizes(sizes)}, {', and '.join(parts)}" if parts else None


def _populating(evidence: Evidence) -> str | None:
    """Return what populating first costs where it could be skipped: time, and memory."""
    verdict = claims.verdict("qemu-could-skip", evidence)
    at = {"size_kib": SAVED_KIB, "populated": 0, "design": "preread"}
    shares = []
    for backing in _QEMU_BACKENDS:
        rows = warm_of(evidence.campaign, "samples", "block", "rss_growth_kib", "hugetlb_growth_kib",
                       backing=backing, **at)  # fmt: skip
        share = estimate(with_filled(rows), "filled_kib", "size_kib") if rows is not None else None
        shares += [share.value] if share else []
    if verdict.number is None or not shares:
        return None
    return (
        f"populating {in_sizes([SAVED_KIB])} takes at least {verdict.number} times as long as protecting alone, and "
        f"fills {format_share(min(shares))} of what was untouched"
    )


def _without_zeropage(evidence: Evidence) -> str | None:
    """Return what populating fills without a zeropage, and what markers take without the huge one."""
    filled, huge = (claims.verdict(id_, evidence) for id_ in ("forbidden-zeropage", "no-huge-zeropage-needed"))
    parts = []
    if filled.effect is not None:
        parts.append(f"populating fills at least {format_share(filled.effect)} of memory that has no zeropage")
    if huge.number is not None:
        parts.append(f"markers take {huge.number} times as long without the huge zeropage as with it")
    return "; ".join(parts) or None


def _high_markers(evidence: Evidence) -> str | None:
    """Return what a PMD marker saves when memory is protected, and what it costs later."""
    saved = claims.verdict("pmd-marker-wins", evidence)
    parts = []
    if saved.number is not None:
        parts.append(f"PTE markers take {saved.number} times as long to set as PMD markers")
    if evidence.costs is not None:
        later = compared(sim.costs_of(evidence.costs))
        parts.append(
            f"a first write later takes {with_interval(later.tails[DECIDING])} times as long under PMD markers as "
            f"under PTE markers, and all work, each 2 MiB written once, {with_interval(later.work)} times"
        )
    return "; ".join(parts) or None


def _bits(evidence: Evidence) -> str | None:
    """Return what passes through the zeropage on one CPU, and through markers that were read."""
    frame = summaries.df_channels(evidence.holding(CHANNEL))
    frame = frame[frame.registered.astype(bool) & ~frame.silent.astype(bool) & (frame.placement == "same")]
    rates: list[str] = []
    for memory in ("zeropage", "markers_read"):
        for row in frame[(frame.memory == memory) & frame.faster_kbit_s.notna()].to_dict("records"):
            ends = (row[f"faster_kbit_s{end}"] for end in ("", "_low", "_high"))
            unit = "" if rates else " kilobits a second pass"
            rates.append(f"{number_with_interval(*ends)}{unit} through {MEMORIES[memory].phrase}")
    return f"on one CPU {', and '.join(rates)}" if rates else None


def _two_threads(evidence: Evidence) -> str | None:
    """Return how many times as long a first write of two threads takes as one of one thread."""
    data = evidence.campaign
    parts: list[str] = []
    for what, preparation in (("a filled zeropage", "zeropage"), ("a marker", "markers")):
        two, one = (
            touched(data, "busy_ns", preparation, "async", "first write", threads, PAGE_KIB) for threads in (2, 1)
        )
        ratio = ratio_of("faults", two, one, "busy_ns", "touches")
        takes = "" if parts else " takes"
        parts += [f"to {what}{takes} {_longer(ratio)}"] if ratio else []
    return f"with two threads in place of one, a first write {', and '.join(parts)}" if parts else None


def _trackers(evidence: Evidence) -> str | None:
    """Return which tracker has the shortest pause at which share, and from which share on the scan has."""
    data = evidence.holding(TRACKERS)
    rows = summaries.df_cheapest(data, "pause_ns", _RANGE_KIB, _SHARES)
    least = [
        f"at {' and '.join(map(_percent, group.share))} with {METHODS[str(method)][0]}"
        for method, group in rows.groupby("method", sort=False)
    ]
    if not least:
        return None
    verdict = claims.verdict("tracker-choice", evidence)
    even = ""
    if verdict.effect is not None and "scan's pause" in (verdict.quantity or ""):
        low, high = verdict.interval or (None, None)
        share = number_with_interval(verdict.effect, low, high, _percent)
        even = f"; the scan's becomes the shorter one at {share}"
    return f"by share written, the pause is shortest {'; '.join(least)}{even}"


def _percent(share: float) -> str:
    return f"{format_ratio(share * 100)}%"


# --- pages -----------------------------------------------------------------------------------------------------------

_PAGES: dict[str, _Page] = {
    "00": _Page(
        claimed="Peter Xu and Muhammad Usama Anjum published times that rank the same methods in opposite order; David "
        "Hildenbrand argued that to fill whole page tables may be slower than one huge zeropage",
        asks={"table-fill-slower": ("filling whole page tables is slower", "filling whole page tables is not slower")},
        answer=_faster_by_thp,
        number=_ranking,
        scope="memory that nobody has touched",
        do="Name the THP setting with every time; populate (MADV_POPULATE_READ) where a huge zeropage can be had, and "
        "use markers (WP_UNPOPULATED) elsewhere",
        otherwise="Name the THP setting with every time, and use markers (WP_UNPOPULATED), which are not slower",
    ),
    "01": _Page(
        claimed="David Hildenbrand argued that markers would help hugetlb, and that QEMU could skip populating it "
        "then; Peter Xu answered that hugetlb works already",
        asks={
            "hugetlb-already-works": ("hugetlb works already", "hugetlb does not work yet"),
            "hugetlb-needs-feature": ("markers would add to it", "the new feature adds nothing to it"),
            "qemu-could-skip": ("QEMU could skip populating", "QEMU could not skip populating"),
        },
        number=_populating,
        scope="empty ranges stand in for a running guest",
        do="On shmem and hugetlb protect at once and populate nothing; on anonymous memory ask for WP_UNPOPULATED",
        otherwise="Go on populating before you protect: nothing shows that to skip it is safe and saves anything",
        decisive="qemu-could-skip",
    ),
    "02": _Page(
        claimed="David Hildenbrand argued that markers work where the zeropage is forbidden; Peter Xu asked who else "
        "would forbid it, and said that his patch does without the huge zeropage",
        asks={
            "forbidden-zeropage": (
                "markers work where the zeropage is forbidden",
                "markers do not work wherever there is no zeropage",
            ),
            "no-huge-zeropage-needed": (
                "the patch does without the huge zeropage",
                "the patch does not do without the huge zeropage",
            ),
            "zeropage-other-contexts": ("attempts to forbid it", ""),
        },
        number=_without_zeropage,
        scope="memory that has no zeropage stands in for memory whose zeropage is forbidden",
        do="Use markers where memory has no zeropage (shmem, hugetlb, THP with use_zero_page 0): they cost page tables "
        "alone, and populating costs the whole range",
        otherwise="Where memory has no zeropage, look whether a write is reported before you rely on markers",
    ),
    "03": _Page(
        claimed="David Hildenbrand argued for one marker per 2 MiB (in the PMD) or 1 GiB (in the PUD); Peter Xu "
        "answered that this only moves the slow work into later faults",
        asks={
            "pmd-marker-wins": (
                "a PMD marker protects empty memory far faster",
                "a PMD marker does not protect empty memory far faster",
            ),
            "spread-cost-later": (
                "it makes later writes, and all work together, dearer",
                "it does not make later writes and all work together dearer",
            ),
        },
        number=_high_markers,
        scope="proxies and a simulator, since no kernel has such markers",
        do="Build a prototype where the standstill counts and memory stays empty, and count with it what later writes "
        "pay back",
        otherwise="Do not change every page-table walker for PMD markers: too little is to be had",
    ),
    "04": _Page(
        claimed="David Hildenbrand recalled that shared zeropages can carry a covert channel, mostly a noisy one; "
        "whether markers close it is asked here, since nobody claimed it",
        asks={
            "zeropage-covert-channel": ("the zeropage carries a channel", "no channel was found in the zeropage"),
            "markers-close-channel": ("markers close it", "markers do not close it"),
        },
        number=_bits,
        scope="two processes of one kernel that both want to talk; nothing is said of virtual machines",
        do="Markers close it for the memory under them; memory that nobody protects still carries it",
        otherwise="Do not choose a design of write-protection because of this channel: fresh memory and a read are "
        "enough to talk",
        decisive="markers-close-channel",
        table=CHANNEL,
    ),
    "05": _Page(
        claimed="Peter Xu argued that page tables filled in advance speed up later faults; whether a marker avoids an "
        "interrupt that a filled zeropage costs is asked here, since nobody claimed it",
        asks={
            "zeropage-cow-shootdown": ("a marker avoids the interrupt", "a marker does not avoid the interrupt"),
            "prealloc-speeds-faults": (
                "tables filled in advance speed up first touches",
                "tables filled in advance do not speed up first touches",
            ),
        },
        number=_two_threads,
        scope="two threads on CPUs that flush translations by interrupts",
        do="In a program with threads leave memory empty under markers: fill no zeropages, and do not read what will "
        "be written",
        otherwise="On such a machine threads are no reason to prefer markers to zeropages",
    ),
    "08": _Page(
        claimed="Nobody in the thread compared trackers; asked here is whether PAGEMAP_SCAN (with WP_ASYNC) is the one "
        "to choose, however much is written",
        asks={"tracker-choice": ("the scan is the one to choose", "the scan is not the one to choose")},
        number=_trackers,
        scope=f"{in_sizes([_RANGE_KIB])} of anonymous memory, written at random",
        do="Take the scan; take events, each page protected again, where next to nothing is written or nothing may "
        "stop at the end",
        otherwise="Take another tracker than the scan, by the cost that counts for you",
        where="for the {}",
        table=TRACKERS,
    ),
}
