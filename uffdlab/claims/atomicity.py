# SPDX-License-Identifier: MIT
"""Atomicity: discards that race with populate-then-protect (two passes) and with one pass, and MADV_FREE.

What can be lost is a write to a page that was discarded between preparing it and protecting it: such discards are the
denominator. Writes to other pages cannot be lost, and do not count.
"""

from __future__ import annotations

from typing import Any

from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import Evidence
from uffdlab.claims.verdict import Tested, Verdict, with_interval
from uffdlab.datasets import Dataset
from uffdlab.summaries.atomicity import DURING, LostWrites, excluded_writes, lost_writes
from uffdlab.summaries.medians import ratio_over_sizes, warm_of, with_total
from uffdlab.units import format_share, in_sizes
from uffdlab.vocabulary.backings import BACKINGS
from uffdlab.vocabulary.designs import WAYS

LOSES, LOSES_NOTHING = 0.1, 0.02  # share of the discards in between whose page loses its next write
WALKED_KIB = (1 << 20, 4 << 20, 10 << 20)  # 1 to 10 GiB: time grows in proportion to size
EVERY_PAGE = 0.99  # share of reclaimed pages whose write raises no event
_TWO_PASSES = {way.race: way.phrase for way in WAYS.values()}
_ONE_PASS = "one_pass"
_DESIGNS = {_ONE_PASS: "markers", **_TWO_PASSES}
_NEEDED = ("block", "backing", "preparation", "interleaving", "judged", "lost", "discards_preparing")


def _lost(data: Dataset, preparation: str, interleaving: str, of: str, backing: str = "anon") -> LostWrites | None:
    """Return the writes lost, as a share of the column ``of``; None where there is none to lose."""
    if "races" not in data.tables:
        return None
    races = data.require("races", _NEEDED)
    here = (races.backing == backing) & (races.preparation == preparation) & (races.interleaving == interleaving)
    return lost_writes(races[here.fillna(False)], of)


def _size(data: Dataset, interleaving: str) -> str:
    """Return the sizes of the ranges of a kind of trial of anonymous memory."""
    races = data.require("races", ("pages", "backing", "interleaving"))
    pages = races[((races.backing == "anon") & (races.interleaving == interleaving)).fillna(False)].pages.dropna()
    return in_sizes(sorted({int(number) * BACKINGS["anon"].page_kib for number in pages}))


def worth_it(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether a discard between the two passes loses a write, and one pass leaves no such moment."""
    data = evidence.campaign
    lost = {name: _lost(data, name, "racing", "discards_preparing") for name in _DESIGNS}
    known = {name: writes for name, writes in lost.items() if writes is not None}
    if len(known) < len(lost):
        absent = [_DESIGNS[name] for name in lost if name not in known]
        return claim.undecided(data, f"no discard raced with {' or with '.join(absent)}")
    one_pass, two_passes = known.pop(_ONE_PASS), known
    losing = [name for name, writes in two_passes.items() if writes.children.above(LOSES)]
    harmless = [name for name, writes in two_passes.items() if writes.pooled.below(LOSES_NOTHING)]
    parts = [f"{_TWO_PASSES[name]} loses {_in_words(writes)}" for name, writes in two_passes.items()]
    of = _size(data, "racing")
    because = f"of the discards in between, {of}, {'; '.join(parts)}; one pass {_in_words(one_pass)}"
    during = _during(data)
    if during:
        because += f". While the ioctl ran, unreported writes: {during}"
    lines = [*_evidence_lines(data), *_excluded(data), *_one_walk(data)]
    more: dict[str, Any] = {
        "limits": "a question of this notebook: nobody in the thread claimed it. How often a discard falls in between "
        "depends on the program; a discard after the ioctl drops the protection of its page in either way, and one "
        "while it runs as the rows say; MADV_FREE is a claim of its own"
    }
    if one_pass.children.above(LOSES) or len(harmless) == len(two_passes):
        return claim.ruled(data, "does not hold", because, lines, **more)
    if not one_pass.pooled.below(LOSES_NOTHING) or len(losing) < len(two_passes):
        tested = [Tested(_DESIGNS[name], writes.children, LOSES) for name, writes in two_passes.items()]
        tested.append(Tested("one pass, pooled", one_pass.pooled, LOSES_NOTHING))
        return claim.undecided(data, because, claim.needs, lines, tested=tested, short_of="certainty")
    least = min((two_passes[name].children for name in losing), key=lambda share: share.value)
    quantity = (
        "share of discards between two passes whose page loses its next write, the lesser way, median of children"
    )
    return claim.ruled(data, "holds", because, lines, effect=least, quantity=quantity, **more)


def madv_free_loses(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether pages freed by MADV_FREE before protecting, and reclaimed after it, have lost their protection."""
    data = evidence.campaign
    lost = {name: _lost(data, name, "freed", "judged") for name in _DESIGNS}
    known = {name: writes for name, writes in lost.items() if writes is not None}
    if len(known) < len(lost):
        absent = [_DESIGNS[name] for name in lost if name not in known]
        return claim.undecided(data, f"writes after MADV_FREE and reclaim were not measured with {', '.join(absent)}")
    because = f"writes to reclaimed pages that raise no event, {_size(data, 'freed')}: " + "; ".join(
        f"{_DESIGNS[name]} {_in_words(writes)}" for name, writes in known.items()
    )
    losing = [name for name, writes in known.items() if writes.pooled.above(EVERY_PAGE)]
    reporting = [name for name, writes in known.items() if writes.pooled.below(EVERY_PAGE)]
    more: dict[str, Any] = {
        "effect": min((writes.pooled for writes in known.values()), key=lambda share: share.value),
        "quantity": "share of writes to reclaimed pages that raise no event, least of the designs",
        "limits": "anonymous memory; reclaim is forced by MADV_PAGEOUT. A page that is written after MADV_FREE is "
        "not reclaimed",
    }
    lines = [f"races: {_DESIGNS[name]}, freed: {_in_words(writes)} unreported" for name, writes in known.items()]
    if len(losing) == len(known):
        return claim.ruled(data, "holds", because, lines, **more)
    if len(reporting) == len(known):
        return claim.ruled(data, "does not hold", because, lines, **more)
    if losing and len(losing) + len(reporting) == len(known):
        condition = f"the range is protected by {' or '.join(_DESIGNS[name] for name in losing)}"
        return claim.ruled(data, "depends", because, lines, depends_on="the design", condition=condition, **more)
    tested = (Tested(_DESIGNS[name], writes.pooled, EVERY_PAGE) for name, writes in known.items())
    return claim.undecided(data, because, f"more rounds of {claim.needs}", lines, tested=tested)


def _in_words(writes: LostWrites) -> str:
    if not writes.lost:
        return f"0 of {writes.judged:,} (at most {format_share(writes.pooled.high or 1, 1)})"
    return (
        f"{writes.lost:,} of {writes.judged:,}, median of {writes.children.n} children {with_interval(writes.children)}"
    )


def _evidence_lines(data: Dataset) -> list[str]:
    lines = []
    for backing in ("anon", "shmem", "hugetlb_2m_private", "hugetlb_2m_shared"):
        for name, words in _DESIGNS.items():
            writes = _lost(data, name, "racing", "discards_preparing", backing)
            if writes:
                lines.append(f"races: {backing}, {words}: lost {_in_words(writes)} discards in between")
    return lines


def _excluded(data: Dataset) -> list[str]:
    """Return the writes that raised no event to pages whose last discard ended while the ioctl ran, and after it."""
    races = data.tables.get("races")
    if races is None or "excluded_during" not in races:
        return []
    lines = []
    for name, words in _DESIGNS.items():
        how = {"backing": "anon", "preparation": name, "interleaving": "racing"}
        ended = excluded_writes(data, **how)
        if ended:
            shown = (f"{when} {_in_words(writes)}" for when, writes in ended.items())
            lines.append(f"races: anon, {words}: unreported of pages discarded {'; '.join(shown)}")
    return lines


def _during(data: Dataset) -> str:
    """Return how many writes raised no event to pages whose last discard ended while the ioctl ran; or nothing."""
    if "races" not in data.tables or "excluded_during" not in data.tables["races"]:
        return ""
    found = {}
    for name, words in _DESIGNS.items():
        ended = excluded_writes(data, backing="anon", preparation=name, interleaving="racing")
        if ended and DURING in ended:
            found[words] = ended[DURING]
    return ", ".join(f"{words} {writes.lost:,} of {writes.judged:,}" for words, writes in found.items())


def _one_walk(data: Dataset) -> list[str]:
    """Return the ratio of two walks (populate, protect) to one: Peter's first reason for doing both at once."""
    read = ("block", "size_kib", "prepare_ns", "protect_ns")
    two, one = (
        warm_of(data, "samples", *read, backing="anon", design=design, populated=0)
        for design in ("populate_read", "pte_marker")
    )
    if two is None or one is None:
        return []
    found = ratio_over_sizes("samples", with_total(two), with_total(one), "total_ns", WALKED_KIB)
    if found is None:
        return []
    ratio, sizes = found
    what = f"two walks (MADV_POPULATE_READ, protect) / one (markers), {in_sizes(sizes)}"
    return [f"samples: {what}: {with_interval(ratio)}"]
