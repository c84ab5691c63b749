# SPDX-License-Identifier: MIT
"""The card of a verdict, who claims what, and intervals of no width."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from uffdlab import claims, datasets
from uffdlab.claims.verdict import AUTHORS, author, with_interval
from uffdlab.stats import Estimate, median_interval, proportion_interval, ratio_of_children


def some(**more: Any) -> claims.Verdict:
    fields = {"because": "it was <measured> so", "evidence": ("a", "b")} | more
    return claims.Verdict("qemu-could-skip", more.pop("verdict", "predicted to hold"), "the rule", **fields)


def test_html_card_has_who_the_answer_a_number_and_folds_the_rest() -> None:
    full = some(
        who="DH 1", says="it could <skip>", condition="c", missing="m", quantity="q", effect=1234.5,
        interval=(0.25, 2000.0), dataset="d", limits="l",
    )  # fmt: skip
    assert full._repr_html_() == (
        '<div class="verdict predicted">'
        '<p class="claim"><span><b>David Hildenbrand (DH, point 1)</b>: it could &lt;skip&gt;</span> '
        "<code>qemu-could-skip</code></p>"
        '<p class="answer"><strong>predicted to hold</strong> <span>where c</span></p>'
        '<p class="key"><span><b>1,235 (0.25 to 2,000)</b> q</span> <small>measured on a proxy</small></p>'
        "<details><summary>Rule, evidence and limits</summary><dl><dt>Rule</dt><dd>the rule</dd>"
        "<dt>Because</dt><dd>it was &lt;measured&gt; so</dd><dt>Would decide it</dt><dd>m</dd>"
        "<dt>Limits</dt><dd>l</dd><dt>Computed from</dt><dd>d</dd>"
        "<dt>Measured, by table</dt><dd><ul><li>a</li><li>b</li></ul></dd></dl></details></div>"
    )
    bare = some(evidence=())._repr_html_()
    assert '<p class="claim"><code>qemu-could-skip</code></p>' in bare
    assert bare.count("it was &lt;measured&gt; so") == 1, "the number's line has it"
    assert "<b>0</b> q" in some(quantity="q", effect=0.0)._repr_html_()
    assert str(full) == "qemu-could-skip: predicted to hold. it was <measured> so"
    assert full.as_dict()["interval"] == [0.25, 2000.0]
    assert full.as_dict()["evidence"] == ["a", "b"]
    assert some().as_dict()["interval"] is None


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"verdict": "answer"}, "a list of facts, published; nothing is measured"),
        ({"verdict": "holds", "evidence": ("faults: x",)}, "measured"),
        ({"verdict": "predicted to hold", "evidence": ("costs: x",)}, "predicted by the simulator"),
        (
            {"verdict": "predicted to hold", "evidence": ("samples: x", "costs: x")},
            "measured on a proxy, and predicted by the simulator",
        ),
        ({"verdict": "predicted not to hold", "evidence": ("samples: x",)}, "measured on a proxy"),
        ({"verdict": "not decided"}, "not measured"),
        ({"verdict": "not decided", "tested": ("x",)}, "measured"),
    ],
)
def test_html_card_says_what_kind_of_evidence_it_has(fields: dict[str, Any], kind: str) -> None:
    assert f"<small>{kind}</small>" in claims.Verdict("x", rule="r", because="b", **fields)._repr_html_()


def test_html_card_says_whether_the_rule_is_older_than_the_data() -> None:
    before, after = "rule fixed before the data, on 2026-11-23", "rule changed after the data, on 2026-11-28"
    assert "; rule fixed before the data</small>" in some(rule_fixed=before)._repr_html_()
    assert "; the rule is younger than the data</small>" in some(rule_fixed=after)._repr_html_()


@pytest.mark.parametrize(
    ("who", "name"),
    [
        ("DH 1", "David Hildenbrand (DH, point 1)"), ("DH", "David Hildenbrand (DH)"), ("PX", "Peter Xu (PX)"),
        ("–", "Asked here"), (None, "Asked here"),
    ],
)  # fmt: skip
def test_authors_are_spelt_out(who: str | None, name: str) -> None:
    assert author(who) == name


def test_every_claim_of_the_register_is_of_a_known_author_or_asked_here() -> None:
    assert {claim.who.split(" ")[0] for claim in claims.CLAIMS} == {*AUTHORS, "–"}


# --- intervals of no width -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([0.0] * 12, "0 (in each of 12 processes)"),
        ([0.0] * 11 + [1.0], "0 (in most of 12 processes)"),
        ([1.0, 1.00001, 0.99999] * 4, "1 (in each of 12 processes)"),  # as it is printed
        ([1.0, 2.0, 3.0] * 4, "2 (1 to 3)"),
        ([1.0] * 5, "1 (too few processes for an interval)"),
    ],
)
def test_an_interval_of_no_width_says_in_how_many_processes(samples: list[float], said: str) -> None:
    assert with_interval(median_interval(samples)) == said


def test_an_interval_of_no_width_of_trials_says_what_may_be_otherwise() -> None:
    assert (
        with_interval(proportion_interval(12_288, 12_288)) == "1 (in 12,288 of 12,288 trials, at most 0.03% otherwise)"
    )
    assert with_interval(proportion_interval(0, 100)) == "0 (0 to 0.0362)"


def test_a_prediction_of_no_width_names_no_processes() -> None:
    assert with_interval(Estimate(2.0, 2.0, 2.0, 200)) == "2 (without spread)"
    assert some(effect=2.0, interval=(2.0, 2.0)).number == "2 (without spread)"


def test_the_interval_of_no_width_of_a_ratio_of_independent_sides_counts_its_processes() -> None:
    ratio = ratio_of_children(dict.fromkeys(range(8), 20.0), dict.fromkeys(range(8, 16), 10.0))
    assert with_interval(ratio) == "2 (in each of 8 processes)"


def test_no_card_line_or_table_of_the_reference_has_an_interval_of_no_width() -> None:
    verdicts = claims.verdicts(claims.evidence_of(datasets.load(datasets.locate(None))))
    shown = [*(v._repr_html_() for v in verdicts), claims.text_table(verdicts), claims.markdown_table(verdicts)]
    shown += [json.dumps(v.as_dict(), ensure_ascii=False) for v in verdicts]
    found = [match[0] for text in shown for match in re.finditer(r"\b([0-9][0-9.,]*) \(\1 to \1\)", text)]
    assert found == []
