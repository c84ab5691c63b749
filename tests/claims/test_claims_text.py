# SPDX-License-Identifier: MIT
"""The text of verdicts, word for word, against a golden file.

The command in ``ACCEPT`` accepts the present text as ``verdicts.golden.txt``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic
import synthetic_atomicity
import synthetic_faults
from synthetic_atomicity import freed, in_between
from synthetic_channel import campaign, point
from synthetic_costs import EVENT, SURE, costs
from synthetic_faults import (
    CHOICES,
    choices,
    equal,
    filled,
    first_reads,
    first_touches,
    huge_writes,
    in_turns,
    interrupts,
    levels,
    locked,
    populated,
    resolved,
    same,
    sparse,
    speeds,
    touched,
)
from test_claims import HUGETLB, QEMU, hugetlb, reported, timed
from test_claims_atomicity import LOSING, NONE, SOME
from test_claims_atomicity import raced as anon
from test_claims_channels import CLEAR, NOISE, _both
from test_claims_faults import AFTER_READS, AS_SAID
from test_claims_zeropages import relatives

from uffdlab import claims, datasets
from uffdlab.claims import Evidence, spreading
from uffdlab.claims.claim import Claim
from uffdlab.claims.verdict import Tested
from uffdlab.errors import UffdlabError
from uffdlab.stats import median_interval, ratio_of_children

GOLDEN = Path(__file__).with_name("verdicts.golden.txt")
ACCEPT = "PYTHONPATH=tests/helpers python tests/claims/test_claims_text.py"

Rows = list[dict[str, Any]]
Made = Callable[[Path], datasets.Dataset]


def base(samples: Rows = (), states: Rows = ()) -> Made:  # type: ignore[assignment]
    return lambda out: synthetic.dataset(out, samples, states)


def later(**tables: Rows) -> Made:
    return lambda out: synthetic_faults.dataset(out, **tables)


def raced(*rows: Rows) -> Made:
    return lambda out: synthetic_atomicity.dataset(out, [row for one in rows for row in one])


def channel(*points: Rows) -> Made:
    return lambda out: campaign(out, *points)


def reads(zeropage: int, marker: int, children: int = 9) -> Made:
    rows = touched("zeropage", "plain", "first read", 5, minor_faults=zeropage, children=children)
    return later(faults=rows + touched("markers", "async", "first read", 900, minor_faults=marker, children=children))


def interrupted(of: dict[str, int], **counted: int | None) -> Made:
    return later(faults=interrupts(**(of | counted)))


def fill(ns: int) -> Made:
    rows = populated("pte_marker", 0, ns, "anon_thp") + populated("populate_read", 900, 100, "anon_thp")
    return later(samples=rows)


def without_huge(ns: int, reported: bool = True) -> Made:
    off = filled("anon_thp", "pte_marker", 0, "off", reported=reported)
    rows = [row | {"protect_ns": ns + 100 * i} for i, row in enumerate(off)]
    return later(zeropages=filled("anon_thp", "pte_marker", 0, "on") + rows)


def chosen(anon_pages: int, thp_pages: int) -> Made:
    more = [same("shmem", "read loop", 4096) | {"state": "present / PFNZERO"}]
    other = [same("anon_thp", "read loop", 0) | {"state": "huge"}]
    return later(equality=equal(anon_pages, thp_pages) + more + (other if not thp_pages else []))


def proxies(hugetlb_: float | None, zeropage: float | None, pud: float | None = None) -> Made:
    return later(samples=levels(hugetlb_, zeropage, pud))


def lazily(*lost: int) -> Made:
    names = ("one_pass", "two_pass_read", "two_pass_populate")
    return raced(*(freed(name, 512, [n] * 7) for name, n in zip(names, lost, strict=False)))


SAVING = timed(9_000_000, 1_000_000, 1 << 20)
SCENARIOS: dict[str, list[tuple[str, Made]]] = {
    "hugetlb-needs-feature": [
        ("nothing measured", base()),
        ("gained everywhere", base(states=hugetlb(False, True))),
        ("gained on one", base(states=hugetlb(False, True, HUGETLB[:1]) + hugetlb(True, True, HUGETLB[1:]))),
        ("reported without", base(states=hugetlb(True, True))),
        ("never reported", base(states=hugetlb(False, False, HUGETLB[:2]) + hugetlb(True, True, HUGETLB[2:]))),
        ("one not measured", base(states=hugetlb(True, True, HUGETLB[:3]))),
    ],
    "hugetlb-already-works": [
        ("both", base(states=hugetlb(True, True))),
        ("neither", base(states=hugetlb(False, True))),
        ("2 MiB only", base(states=hugetlb(True, True, HUGETLB[:1]) + hugetlb(False, True, HUGETLB[2:3]))),
        ("1 GiB not measured", base(states=hugetlb(True, True, HUGETLB[:1]))),
    ],
    "qemu-could-skip": [
        ("everywhere", base(SAVING, reported(True))),
        ("shmem only", base(SAVING, reported(True, QEMU[:1]) + reported(False, QEMU[1:]))),
        ("lost", base(SAVING, reported(False))),
        ("straddles", base(timed(250_000, 1_000_000, 1 << 20, spread=100_000), reported(True))),
        ("no times", base(states=reported(True))),
    ],
    "forbidden-zeropage": [
        ("as said", later(zeropages=relatives(0, 1))),
        ("nowhere", later(zeropages=relatives(0, 0.5))),
        ("a write is lost", later(zeropages=relatives(0, 1)[:-1] + relatives(0, 1, False)[:1])),
        ("not on two", later(zeropages=relatives(0, 1)[36:] + relatives(0.2, 1)[:36])),
        ("too few children", later(zeropages=relatives(0, 1, children=5))),
        ("one not measured", later(zeropages=relatives(0, 1, of=5))),
    ],
    "zeropage-other-contexts": [("the list", base())],
    "zeropage-covert-channel": [
        ("nothing measured", base()),
        ("heard", channel(_both(CLEAR, "zeropage"), _both(CLEAR, "huge_zeropage"))),
        ("heard on two CPUs too", channel(_both(CLEAR, "zeropage", placement="cross"), _both([0.1] * 9, "zeropage"))),
        ("heard in some", channel(_both(NOISE[:4] + [0.0] * 8, "zeropage"))),
        ("slower in some", channel(_both(NOISE[:4] + CLEAR, "zeropage", slower=True))),
        ("deaf", channel(_both(NOISE * 3, "zeropage"))),
        ("deaf, too little", channel(_both(NOISE[:1], "zeropage", slots=30))),
        ("a loud control", channel(_both(CLEAR, "zeropage"), point(CLEAR, "private"))),
        ("a weak control", channel(point(CLEAR), point(NOISE, silent=True), point([0.5], "private", sample=0))),
        ("none passes alone", channel(_both([0.0] * 9, "zeropage", slots=60))),
        ("without controls", channel(point(CLEAR))),
    ],
    "markers-close-channel": [
        ("read ones carry", channel(*(_both(c, m) for c, m in
            ((CLEAR, "zeropage"), (CLEAR, "markers_read"), (NOISE, "markers_unread"))), _both(CLEAR, "populated"))),
        ("both carry", channel(*(_both(CLEAR, m) for m in ("zeropage", "markers_read", "markers_unread")))),
        ("neither carries", channel(*(_both(c, m) for c, m in
            ((CLEAR, "zeropage"), (NOISE * 3, "markers_read"), (NOISE * 3, "markers_unread"))))),
        ("too little", channel(_both(CLEAR, "zeropage"),
            *(_both(NOISE[:1], m, slots=30) for m in ("markers_read", "markers_unread")))),
        ("fresh is deaf", channel(*(_both(NOISE, m) for m in ("zeropage", "markers_read", "markers_unread")))),
        ("one not measured", channel(_both(CLEAR, "zeropage"), _both(CLEAR, "markers_read"))),
        ("a loud control", channel(*(_both(CLEAR, m) for m in ("zeropage", "markers_read", "markers_unread")),
            point(CLEAR, "private"))),
        ("a weak control", channel(point([0.5], "private", sample=0), *(point(CLEAR, m) + point(NOISE, m, silent=True)
            for m in ("zeropage", "markers_read", "markers_unread")))),
    ],
    "no-huge-zeropage-needed": [
        ("nothing measured", base()),
        ("the same", without_huge(100_000)),
        ("dearer", without_huge(200_000)),
        ("straddles", without_huge(125_000)),
        ("a write is lost", without_huge(100_000, False)),
    ],
    "table-fill-slower": [
        ("nothing measured", base()),
        ("slower", fill(5000)),
        ("faster", fill(500)),
        ("straddles", fill(1250)),
    ],
    "zeropage-cow-shootdown": [
        ("nothing measured", base()),
        ("as said", interrupted(AS_SAID)),
        ("reads count", interrupted(AS_SAID, read=990)),
        ("none", interrupted(AS_SAID, filled=100)),
        ("straddles", interrupted(AS_SAID, filled=500)),
        ("a busy machine", interrupted(AS_SAID, nothing=300)),
    ],
    "shootdown-after-any-read": [
        ("nothing measured", base()),
        ("as said", interrupted(AFTER_READS)),
        ("not on markers", interrupted(AFTER_READS, read=100)),
        ("straddles", interrupted(AFTER_READS, fresh_read=500)),
    ],
    "pmd-marker-wins": [
        ("not measured at one size", base()),
        ("one proxy", proxies(20, None)),
        ("both proxies win", proxies(20, 30)),
        ("one proxy does not", proxies(20, 5)),
        ("straddles", proxies(20, 10.000004)),
    ],
    "pud-marker-wins": [("the proxy wins", proxies(None, None, 20)), ("the proxy does not", proxies(20, 30, 5))],
    "always-on-dearer": [
        ("nothing measured", base()),
        ("in both", later(samples=sparse(30, 1.3))),
        ("empty only", later(samples=sparse(30, 1.1))),
        ("straddles", later(samples=sparse(30, 1.25))),
        ("one not measured", later(samples=sparse(30, None))),
    ],
    "markers-cost-later-thp": [
        ("nothing measured", base()),
        ("as said", later(faults=huge_writes(1, 0.002))),
        ("huge under markers", later(faults=huge_writes(1, 1))),
        ("no huge page at all", later(faults=huge_writes(0.002, 0.002))),
        ("too few children", later(faults=huge_writes(1, 0.002, 5))),
    ],
    "prealloc-speeds-faults": [
        ("cached or not", later(faults=first_touches({"tables": 0.5, "tables_cold": 0.6}))),
        ("cached only", later(faults=first_touches({"tables": 0.5, "tables_cold": 1.0}))),
        ("nowhere", later(faults=first_touches({"tables": 0.9, "tables_cold": 1.0}))),
        ("straddles", later(faults=first_touches({"tables": 0.5, "tables_cold": 0.8}))),
        ("in turns", later(faults=in_turns(first_touches({"tables": 0.5, "tables_cold": 0.6})))),
        ("cached alone measured", later(faults=first_touches({"tables": 0.5}))),
    ],
    "split-locks-speed-faults": [
        ("nothing measured", base()),
        ("two threads gain more", later(faults=locked(0.9, 0.6))),
        ("they gain the same", later(faults=locked(0.6, 0.6))),
    ],
    "reads-need-no-fault": [
        ("nothing measured", base()),
        ("none and one", reads(0, 1000)),
        ("none and half", reads(0, 500)),
        ("one and one", reads(1000, 1000)),
        ("too few children", reads(0, 1000, 5)),
    ],
    "reads-get-dearer": [
        ("nothing measured", base()),
        ("dearer", later(faults=first_reads(2000, 1000) + touched("tables", "plain", "first read", 1000))),
        ("the same", later(faults=first_reads(1000, 1000))),
        ("straddles", later(faults=first_reads(1250, 1000))),
    ],
    "userspace-has-choice": [
        ("nothing measured", base()),
        ("everywhere", later(zeropages=choices())),
        ("not with THP on", later(zeropages=choices(tuple(CHOICES[2:4])))),
        ("one way, one memory", later(zeropages=choices(tuple(CHOICES[1:])))),
        ("nowhere", later(zeropages=choices(tuple(CHOICES)))),
        ("one not measured", later(zeropages=choices(but=CHOICES[3]))),
    ],
    "patch-equals-populate": [
        ("nothing measured", base()),
        ("THP off and on", chosen(4096, 4096)),
        ("THP off", chosen(4096, 0)),
        ("not at all", chosen(4095, 4096)),
    ],
    "populate-read-faster": [
        ("nothing measured", base()),
        ("everywhere", later(samples=speeds({}, 2.0))),
        ("nowhere", later(samples=speeds({}, 0.5))),
        ("somewhere", later(samples=speeds({("anon", 0.0): 2.0, ("shmem", 0.5): 0.5, ("shmem", 1.0): 0.4}, 1.0))),
        ("the same", later(samples=speeds({}, 1.0))),
        ("too few children", later(samples=speeds({}, 2.0, 8))),
    ],
    "untouched-is-common": [("no probe", base())],
    "atomicity": [
        ("nothing measured", base()),
        ("both lose", raced(anon("two_pass_read", [20 + n for n in LOSING]), anon("two_pass_populate", LOSING),
            anon("one_pass", NONE), in_between("two_pass_read", 100, NONE, "shmem"))),
        ("one loses", raced(anon("two_pass_read", LOSING), anon("two_pass_populate", SOME), anon("one_pass", NONE))),
        ("neither loses", raced(*(anon(p, NONE) for p in ("two_pass_read", "two_pass_populate", "one_pass")))),
        ("one pass loses too", raced(*(anon(p, LOSING) for p in ("two_pass_read", "two_pass_populate", "one_pass")))),
        ("one pass not bounded", raced(anon("two_pass_read", LOSING), anon("two_pass_populate", LOSING),
            anon("one_pass", NONE[:1]))),
        ("too few children", raced(anon("two_pass_read", LOSING[:5]), anon("two_pass_populate", LOSING),
            anon("one_pass", NONE))),
        ("no one pass", raced(anon("two_pass_read", LOSING), anon("two_pass_populate", LOSING))),
    ],
    "madv-free-loses-protection": [
        ("nothing measured", base()),
        ("every design", lazily(512, 512, 512)),
        ("no design", lazily(0, 0, 0)),
        ("two passes only", lazily(0, 512, 512)),
        ("straddles", lazily(507, 512, 512)),
        ("one not measured", lazily(512, 512)),
    ],
}  # fmt: skip
SPREADING = {
    "the tail": EVENT | SURE | {"markers_pte": 20.0},
    "all work": EVENT | SURE | {"markers_pte": 20.0, "markers_pmd": 50_000.0},
    "hidden": EVENT | {"markers_pte": 0.1},
    "some": EVENT | SURE | {"markers_pte": 1.0},
}


def beside(made: datasets.Dataset) -> Evidence:
    """Return a campaign with the committed costs, which it borrows, and the thread's own figures."""
    costs, published = (datasets.load(datasets.locate(name)) for name in ("costs-", "published"))
    return Evidence(made, costs=costs, published=published)


def spread(claim: Claim, some: dict[str, float], campaign_: datasets.Dataset) -> claims.Verdict:
    known = costs(**some)
    sure = replace(known, draws=(known.vector,) * 20, p95_error=0.1)
    return spreading.decided(Evidence(campaign_), sure, claim)


def verdict_lines(found: claims.Verdict) -> Iterator[str]:
    """Yield what a verdict says, but for what is the claim's."""
    for name, value in found.as_dict().items():
        if name in ("effect", "interval") and value is not None:
            yield f"  {name}: {' to '.join(f'{one:.6g}' for one in (value if name == 'interval' else [value]))}"
        elif name in ("evidence", "tested"):
            yield from (f"  {name}: {one}" for one in value)
        elif name not in ("id", "rule", "who", "says") and value is not None:
            yield f"  {name}: {value}"


def claim_lines(claim: str, directory: Path) -> list[str]:
    """Return the text of a claim's verdicts, scenario by scenario."""
    lines = []
    for number, (name, made) in enumerate(SCENARIOS.get(claim, [])):
        found = claims.verdict(claim, beside(made(directory / str(number))))
        assert (found.id, found.rule) == (claim, claims.find(claim).rule)
        lines += [f"{claim}, {name}:", *verdict_lines(found)]
    if claim == "spread-cost-later":
        split = [("first", 9000), ("second", 1000)]
        rows = [row for pass_, ns in split for row in resolved("huge_zeropage", 4, 2048, pass_, ns)]
        beside_it = synthetic_faults.dataset(directory / "resolves", resolves=rows)
        for name, some in SPREADING.items():
            lines += [f"{claim}, {name}:", *verdict_lines(spread(claims.find(claim), some, beside_it))]
    return lines


NAMES = [*SCENARIOS, "spread-cost-later"]


@pytest.mark.parametrize("claim", NAMES)
def test_verdict_text_equals_the_golden_file(tmp_path: Path, claim: str) -> None:
    golden = GOLDEN.read_text(encoding="utf-8").split("\n\n")
    known = {block.split(",")[0]: block.strip().splitlines() for block in golden if block.strip()}
    assert claim_lines(claim, tmp_path) == known[claim], f"to accept the present text: {ACCEPT}"


# --- tables, cards and lines -----------------------------------------------------------------------------------------


def some(**more: Any) -> claims.Verdict:
    fields = {"because": "it was <measured> so", "evidence": ("a", "b")} | more
    return claims.Verdict("qemu-could-skip", more.pop("verdict", "predicted to hold"), "the rule", **fields)


def test_text_table_labels_and_wraps_lines() -> None:
    long = "a reason that does not fit on one line of a mail because it has too many words to be said in so few columns"
    text = claims.text_table([some(because=long, condition="it rains"), some(because="so", missing="time")])
    assert text.splitlines() == [
        "qemu-could-skip             predicted to hold",
        "  because: a reason that does not fit on one line of a mail because it",
        "    has too many words to be said in so few columns",
        "  if: it rains",
        "qemu-could-skip             predicted to hold",
        "  because: so",
        "  needs: time",
    ]


def test_markdown_table_has_a_row_for_each_decided_claim() -> None:
    undecided = claims.Verdict("atomicity", "not decided", "", "too little")
    timed = some(quantity="A / B", effect=1234.5, interval=(0.25, 2000.0))
    changed = "rule changed after the data, on 2026-11-28, with the reason: a fault. By the former rule: holds (2)"
    fixed = some(quantity="C", effect=2.0, rule_fixed="rule fixed before the data, on 2026-11-23")
    text = claims.markdown_table([timed, undecided, undecided, fixed, some(because="so", rule_fixed=changed)])
    row = "| QEMU could skip populating hugetlb and shmem (`qemu-could-skip`) | **predicted to hold** |"
    assert text.split("\n") == [
        "| claim | verdict | key number (95 % interval unless said) | rule |",
        "|---|---|---|---|",
        f"{row} 1,235 (0.25 to 2,000): A / B | – |",
        f"{row} 2: C | fixed before the data, on 2026-11-23 |",
        f"{row} – | changed after the data, on 2026-11-28; by the former rule: holds (2) |",
        "",
        "Not decided yet: `atomicity` (–); `atomicity` (–).",
        "",
        "Why, under which condition, and what would decide the others: "
        "[the ledger](notebooks/00_the_thread.ipynb), or `uffdlab claims`.",
    ]


def test_undecided_card_says_how_far_each_quantity_is_from_its_threshold() -> None:
    claim = claims.find("table-fill-slower")
    sides = {n: float(10 + n) for n in range(8)}, dict.fromkeys(range(8), 10.0)
    straddling = Tested("the ratio", ratio_of_children(*sides), 1.15)
    beyond = Tested("another", ratio_of_children(*sides), 0.5)
    data = datasets.load(datasets.locate(None))
    found = claim.undecided(data, "so", "more rounds", tested=[straddling, beyond])
    assert found.short_of == "certainty"
    said = (
        "the ratio against 1.15: above it at 71.0% confidence; at 95.0% a value below 0.913 or above 1.55 would decide"
    )
    assert found.tested == (said,), "what is beyond its threshold is not short of anything"
    assert f"<dt>Short by</dt><dd>{said}</dd>" in found._repr_html_()
    assert "short by: the ratio against 1.15" in " ".join(claims.text_table([found]).split())
    assert claim.undecided(data, "it was not measured").short_of == "measurement"
    few = Tested("few", median_interval([1, 2]), 1.5)
    assert str(few) == "few against 1.5: 2 processes give no interval at 95.0%"


def test_unknown_claim_error_names_the_command_that_lists_them() -> None:
    with pytest.raises(UffdlabError) as caught:
        claims.find("nonsense")
    assert str(caught.value) == "no claim is called 'nonsense': 'uffdlab claims' lists them"


def accept() -> None:
    """Write the golden file."""
    with tempfile.TemporaryDirectory() as directory:
        blocks = ["\n".join(claim_lines(claim, Path(directory) / claim)) for claim in NAMES]
    GOLDEN.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(accept())
