# SPDX-License-Identifier: MIT
"""Snapshots, replays, recommendations and costs: the simulator as somebody uses it."""

from __future__ import annotations

import json
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import sentence, uffdlab_run
from synthetic_costs import EVENT, SURE, costs

from uffdlab import claims, datasets, sim
from uffdlab.claims import Evidence, spreading
from uffdlab.datasets.bitmap import Bitmap, Mapping
from uffdlab.errors import UffdlabError
from uffdlab.sim import DESIGNS, Costs, Snapshot, Workload, events, run_snapshot
from uffdlab.sim.fitting import fit
from uffdlab.sim.measured import Phase
from uffdlab.sim.replay import IMAGINED, TODAY

GIB = 1 << 30


# --- snapshots -------------------------------------------------------------------------------------------------------


def test_saver_faults_markers_once_unless_it_skips_holes() -> None:
    memory = Workload(64 << 20, populated=0.25, seed=3)
    everything = run_snapshot(DESIGNS["pte_marker"], Snapshot(memory, "reads everything"))
    skipping = run_snapshot(DESIGNS["pte_marker"], Snapshot(memory, "skips holes"))
    assert everything.running["faults_marker"] == everything.stop["markers_pte"]
    assert skipping.running["faults_marker"] == 0
    assert everything.moments[-1].saved_kib == 64 << 10
    assert skipping.moments[-1].saved_kib == skipping.stop["protected_pte"] * 4


@pytest.mark.parametrize("name", [name for name in DESIGNS if not name.startswith("hugetlb") and name != "unprotected"])
def test_snapshot_loses_no_guest_write(name: str) -> None:
    story = run_snapshot(DESIGNS[name], Snapshot(Workload(32 << 20, 0.3), guest_writes_per_s=50_000, bytes_per_s=1e8))
    assert story.running["lost_writes"] == 0
    assert story.running["events_wp"] + story.running["events_missing"] > 0
    passed = [moment.passed for moment in story.moments]
    assert passed == sorted(passed)
    assert passed[-1] == 1


@pytest.mark.parametrize("name", [name for name in DESIGNS if name != "unprotected"])
@pytest.mark.parametrize("writes", [0, 40_000])
def test_snapshot_saves_each_page_once(name: str, writes: float) -> None:
    span = {"pte": 64 << 20, "pmd": 128 << 20, "pud": 4 << 30}[DESIGNS[name].leaf]
    story = run_snapshot(DESIGNS[name], Snapshot(Workload(span, 1.0), guest_writes_per_s=writes, bytes_per_s=span * 2))
    left = story.moments[-1].saved_kib - (span >> 10)
    assert left == 0, "a page that a handler saved is not read again, and none is left out"


def test_reported_free_pages_raise_false_events_only_under_protect_on_fault() -> None:
    snapshot = Snapshot(
        Workload(64 << 20, 1.0), guest_writes_per_s=30_000, bytes_per_s=5e7, reports_per_s=20, report_pages=512
    )
    running = {name: run_snapshot(DESIGNS[name], snapshot).running for name in ("pte_marker", "protect_on_fault")}
    assert all(one["pages_freed"] > 0 and one["lost_writes"] == 0 for one in running.values())
    assert running["pte_marker"]["false_events"] == 0
    assert running["protect_on_fault"]["false_events"] > 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"saver": "sleeps"}, "unknown saver 'sleeps'"),
        ({"reports_per_s": -1}, "-1 reports of 512 pages a second: expected 0 to 1e12 reports"),
        ({"guest_writes_per_s": -1}, "guest writes per second is -1: expected 0 to 1e12"),
        ({"guest_writes_per_s": 1e11}, "would take more than an hour to simulate"),
        ({"piece_pages": 3}, "1 or 512 pages by an ioctl, not 3"),
        ({"bytes_per_s": 0}, "bandwidth is 0 B/s: expected more than 0"),
    ],
)
def test_invalid_snapshot_raises(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UffdlabError) as caught:
        Snapshot(Workload(), **wrong)
    assert said in str(caught.value)


# --- replaying -------------------------------------------------------------------------------------------------------


def advice(bitmap: Bitmap, objective: Any, priced: Costs, designs: tuple[str, ...] = (*TODAY, *IMAGINED)) -> str:
    return sim.recommendation(sim.ranked(sim.replays(bitmap, designs), objective, priced), objective, priced)


def recorded(kind: str = "anon", page_bytes: int = 4096) -> Bitmap:
    """Return 64 MiB: a quarter present, a quarter zeropages, the rest untouched."""
    runs = array("Q", [4096 << 2 | 2, 4096 << 2 | 1, 8192 << 2 | 0])
    return Bitmap(4096, 4096, True, (Mapping(kind, 0, 64 << 20, page_bytes, False, True, runs),))


def test_replay_marks_holes_and_protects_present_pages() -> None:
    found = sim.replay(recorded(), DESIGNS["pte_marker"])
    assert found.protect["markers_pte"] == 8192
    assert (found.protect["protected_pte"], found.protect["protected_zero"]) == (4096, 4096)
    assert found.added_tables_kib == 16 * 4
    assert found.added_pages_kib == 0


def test_replay_adapts_design_to_shmem_and_hugetlb() -> None:
    shmem = sim.replay(recorded("shmem"), DESIGNS["preread"])
    assert shmem.added_pages_kib == 32 << 10, "reading a hole of shmem fills it"
    huge = sim.replay(recorded("hugetlb", 2 << 20), DESIGNS["pte_marker"])
    assert huge.protect["markers_pmd"] == 16


def test_recommendation_names_the_cheapest_design_first() -> None:
    ranked = sim.ranked(sim.replays(recorded()), "stop time", costs(markers_pte=1, traps=100, faults_empty=100))
    values = [one.cost.value for one in ranked]
    assert values == sorted(values)
    assert advice(recorded(), "stop time", costs(markers_pte=1, traps=100, faults_empty=100)) == (
        "stop time: missing_wp (0 ns); not distinguishable from pte_marker (8.19 µs); no hypothetical design would be "
        "better"
    )
    memory = advice(recorded(), "memory", costs())
    assert memory.startswith("memory: missing_wp (0 B); then preread (64 KiB)")
    with pytest.raises(UffdlabError, match="unknown objective 'beauty'"):
        sim.ranked(sim.replays(recorded()), "beauty", costs())  # type: ignore[arg-type]


@pytest.mark.parametrize("populated", [0.0, 0.5, 0.875, 1.0])
@pytest.mark.parametrize("designs", [("preread", "pte_marker"), ("pte_marker", "missing_wp"), TODAY])
def test_recommendation_agrees_with_df_decision(designs: tuple[str, ...], populated: float) -> None:
    priced, written = sim.load_costs(), round(populated * 65536)
    runs = array("Q", [count << 2 | state for count, state in ((written, 2), (65536 - written, 0)) if count])
    bitmap = Bitmap(4096, 4096, True, (Mapping("anon", 0, 256 << 20, 4096, False, True, runs),))
    x, y = ("populated", [populated]), ("cluster_pages", [8192])
    [point] = sim.df_decision(priced, "stop time", designs, Workload(256 << 20), x, y).to_dict("records")
    text = advice(bitmap, "stop time", priced, designs)
    assert text.startswith(f"stop time: {point['ties']} {'are equally cheap ' if point['tie'] else ''}(")
    others = set(designs) - set(point["ties"].split(", "))
    assert (f"; then {point['second']} " in text) is point["clear"]
    assert (f"; not distinguishable from {point['second']} " in text) is (bool(others) and not point["clear"])


# --- costs -----------------------------------------------------------------------------------------------------------


def test_invalid_costs_raise() -> None:
    with pytest.raises(UffdlabError, match="costs 'thin' lack reads, "):
        Costs("thin", "ns", {})
    with pytest.raises(UffdlabError, match="cost of event 'traps' is -1: expected a number from 0 to 1e"):
        costs(traps=-1)


def test_costs_in_another_unit_raise() -> None:
    with pytest.raises(UffdlabError, match="costs 'made-up' are in ns, not in instructions"):
        costs().in_unit("instructions")


def test_price_sums_events_and_interval_holds_prediction_error() -> None:
    ledger = dict.fromkeys(events(), 0) | {"traps": 10, "pages": 2}
    known = costs(traps=100, pages=1000)
    sure = replace(known, draws=(known.vector,) * 20, p95_error=0.5)
    assert known.price(ledger).value == 3000
    assert not known.price(ledger).known
    found = sure.price(ledger)
    assert (found.low, found.high) == (2000, 4500)
    assert sure.ratio(ledger, ledger).value == 1


def test_fit_recovers_costs_from_synthetic_times() -> None:
    true = dict.fromkeys(events(), 0.0) | {"traps": 300.0, "faults_empty": 200.0, "pages": 400.0, "tables_pte": 600.0}
    found = []
    for stride in (1, 2, 16, 512, 4096):
        for write in (False, True):
            memory = sim.Range(DESIGNS["unprotected"], GIB, touches=1 << 19)
            memory.touch_stride(stride, write=write)
            ledger = memory.ledger()
            ns = sum(ledger[name] * true[name] for name in events())
            found.append(Phase(f"{stride} {write}", ledger, (ns,) * 7, (), False, {}))
    fitted = fit(found, draws=3)
    touch = fitted.costs["traps"] + fitted.costs["faults_empty"] + fitted.costs["reads"]
    assert touch == pytest.approx(500, rel=0.01), "a trap and a fault always come together: their sum is known"
    assert fitted.costs["pages"] + fitted.costs["writes"] - fitted.costs["reads"] == pytest.approx(400, rel=0.01)
    assert fitted.costs["tables_pte"] == pytest.approx(600, rel=0.01)
    assert "counted together with" in " ".join(fitted.status.values())
    assert fitted.status["markers_pud"] == "not in the data"
    assert np.isfinite(fitted.condition)


@pytest.fixture(scope="module")
def committed() -> datasets.Dataset:
    return datasets.load(datasets.locate("costs-"))


def test_committed_costs_have_both_validations(committed: datasets.Dataset) -> None:
    found = sim.costs_of(committed)
    assert found.unit == "ns"
    assert len(found.draws) == 200
    assert 0 < found.median_error < found.p95_error < 2
    checks, ratios = sim.df_checks(committed), sim.df_ratios(committed)
    assert {"fitted", "unseen", "elsewhere", "trial"} == set(checks.part)
    assert found.elsewhere
    assert len({source["title"] for source in committed.sources}) == 3, "fitted, widened and tried on different ones"
    for some, inside in ((checks, checks.measured_ns.between(checks.low, checks.high)), (ratios, ratios.inside)):
        here = inside[some.part == "elsewhere"].astype("float64")
        assert here.mean() >= 0.945, "intervals hold 95 % of the campaign that widens them"


def test_the_error_of_ratios_widens_ratios_alone(committed: datasets.Dataset) -> None:
    known = sim.costs_of(committed)
    wide = replace(known, ratio_p95_error=known.error_of_ratios * 10)
    protect, more = sim.run("pte_marker", Workload(1 << 30)).protect, sim.run("pmd_marker", Workload(1 << 30)).protect
    assert wide.price(protect) == known.price(protect)
    narrow, widened = (costs.ratio(protect, more) for costs in (known, wide))
    assert widened.value == narrow.value
    assert widened.low < narrow.low < narrow.high < widened.high  # type: ignore[operator]
    assert replace(known, ratio_p95_error=None).error_of_ratios == known.p95_error


def test_calibrated_ledgers_equal_kernel_counts(committed: datasets.Dataset) -> None:
    """Exactly, but for what the process does besides: a handler's stack (a fault or two, and a page), and the table
    above a range, which it may share with its neighbours or, where it is not aligned, need twice.
    """
    counts = sim.df_counts(committed)
    assert len(counts) > 400
    off = counts.counted.astype(float) - counts.predicted.astype(float)
    lowest = counts.what.map({"faults": 0, "tables_kib": -4, "filled_kib": 0})
    highest = counts.what.map({"faults": 1, "tables_kib": 8, "filled_kib": 0})
    handled = counts.phase.str.contains("(event)", regex=False)
    highest += handled * counts.what.map({"faults": 1, "tables_kib": 0, "filled_kib": 4})
    wrong = counts[(off < lowest) | (off > highest)]
    assert wrong.empty, wrong.to_string()
    assert counts.equal.mean() > 0.9


# --- the command line ------------------------------------------------------------------------------------------------


def sim_stdout(*arguments: str, cwd: Path) -> str:
    done = uffdlab_run("sim", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_cli_lists_designs(tmp_path: Path) -> None:
    listed = sim_stdout("--list", cwd=tmp_path)
    assert all(name in listed for name in DESIGNS)


def test_cli_writes_run_as_json(tmp_path: Path) -> None:
    run = ["--design", "pmd_marker", "--span", "4GiB", "--populated", "0.3", "--cluster", "64", "--writes", "1e4"]
    written = json.loads(sim_stdout(*run, "--json", cwd=tmp_path))
    assert written["phases"]["touches"]["ledger"]["writes"] == 10_000
    assert written["exact"] is True
    protect = written["phases"]["protect"]
    assert protect["ns_low"] < protect["ns"] < protect["ns_high"]
    assert json.loads(sim_stdout(*run, "--expected", "--json", cwd=tmp_path))["exact"] is False


def test_cli_writes_run_as_text(tmp_path: Path) -> None:
    huge = ("--set", "spread=huge page", "--set", "resolve=pmd")
    written = sim_stdout("--design", "pmd_marker", *huge, "--writes", "1000", cwd=tmp_path)
    assert "huge_pages" in written
    assert "on a campaign that took no part in fitting or in widening the intervals, predictions were off by" in written


BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in {blocked}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())
"""
RUN = ("--design", "pud_marker", "--span", "4GiB", "--writes", "1000", "--json")


def test_webassembly_replaces_missing_extension(tmp_path: Path, child_code: Any) -> None:
    pytest.importorskip("wasmtime")
    built = sim_stdout(*RUN, cwd=tmp_path)
    child_code(BLOCK.format(blocked=("uffdlab.native._sim",)))
    assert sim_stdout(*RUN, cwd=tmp_path) == built


def test_no_core_names_what_to_install(tmp_path: Path, child_code: Any) -> None:
    child_code(BLOCK.format(blocked=("uffdlab.native._sim", "wasmtime")))
    said = sentence(uffdlab_run("sim", *RUN, cwd=tmp_path))
    assert "the simulator was not built, and its WebAssembly has nothing to run it" in said
    assert "pte_marker" in sim_stdout("--list", cwd=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a --design"),
        (["--design", "magic"], "unknown design 'magic': choose one of unprotected, preread"),
        (["--design", "pte_marker", "--span", "0"], "span 0 B"),
        (["--design", "pte_marker", "--span", "32TiB"], "goes up to 16 TiB"),
        (["--design", "pte_marker", "--populated", "2"], "--populated '2' is not a number from 0 to 1"),
        (["--design", "pte_marker", "--populated", "nan"], "--populated 'nan' is not a number from 0 to 1"),
        (["--design", "pte_marker", "--writes", "many"], "--writes 'many' is not a whole number"),
        (["--design", "pte_marker", "--writes", "1.5"], "--writes '1.5' is not a whole number"),
        (["--design", "pte_marker", "--set", "level"], "--set 'level' is not FIELD=VALUE"),
        (["--design", "pte_marker", "--set", "level=p4d"], "level is 'p4d', not one of pte, pmd, pud"),
        (["--design", "pte_marker", "--costs", "published"], "has no table 'costs'"),
        (["--calibrate", "published"], "name a new directory with --out"),
        (["--design", "pte_marker", "--widen-on", "reference"], "belong to --calibrate"),
        (["--calibrate", "reference-", "--try-on", "reference-", "--out", "x"], "name each dataset once"),
    ],
)
def test_cli_reports_bad_input_in_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in sentence(uffdlab_run("sim", *arguments, cwd=tmp_path))


def test_calibrating_dataset_without_times_raises(tmp_path: Path) -> None:
    refused = sentence(uffdlab_run("sim", "--calibrate", "published", "--out", tmp_path / "x", cwd=tmp_path))
    assert "no times to fit costs on and to validate them on" in refused
    assert not (tmp_path / "x").exists()


# --- the claim -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("some", "error", "verdict"),
    [
        # Spreading is dear in the fault, and what is spread costs as much as what was marked at once.
        (EVENT | SURE | {"markers_pte": 20.0}, 0.1, "not decided"),
        # One marker per 2 MiB costs more than all that it spares: then all work is more as well.
        (EVENT | SURE | {"markers_pte": 20.0, "markers_pmd": 50_000.0}, 0.1, "predicted to hold"),
        # To visit PTEs costs more than to spread: then all work is less.
        (EVENT | SURE | {"markers_pte": 20.0, "visited_pte": 50.0}, 0.1, "predicted not to hold"),
        # What an event costs hides the spreading.
        (EVENT | {"markers_pte": 0.1}, 0.1, "predicted not to hold"),
        (EVENT | SURE | {"markers_pte": 1.0}, 0.1, "predicted not to hold"),
        (EVENT | SURE | {"markers_pte": 20.0, "markers_pmd": 50_000.0}, 300.0, "not decided"),
    ],
)
def test_spreading_verdict_follows_costs(some: dict[str, float], error: float, verdict: str) -> None:
    known = costs(**some)
    sure = replace(known, draws=(known.vector,) * 20, p95_error=error)
    given = Evidence(datasets.load(datasets.locate("published")))
    found = spreading.decided(given, sure, claims.find("spread-cost-later"))
    assert found.verdict == verdict


def test_break_even_is_the_condition_of_dearer_later_faults() -> None:
    # PMD markers spare a little when protecting, and cost more than that when each is spread.
    known = costs(**EVENT, **SURE, markers_pte=20.0, visited_pte=0.1, spread_pmd=500.0)
    sure = replace(known, draws=(known.vector,) * 20, p95_error=0.1)
    given = Evidence(datasets.load(datasets.locate("published")))
    found = spreading.decided(given, sure, claims.find("spread-cost-later"))
    assert found.verdict == "predicted to hold"
    even = spreading.break_even(known)
    assert even is not None
    assert even[0] == pytest.approx(0.963, abs=0.001)
    assert found.condition == f"more than {even[0]:.1%} of all 2 MiB are written later"


def test_where_the_work_breaks_even() -> None:
    # PTE: 512 markers for each 2 MiB at once. PMD: one marker, the same 512 when written, and what the spreading costs.
    known = costs(markers_pte=1.0, markers_pmd=1.0, spread_pmd=511.0)
    assert spreading.break_even(known) == (pytest.approx(0.5, abs=0.002), False), "costs without draws"
    assert spreading.break_even(costs(markers_pte=1.0)) is None, "the same in the end"
    assert spreading.break_even(costs(traps=1.0)) is None
    assert spreading.break_even(costs(markers_pmd=1.0)) == (0, False), "dearer from the start"


def test_scan_ranks_designs_by_objective(tmp_path: Path) -> None:
    done = uffdlab_run("scan", "--self", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    advice = json.loads(done.stdout)["advice"]
    assert [one["objective"] for one in advice] == ["stop time", "total work", "memory"]
    assert {one["unit"] for one in advice} == {"ns", "KiB"}
    values = [one["value"] for one in advice[0]["designs"]]
    assert values == sorted(values)
    assert {one["today"] for one in advice[0]["designs"]} == {True, False}
