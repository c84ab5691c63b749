# SPDX-License-Identifier: MIT
"""Campaigns side by side: their verdicts, what differs, and what their data know of why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic import FACTS, dataset
from synthetic_channel import campaign
from test_claims import HUGETLB, hugetlb
from test_claims_channels import CLEAR, _both

from uffdlab import claims, datasets, notebook
from uffdlab.claims import Evidence
from uffdlab.claims.claim import Claim
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.stats import Estimate

ALREADY = claims.find("hugetlb-already-works")
RATIO = "A / B"


def made(out: Path, id_: str, **facts: Any) -> Dataset:
    return dataset(out / id_, states=hugetlb(True, True), id_=id_, facts=FACTS | facts)


def ruled(**by_id: tuple[str, tuple[float, float] | None] | str) -> Claim:
    """Return a claim that is decided as listed: a verdict and an interval, or what is said of an undecided campaign."""

    def decide(evidence: Evidence, claim: Claim) -> claims.Verdict:
        said = by_id[evidence.campaign.id.replace("-", "_")]
        if isinstance(said, str):
            short = "measurement" if "not measured" in said else "certainty"
            return claim.undecided(evidence.campaign, said, "more rounds of it", short_of=short)
        ruling, interval = said
        effect = Estimate(sum(interval) / 2, *interval, 9) if interval else None
        return claim.ruled(evidence.campaign, ruling, "so", effect=effect, quantity=RATIO)  # type: ignore[arg-type]

    return replace(ALREADY, id="made-up", decide=decide)


def difference(claim: Claim, *campaigns: Dataset) -> str | None:
    return claims.matrix([Evidence(data) for data in campaigns], [claim]).differences().get("made-up")


def test_each_campaign_has_its_verdict_with_number_and_interval(tmp_path: Path) -> None:
    a, b = made(tmp_path, "a"), made(tmp_path, "b")
    matrix = claims.matrix([Evidence(a), Evidence(b)], [ruled(a=("holds", (1.5, 2.5)), b=("holds", None))])
    assert matrix.ids == ("a", "b")
    assert matrix.rows[0].cells() == ["holds, 2 (1.5 to 2.5)", "holds"]
    assert matrix.differences() == {}
    assert matrix.summary() == "1 of 1 claims have the same verdict on all of them."


def test_one_verdict_with_other_numbers_is_named_in_the_summary(tmp_path: Path) -> None:
    a, b = made(tmp_path, "a"), made(tmp_path, "b")
    apart = ruled(a=("holds", (1.0, 2.0)), b=("holds", (2.1, 3.0)))
    touching = ruled(a=("holds", (1.0, 2.0)), b=("holds", (2.0, 3.0)))
    said = claims.matrix([Evidence(a), Evidence(b)], [apart]).summary()
    assert said.endswith(", made-up with key numbers whose intervals do not all overlap.")
    assert "made-up" not in claims.matrix([Evidence(a), Evidence(b)], [touching]).summary()


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [((1.0, 2.0), (1.9, 3.0), "Intervals overlap."), ((1.0, 2.0), (2.1, 3.0), "Intervals do not overlap.")],
)
def test_a_difference_says_whether_intervals_overlap(
    tmp_path: Path, here: tuple[float, float], there: tuple[float, float], said: str
) -> None:
    a, b = made(tmp_path, "a"), made(tmp_path, "b", cpu_model="Another")
    found = difference(ruled(a=("holds", here), b=("does not hold", there)), a, b)
    assert found is not None
    assert found.startswith("holds on a; does not hold on b. ")
    assert said.rstrip(".") in found.split(". ")
    assert found.endswith("With the verdict differ: CPU.")


def test_a_difference_names_facts_that_go_with_it(tmp_path: Path) -> None:
    here = {"load_1min": 0.1, "mitigations": {"mds": "Not affected"}}
    a, b = made(tmp_path, "a", **here), made(tmp_path, "b", **here | {"load_1min": 0.3})
    there = {"cpu_model": "Another", "kernel_release": "7", "load_1min": 2.0, "mitigations": {"mds": "Vulnerable"}}
    c = made(tmp_path, "c", **there)
    found = difference(ruled(a=("holds", None), b=("holds", None), c="too wide"), a, b, c)
    assert found == (
        "holds on a and b; not decided on c. Needed there: more samples. With the verdict differ: CPU, kernel, "
        "mitigations and load at the start (0.1 to 0.3 / 2)."
    )
    other = difference(ruled(a=("holds", None), b="too wide", c=("holds", None)), a, b, c)
    assert other == (
        "holds on a and c; not decided on b. Needed there: more samples. The machine alone is not why: a and b have "
        "the same CPU, kernel and THP."
    )


def test_a_fact_that_nobody_recorded_explains_nothing(tmp_path: Path) -> None:
    a, b = (made(tmp_path, id_, cpu_model=None, thp_enabled=thp) for id_, thp in (("a", None), ("b", "always")))
    found = difference(ruled(a=("holds", None), b=("does not hold", None)), a, b)
    assert found == "holds on a; does not hold on b. Nothing that is recorded of the machines goes with it."


def test_a_missing_measurement_is_told_from_an_uncertain_one(tmp_path: Path) -> None:
    a, b, c = (made(tmp_path, id_, cpu_model=id_) for id_ in "abc")
    found = difference(ruled(a=("holds", None), b="it was not measured", c="too wide"), a, b, c)
    assert found == (
        "holds on a; not decided on b and c. Not measured on b: huge pages of 2 MiB and 1 GiB. Needed on c: more "
        "samples. With the verdict differ: CPU."
    )
    alone = difference(ruled(a=("holds", None), b="it was not measured"), a, b)
    assert alone == "holds on a; not decided on b. Not measured there: huge pages of 2 MiB and 1 GiB.", (
        "the machine has no part in it"
    )


def test_key_numbers_of_one_processor_have_a_range_and_the_chance_of_the_next(tmp_path: Path) -> None:
    a, b, c = (made(tmp_path, id_) for id_ in "abc")
    other = made(tmp_path, "d", cpu_model="Another")
    claim = ruled(
        a=("holds", (1.0, 3.0)), b=("holds", (2.0, 4.0)), c=("does not hold", (1.0, 1.5)), d=("holds", (8.0, 9.0))
    )
    matrix = claims.matrix([Evidence(data) for data in (a, b, c, other)], [claim])
    assert matrix.rows[0].between() == "1.25 to 3 in 3 campaigns, the next within with 50%"
    assert matrix.rows[0].between(3) is None, "one campaign on that processor"
    for text in (claims.text_matrix(matrix), claims.wide_matrix(matrix)):
        assert "1.25 to 3 in 3 campaigns" in " ".join(text.split())
    lines = claims.markdown_table([claims.find("hugetlb-already-works").verdict(Evidence(a))], matrix).splitlines()
    assert "| between campaigns on this processor |" in lines[0]
    assert "| – |" in lines[2], "a rule about states has no number"


def test_undecided_campaigns_have_no_range(tmp_path: Path) -> None:
    a, b = (made(tmp_path, id_) for id_ in "ab")
    (row,) = claims.matrix([Evidence(a), Evidence(b)], [ruled(a=("holds", (1.0, 3.0)), b="too wide")]).rows
    assert row.between() is None


def test_data_that_campaigns_share_count_once(tmp_path: Path) -> None:
    channel = campaign(tmp_path / "c", _both(CLEAR, "zeropage"), id_="channel-made-up")
    a, b, c = (made(tmp_path, id_) for id_ in ("a", "b", "without"))
    chosen = [claims.find("zeropage-covert-channel")]
    beside = {"channel": channel}
    (row,) = claims.matrix([Evidence(a, beside), Evidence(b, beside), Evidence(c)], chosen).rows
    assert row.cells()[1:] == ["as a", "not decided"]
    assert row.cells()[0].startswith("holds, ")
    assert (row.difference() or "").startswith("holds on channel-made-up; not decided on without. Not measured there")


def test_channels_measured_again_on_the_processor_are_compared_and_have_no_cell() -> None:
    reference = datasets.load(datasets.locate(None))
    chosen = [claims.find("zeropage-covert-channel"), claims.find("table-fill-slower")]
    matrix = claims.matrix([claims.evidence_of(reference)], chosen)
    channel, other = matrix.rows
    assert [data.id for data in matrix.repeats] == ["replication-channel-2026-11-28", "channel-2026-11-26"]
    assert (len(channel.cells()), len(channel.verdicts), len(other.verdicts)) == (1, 3, 1)
    assert "in 3 campaigns" in (channel.between() or "")
    assert sum("compared with those above" in line for line in matrix.machines()) == 2
    for text in (claims.text_matrix, claims.wide_matrix, claims.markdown_matrix):
        assert "replication-channel-2026-11-28" in " ".join(text(matrix).split())


def test_no_channel_is_compared_with_campaigns_that_have_none(tmp_path: Path) -> None:
    reference = datasets.load(datasets.locate(None))
    matrix = claims.matrix([Evidence(made(tmp_path, "a")), Evidence(reference)])
    assert matrix.repeats == ()


def test_two_campaigns_of_one_id_are_refused(tmp_path: Path) -> None:
    a = Evidence(made(tmp_path, "a"))
    with pytest.raises(UffdlabError, match="dataset 'a' is named twice"):
        claims.matrix([a, a])
    with pytest.raises(UffdlabError, match="no campaign to compare"):
        claims.matrix([])


# --- as text ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> claims.Matrix:
    a, b = made(tmp_path, "a", load_1min=0.5), made(tmp_path, "b", cpu_model="Another", mitigations={})
    chosen = [
        ruled(a=("holds", (1.0, 3.0)), b="too wide"),
        replace(ruled(a="too wide", b="too wide"), id="undecided"),
    ]
    return claims.matrix([Evidence(a), Evidence(b)], chosen)


def test_wide_table_has_a_column_per_campaign(two: claims.Matrix) -> None:
    table, differences, machines = claims.wide_matrix(two).split("\n\n")
    assert table.splitlines() == [
        "claim      a                  b",
        "made-up    holds, 2 (1 to 3)  not decided",
        "undecided  not decided        not decided",
    ]
    assert differences.splitlines()[0].startswith("made-up: holds on a; not decided on b.")
    assert differences.splitlines()[-1] == ("0 of 2 claims have the same verdict on all of them; 1 is decided on none.")
    assert machines.splitlines() == [
        "a · Linux 6.18.0-test · A CPU · THP madvise · mTHP unknown; made up for a test; load 0.5 at the start",
        "b · Linux 6.18.0-test · Another · THP madvise · mTHP unknown; made up for a test",
    ]


def test_stacked_text_fits_72_columns(two: claims.Matrix) -> None:
    lines = claims.text_matrix(two).splitlines()
    assert max(map(len, lines)) <= 72
    assert lines[:4] == [
        "made-up: A / B",
        "  a                           holds, 2 (1 to 3)",
        "  b                           not decided",
        "  differ: holds on a; not decided on b. Needed there: more samples. With",
    ]


def test_markdown_lists_decided_claims_and_why_they_differ(two: claims.Matrix) -> None:
    lines = claims.markdown_matrix(two).splitlines()
    assert lines[:4] == [
        "| claim | a | b |",
        "|---|---|---|",
        "| `made-up` | **holds**, 2 (1 to 3) | **not decided** |",
        "",
    ]
    assert any(line.startswith("- `made-up`: holds on a; ") for line in lines)


def test_mitigations_that_differ_are_named_once(tmp_path: Path) -> None:
    new = {"mitigations": {"mds": "Vulnerable", "srbds": "Not affected"}}
    a = made(tmp_path, "a", mitigations={"mds": "Not affected", "srbds": "Not affected"})
    several = [Evidence(data) for data in (a, made(tmp_path, "b", **new), made(tmp_path, "c", **new))]
    lines = list(claims.matrix(several, [ALREADY]).machines())
    assert lines[1].endswith("; mitigations unlike those of a: mds")
    assert lines[2].endswith("; mitigations as b")


# --- committed campaigns ----------------------------------------------------------------------------------------------


def test_the_notebook_shows_a_campaign_beside_the_committed_ones(tmp_path: Path) -> None:
    mine = dataset(tmp_path / "mine", states=hugetlb(False, True, HUGETLB), id_="mine")
    frame = notebook.matrix(mine, None, mine).frame
    committed = [path.name for path in datasets.campaigns()]
    assert list(frame.columns)[:-1] == ["claim", "mine", *committed]
    assert "between campaigns" in frame.columns[-1]
    row = frame[frame.claim == "hugetlb-already-works"].iloc[0]
    assert row.mine == "does not hold"
    assert {row[id_] for id_ in committed} == {"holds"}
