# SPDX-License-Identifier: MIT
"""Widgets as Python sees them: what is moved, what is drawn, views as text, and what is refused."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uffdlab import sim, widgets
from uffdlab.errors import UffdlabError
from uffdlab.sim.decision import OBJECTIVES
from uffdlab.widgets import Choice, DesignExplorer, PageTableView, Slider, explore
from uffdlab.widgets.baking import BUDGET_BYTES, bake
from uffdlab.widgets.explore import BAKING


def line(slope: float, kind: str = "straight") -> go.Figure:
    return go.Figure(go.Scatter(x=[0, 1, 2], y=[0, slope, 2 * slope if kind == "straight" else 0], name=kind))


AXES: dict[str, Any] = {"slope": Slider(1, 5, grid=5), "kind": ["straight", "bent"]}


def patched(figure: Any, patch: list[Any]) -> Any:
    """Return a figure of a grid, as the page makes it of the first."""
    import copy

    made = copy.deepcopy(figure)
    for path, value in patch:
        place = made
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    return made


# --- explore: live ---------------------------------------------------------------------------------------------------


def test_moved_controls_redraw_the_function() -> None:
    shown = explore(line, AXES)
    assert shown.state == {"slope": 1.0, "kind": "straight"}
    assert shown.figure["data"][0]["y"] == [0, 1, 2]
    shown.move(slope=2.345, kind="bent")
    assert shown.figure["data"][0]["y"] == [0, 2.345, 0]
    assert shown.baked is None


def test_exception_of_the_function_is_shown_until_the_next_value() -> None:
    def fails(slope: float) -> go.Figure:
        if slope > 3:
            raise ValueError("too steep")
        return line(slope)

    shown = explore(fails, {"slope": Slider(1, 5)})
    shown.move(slope=4)
    assert shown.wrong == "ValueError: too steep"
    shown.move(slope=2)
    assert shown.wrong == ""
    assert shown.figure["data"][0]["y"] == [0, 2, 4]


def test_function_without_a_figure_is_refused() -> None:
    assert "not a plotly figure" in explore(lambda slope: 3, {"slope": Slider(1, 5)}).wrong  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ({"a": Slider(2, 1)}, "a: a slider goes from a number to a larger one"),
        ({"a": Slider(float("nan"), 1)}, "a: a slider goes from a number"),
        ({"a": Slider(0, 1, log=True)}, "a: a logarithmic slider begins above 0"),
        ({"a": Slider(0, 1, step=0)}, "a: its step is 0"),
        ({"a": Slider(0, 1, grid=1)}, "a: a page needs a grid of 2 values or more"),
        ({"a": Slider(0, 1, start=2)}, "a: 2 lies outside of 0 to 1"),
        ({"a": Slider(0, 1, grid=[0, 3])}, "a: 3 lies outside of 0 to 1"),
        ({"a": []}, "a: a choice is of different words"),
        ({"a": ["x", "x"]}, "a: a choice is of different words"),
        ({"a": Choice(["x"], start="y")}, "a: it cannot start at 'y'"),
    ],
)
def test_invalid_axes_are_refused(axes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UffdlabError, match="^" + sentence.replace("(", r"\(")):
        explore(lambda a: line(a), axes)


@pytest.mark.parametrize(
    ("moved", "sentence"),
    [
        ({"slope": 9}, "slope is 9, outside of 1 to 5"),
        ({"slope": "2"}, "slope is '2', and has to be a number"),
        ({"kind": "round"}, "kind is 'round', none of straight, bent"),
        ({"colour": "red"}, "unknown setting 'colour': choose one of"),
    ],
)
def test_invalid_change_is_refused_and_keeps_the_state(moved: dict[str, Any], sentence: str) -> None:
    shown = explore(line, AXES)
    with pytest.raises(UffdlabError, match=sentence):
        shown.move(**moved)
    assert shown.state == {"slope": 1.0, "kind": "straight"}


def test_a_grid_follows_its_slider() -> None:
    assert Slider(1, 1024, log=True, whole=True, grid=3).values() == [1, 32, 1024]
    assert Slider(0, 1, step=0.25, grid=9).values() == [0, 0.25, 0.5, 0.75, 1]


# --- explore: in a page ----------------------------------------------------------------------------------------------


@pytest.fixture
def baking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BAKING, "1")


@pytest.mark.usefixtures("baking")
def test_a_page_gets_every_figure_of_the_grid() -> None:
    shown = explore(line, AXES)
    assert shown.baked
    assert len(shown.baked["patches"]) == 10
    for i, slope in enumerate((1, 2, 3, 4, 5)):
        for j, kind in enumerate(("straight", "bent")):
            figure = patched(shown.baked["first"], shown.baked["patches"][f"{i},{j}"])
            assert figure["data"] == widgets.baking.as_json(line(float(slope), kind))["data"]


@pytest.mark.usefixtures("baking")
def test_a_point_that_fails_has_a_sentence_in_the_page() -> None:
    def fails(slope: float) -> go.Figure:
        if slope == 3:
            raise ValueError("not three")
        return line(slope)

    baked = explore(fails, {"slope": Slider(1, 5, grid=5)}).baked
    assert baked
    assert baked["patches"]["2"] == "ValueError: not three"


def test_a_grid_too_large_for_a_page_is_refused() -> None:
    def large(seed: float) -> go.Figure:
        return go.Figure(go.Scatter(y=[seed + i / 7 for i in range(3000)]))

    with pytest.raises(UffdlabError, match=r"^noise: its 20 figures take .* of a page, and 400 KiB are allowed"):
        bake(large, {"seed": list(range(20))}, "noise")
    assert BUDGET_BYTES == 400 << 10


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from("ab"), plain), st.dictionaries(st.sampled_from("ab"), plain))
def test_patches_make_one_figure_of_another(one: dict[str, Any], two: dict[str, Any]) -> None:
    first, second = {"data": [one], "layout": one}, {"data": [two], "layout": two}
    assert patched(first, list(widgets.baking._differences(first, second))) == second


# --- views -----------------------------------------------------------------------------------------------------------


def _moved() -> list[tuple[Any, Any]]:
    explored, fresh = explore(line, AXES), explore(line, AXES)
    explored.move(slope=2.5, kind="bent")
    designs = DesignExplorer(["pte_marker", "pmd_marker"])
    designs.move(span=1 << 40, populated=0.125, objective="mix", tab="map")
    tables = PageTableView("pte_marker")
    tables.do("protect", "write", page=77777)
    return [(explored, fresh), (designs, DesignExplorer()), (tables, PageTableView())]


def test_a_view_as_text_restores_what_was_moved() -> None:
    for moved, fresh in _moved():
        assert fresh.state != moved.state
        fresh.view = moved.view
        assert fresh.state == moved.state
        assert moved.view in repr(moved)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not a uffdlab view"),
        ("https://example.org", "is not a uffdlab view"),
        ("uffdlab:explore:e30", "a view of another widget"),
        ("uffdlab:page-tables:$$$", "this view is damaged"),
        ("uffdlab:page-tables:WzFd", "this view is damaged"),
        ("uffdlab:page-tables:e30", "has design, page and steps"),
    ],
)
def test_invalid_view_is_refused_in_python(text: str, sentence: str) -> None:
    tables = PageTableView()
    before = tables.state
    with pytest.raises(UffdlabError, match=sentence):
        tables.view = text
    assert tables.state == before


# --- design explorer -------------------------------------------------------------------------------------------------


def test_designs_are_compared_as_the_simulator_prices_them() -> None:
    explorer = DesignExplorer(["pte_marker", "pmd_marker"], span=1 << 40, populated=0.25, cluster=64, writes=5000)
    frame = explorer.frame().set_index("design")
    work = sim.Workload(1 << 40, 0.25, 64, writes=5000)
    for name in frame.index:
        found = sim.expect(name, work)
        cost = sim.load_costs().price(found.protect)
        row = frame.loc[name]
        assert (row.stop_ns, row.stop_ns_low, row.stop_ns_high) == (cost.value, cost.low, cost.high)
        assert row.tables_kib == found.tables_kib[2]
    explorer.move(costs="cold")
    assert explorer.frame().stop_ns_low.isna().all()


def test_design_of_the_reader_is_compared_by_its_name() -> None:
    mine = sim.named("pmd_marker").replace(name="mine", spread="huge page", thp=True, resolve="pmd")
    explorer = DesignExplorer([mine, "pmd_marker"])
    assert [one.name for one in explorer.chosen()] == ["mine", "pmd_marker"]
    explorer.move(designs=["mine", "composed", "", ""])
    assert [one.name for one in explorer.chosen()] == ["mine", "composed"]
    assert explorer.chosen()[1].packed() == mine.packed()


@pytest.mark.parametrize(
    ("moved", "sentence"),
    [
        ({"span": 3}, "not a multiple of 2 MiB"),
        ({"span": 32 << 40}, "not a multiple of 2 MiB up to 16 TiB"),
        ({"populated": float("nan")}, "finite numbers"),
        ({"populated": 1.5}, "populated fraction 1.5 is outside 0..1"),
        ({"cluster": 3}, "clusters are of a power of two"),
        ({"writes": -1}, "-1 writes are out of range"),
        ({"writes": 0.5}, "0.5 writes are out of range"),
        ({"designs": ["pte_marker"]}, "give 4 names"),
        ({"designs": ["cloud", "", "", ""]}, "unknown design 'cloud'"),
        ({"costs": "lukewarm"}, "unknown costs 'lukewarm'"),
        ({"objective": "beauty"}, "unknown objective 'beauty'"),
        ({"x": "writes", "y": "writes"}, "a map has two of"),
        ({"tab": "third"}, "unknown tab 'third'"),
        ({"weights": {"memory": 2}}, "weights are numbers"),
    ],
)
def test_design_explorer_refuses_invalid_values(moved: dict[str, Any], sentence: str) -> None:
    explorer = DesignExplorer()
    with pytest.raises(UffdlabError, match=sentence):
        explorer.move(**moved)
    if "designs" not in moved:
        with pytest.raises(UffdlabError, match=sentence):
            DesignExplorer(["pte_marker"], **moved)


@pytest.mark.parametrize("state", [{"a": 1}, {"designs": 3}])
def test_invalid_state_of_a_front_end_keeps_the_state(state: dict[str, Any]) -> None:
    explorer = DesignExplorer()
    before = explorer.state
    with pytest.raises(UffdlabError):
        explorer.set_state({"state": state})
    assert explorer.state == before


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"designs": [["pte_marker"], "", "", ""]}, "give 4 names"),
        ({"weights": 5}, "weights are numbers"),
        ({"composed": {"foo": 1}}, "a composed design has leaf"),
        ({"cluster": 1.5}, "clusters are of a power of two"),
        ({"objective": ["memory"]}, "are words"),
    ],
)
def test_states_of_the_wrong_kind_are_refused_in_a_sentence(changed: dict[str, Any], sentence: str) -> None:
    explorer = DesignExplorer()
    with pytest.raises(UffdlabError, match=sentence):
        explorer.state = explorer.state | changed


@pytest.mark.parametrize(
    "axis",
    [Slider(1 << 30, 1 << 40, log=True, format="size"), Slider(1 / 3, 1), Slider(0, 2 / 3), Slider(0, 11, step=4)],
)
def test_a_grid_stays_within_its_slider(axis: Slider) -> None:
    assert axis.values()[0] == axis.low
    assert axis.values()[-1] == axis.high
    assert explore(lambda a: line(a), {"a": axis}).wrong == ""


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: DesignExplorer([]), "0 designs: choose 1 to 4"),
        (lambda: DesignExplorer(["cloud"]), "unknown design 'cloud'"),
        (lambda: DesignExplorer(["pte_marker"] * 2), "have the same name"),
        (lambda: DesignExplorer(colour="red"), "unknown setting 'colour': choose one of"),
    ],
)
def test_an_explorer_refuses_designs_that_cannot_be_compared(make: Any, sentence: str) -> None:
    with pytest.raises(UffdlabError, match=sentence):
        make()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_map_has_the_cheapest_of_each_point(objective: str) -> None:
    explorer = DesignExplorer(["pte_marker", "pmd_marker", "preread"], objective=objective, x="writes", y="populated")
    frame = explorer.decision()
    assert len(frame) == 15 * 15
    assert set(frame.best) <= {"pte_marker", "pmd_marker", "preread"}
    assert (frame.ratio >= 0.999).all(), "the first of those that are equal stands for all"
    if objective == "stop time":
        nothing = frame[frame.populated == 0]
        assert set(nothing.best) == {"pmd_marker"}
        assert nothing.clear.all()


# --- page tables -----------------------------------------------------------------------------------------------------


def test_a_pmd_marker_spreads_under_the_cursor() -> None:
    tables = PageTableView("pmd_marker")
    tables.do("protect")
    assert {entry.kind for entry in tables.entries()[0]} == {"marker"}
    tables.do("write", page=3 * 512 + 5)
    assert tables.ledger()["spread_pmd"] == 1
    pmds, ptes = tables.entries()
    assert [i for i, entry in enumerate(pmds) if entry.level == "pte"] == [3]
    assert [entry.kind for entry in ptes].count("marker") == 511
    assert ptes[5].kind == "page"
    assert not ptes[5].protected


def test_protect_prefaults_as_the_design_does() -> None:
    tables = PageTableView("populate_read")
    tables.do("protect")
    assert {entry.kind for entry in tables.entries()[1]} == {"zeropage"}
    assert tables.ledger()["populated"] == 512 * 512


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PageTableView("cloud"), "unknown design 'cloud'"),
        (lambda: PageTableView("hugetlb_1g"), "map this range by one entry"),
        (lambda: PageTableView(steps=[("melt", 0)]), "is not one of protect, unprotect"),
        (lambda: PageTableView(page=512 * 512), "outside of 1 GiB"),
        (lambda: PageTableView(steps=[("read", 0)] * 201), "at most 200"),
    ],
)
def test_page_tables_refuse_invalid_arguments(make: Any, sentence: str) -> None:
    with pytest.raises(UffdlabError, match=sentence):
        make()
