# SPDX-License-Identifier: MIT
"""Probe *merging*: a covert channel between two of our processes through pages that KSM merges, by write latency.

Scope: both ends are children of this probe, started for one sample and gone after it; they send each other random bits
through mappings of their own. There is no other target, and nothing here can be aimed at one: if another process uses
KSM, the block is skipped.

A round sends a bit per page. The receiver fills fresh mergeable pages with contents that both ends know. For a 1 the
sender fills a page of its own with the same contents, for a 0 with unique contents. KSM merges equal
pages, and the receiver then writes to each of its pages: a write to a merged page has to copy it, one to a private page
has not. What tells the two apart is found anew in each round, by writes to other pages of the receiver's: pairs that
are alike, and pages that are like no other. ``silent`` is the control: the sender takes part and sends only zeros.

``contents`` are pseudo-random (``agreed``), or all zeros (``zeros``). Pages of zeros are alike among themselves, so a
round of them has a single page; with ``use_zero_pages`` KSM merges each with the zeropage, whatever the sender has.

A round takes as long as KSM needs to scan everything three times. Its pace is set here and recorded with each rate.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.host import ksm
from uffdlab.probes.covert.bits import wrong, wrong_fields
from uffdlab.probes.covert.endpoints import Ends, converse
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, COLD, boolean, count, integer, one_of, text
from uffdlab.probes.spec import Spec, repeated, seed_of, seeded, within, word
from uffdlab.probes.userfault import WRITE, Range, check, mapped
from uffdlab.stats.threshold import best_threshold_above_first
from uffdlab.vocabulary.backings import BACKINGS, KIB

CONTENTS = ("agreed", "zeros")
MOST_PAGES = 1024
MOST_ROUNDS = 1000
PAGE = 4 * KIB
# All pages of both ends in one go, and a short sleep: a scan then takes a few milliseconds.
PACE = {"ksm_pages_to_scan": "4000", "ksm_sleep_millisecs": "2"}
SCANS = 3  # the one under way, one that sees the contents, and one that finds them as they were and merges
WRITTEN_ROUNDS = 4  # of each sample: their writes are kept one by one
SCAN_S = 10.0  # for all of them
_OWN = 32  # of the receiver's pages whose state it knows: so many merged, so many private; even, as pairs merge


@dataclass(frozen=True)
class MergingSpec(Spec):
    """One configuration: what pages hold, whether KSM may use the zeropage, pages (bits) per round, rounds."""

    contents: str = word("agreed", CONTENTS)
    use_zero_pages: bool = False
    pages: int = within(64, 1, MOST_PAGES)
    rounds: int = within(4, 1, MOST_ROUNDS)
    silent: bool = False
    repeats: int = repeated()
    seed: int = seeded()

    def check(self) -> None:
        """Refuse what the fields cannot be together."""
        if self.contents == "zeros" and self.pages != 1:
            raise UffdlabError(
                f"pages is {self.pages}: pages of zeros merge with one another, so a round of them has pages=1"
            )

    def needs(self) -> Needs:
        """Return what both ends hold, and KSM: running, fast, and not used by others."""
        both = (2 * self.pages + 2 * _OWN + 1) * 2 * PAGE // KIB
        settings = {"ksm_use_zero_pages": str(int(self.use_zero_pages)), **PACE, "ksm_run": "1"}
        return Needs(memory_kib=both, settings=settings, ksm=True)


FIELDS: list[dict[str, Any]] = [
    BLOCK,
    integer("sample", None, "number of the sample within its block, from 0: one sender, one receiver"),
    integer("round", None, "number of the round within its sample, from 0"),
    one_of("contents", CONTENTS, "what a page holds that both ends are to have: agreed pseudo-random bytes, or zeros"),
    boolean("use_zero_pages", "whether KSM merges pages of zeros with the zeropage"),
    boolean("silent", "whether the sender had no such page whatever the bits: a control"),
    count("pages", "pages of the receiver that carry a bit each"),
    text("sent", "bits of the round, hexadecimal, page 0 lowest"),
    text("received", "bits that the receiver took them for"),
    integer("threshold_ns", "ns", "a write that took as long or longer is taken for a 1"),
    integer("merged_ns", "ns", "median write to a page that is merged with another one of the receiver's"),
    integer("private_ns", "ns", "median write to a page of the receiver's that is like no other"),
    count("scans", "full scans of KSM between both ends being ready and the writes"),
    count("pages_to_scan", "pages that KSM scanned before it slept"),
    integer("sleep_ms", "ms", "how long it slept then"),
    count("pages_shared", "merged pages of the whole machine right before the writes"),
    count("pages_sharing", "pages saved by them"),
    count("ksm_zero_pages", "pages merged with the zeropage then; missing before Linux 6.6", required=False),
    integer("wall_ns", "ns", "from telling the sender to begin to the last write"),
    *wrong_fields(),
    count("ones", "bits sent as 1"),
    count("bits", "bits sent"),
    COLD,
]
KINDS = ("merged", "private", "sent 1", "sent 0")
WRITE_FIELDS: list[dict[str, Any]] = [
    BLOCK,
    integer("sample", None, "number of the sample within its block"),
    integer("round", None, "number of the round within its sample"),
    one_of("kind", KINDS, "writes of calibrating, or of pages by the bit that was sent"),
    integer("ns", "ns", "what a write took, the clock's own time included"),
    count("writes", "how many took that"),
]


def run(spec: MergingSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield, for each round of each sample, its row of ``merges``; before it, of a few, their ``merge_writes``."""
    for index in range(spec.repeats):
        seed = seed_of(spec, index)
        for table, row in _sample(spec, seed):
            yield table, {"sample": index} | row | ({"cold": index == 0} if table == "merges" else {})


def _sample(spec: MergingSpec, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    rng = random.Random(seed)
    bits = [rng.getrandbits(spec.pages) for _ in range(spec.rounds)]
    # A control is compared with the bits that would have been sent.
    rounds = _transmit(spec, seed, [0] * spec.rounds if spec.silent else bits)
    for number, (sent, got) in enumerate(zip(bits, rounds, strict=True)):
        by_bit: dict[str, list[int]] = {"sent 1": [], "sent 0": []}
        for page, took in enumerate(got.carrying):
            by_bit["sent 1" if sent >> page & 1 else "sent 0"].append(took)
        kinds = {"merged": got.merged, "private": got.private, **by_bit} if number < WRITTEN_ROUNDS else {}
        for kind, writes in kinds.items():
            for took, times in sorted(Counter(writes).items()):
                yield "merge_writes", {"round": number, "kind": kind, "ns": took, "writes": times}
        yield "merges", {"round": number} | _summed(spec, sent, got)


def _summed(spec: MergingSpec, sent: int, got: _Round) -> dict[str, Any]:
    threshold = best_threshold_above_first(Counter(got.private), Counter(got.merged))
    received = sum(1 << page for page, took in enumerate(got.carrying) if not threshold.is_first(took))
    return {
        "contents": spec.contents,
        "use_zero_pages": spec.use_zero_pages,
        "silent": spec.silent,
        "pages": spec.pages,
        "sent": f"{sent:x}",
        "received": f"{received:x}",
        "threshold_ns": threshold.at,
        "merged_ns": round(median(got.merged)),
        "private_ns": round(median(got.private)),
        "scans": got.scans,
        **got.counted,
        "wall_ns": got.wall_ns,
        **wrong([sent], [received]),
        "ones": sent.bit_count(),
        "bits": spec.pages,
    }


# --- two processes ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Round:
    """Results of one round: ns per page that carries a bit and per page of known state; KSM's counters."""

    carrying: list[int]
    merged: list[int]
    private: list[int]
    scans: int
    counted: dict[str, int | None]
    wall_ns: int


def _transmit(spec: MergingSpec, seed: int, message: list[int]) -> list[_Round]:
    """Start a sender, receive from it, and wait for its end. Raises SenderLostError if it ends too early."""
    return converse(lambda ends: _send(spec, seed, message, ends), lambda ends: _receive(spec, seed, ends))


def _send(spec: MergingSpec, seed: int, message: list[int], ends: Ends) -> bool:
    """Run the sender: on request, fill pages by the bits of the next round and confirm."""
    with _halves(spec.pages) as halves:
        for number, bits in enumerate(message):
            if ends.receive(1, None) != b"g":
                return False
            known, own = _known(spec, seed, number), _some("sender's own", seed, number, spec.pages)
            halves[1 - number % 2].discard()
            chosen = [known[page] if bits >> page & 1 else own[page] for page in range(spec.pages)]
            _fill(halves[number % 2], chosen)
            ends.send(b"r")
        return ends.receive(1, None) == b""  # until the receiver has written to all of its pages


def _receive(spec: MergingSpec, seed: int, ends: Ends) -> list[_Round] | None:
    """Run the receiver; return None if the sender ended before its last round."""
    rounds: list[_Round] = []
    with _halves(spec.pages + 2 * _OWN + 1) as halves:
        for number in range(spec.rounds):
            halves[1 - number % 2].discard()
            began = time.monotonic_ns()
            # Filled after the sender has discarded its last round: with that one's zeros these would merge at once.
            if not ends.send(b"g") or ends.receive(1) != b"r":
                return None
            rounds.append(_round(spec, seed, number, halves[number % 2], began))
    return rounds


def _round(spec: MergingSpec, seed: int, number: int, memory: Range, began: int) -> _Round:
    pairs = _some("receiver's pairs", seed, number, _OWN // 2)
    _fill(memory, [*_known(spec, seed, number), *pairs, *pairs, *_some("receiver's own", seed, number, _OWN + 1)])
    scans = _wait_for_scans()
    counted = {
        "pages_to_scan": ksm.number("pages_to_scan"),
        "sleep_ms": ksm.number("sleep_millisecs"),
        "pages_shared": ksm.number("pages_shared"),
        "pages_sharing": ksm.number("pages_sharing"),
        "ksm_zero_pages": ksm.number("ksm_zero_pages"),
    }
    # In any order, so that what is known and what is not meet the same conditions; one write before, which is not
    # counted, has everything at hand.
    order = list(range(spec.pages + 2 * _OWN))
    random.Random(f"order {seed} {number}").shuffle(order)
    memory.touch_at([(spec.pages + 2 * _OWN) * PAGE], WRITE)
    took = dict(zip(order, memory.write_timed([page * PAGE for page in order]), strict=True))
    wall_ns = time.monotonic_ns() - began
    in_order = [took[page] for page in range(len(order))]
    ends = spec.pages, spec.pages + _OWN
    return _Round(in_order[: ends[0]], in_order[ends[0] : ends[1]], in_order[ends[1] :], scans, counted, wall_ns)


def _wait_for_scans() -> int:
    return ksm.wait_for_scans(SCANS, SCAN_S)


# --- pages and what they hold ----------------------------------------------------------------------------------------


@contextmanager
def _halves(pages: int) -> Iterator[tuple[Range, Range]]:
    """Map two mergeable ranges that rounds alternate between: KSM treats a known page differently."""
    length = pages * PAGE
    with mapped(BACKINGS["anon"], length) as first, mapped(BACKINGS["anon"], length) as second:
        for half in (first, second):
            half.advise("MADV_MERGEABLE")
        yield first, second


def _fill(memory: Range, contents: Sequence[int]) -> None:
    _, lib = native.probe()
    check("touch", lib.ul_fill_pages(memory.address, PAGE, list(contents), len(contents)), memory.request)


def _known(spec: MergingSpec, seed: int, number: int) -> list[int]:
    """Return the contents that both ends know, by page."""
    return [0] if spec.contents == "zeros" else _some("agreed", seed, number, spec.pages)


def _some(what: str, seed: int, number: int, pages: int) -> list[int]:
    """Return unique contents: seeds other than 0, which means zeros."""
    rng = random.Random(f"{what} {seed} {number}")
    return [rng.getrandbits(64) | 1 for _ in range(pages)]
