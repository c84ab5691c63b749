# SPDX-License-Identifier: MIT
"""Widgets in a page that has no kernel and no network: what they compute equals Python, what is moved moves."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from widget_pages import (
    DESIGN,
    DESIGNS,
    EXPLORER,
    TABLES,
    curve,
    designs_are_equal,
    moved,
    plotted,
    random_designs,
    settled,
)

from uffdlab import sim
from uffdlab.errors import UffdlabError
from uffdlab.widgets import DesignExplorer, PageTableView

pytestmark = pytest.mark.browser

SEEDED = 20

TIE = "= a tie"


@pytest.fixture
def tab(widgets_tab: Any) -> Any:
    return widgets_tab


# --- what is computed equals Python ----------------------------------------------------------------------------------


def test_designs_are_drawn_as_python_prices_them(tab: Any) -> None:
    explorer = DesignExplorer(DESIGNS)
    start = explorer.state
    for seed in range(SEEDED):
        explorer.state = random_designs(seed, start)
        moved(tab, DESIGN, explorer.state)
        designs_are_equal(explorer, tab, DESIGN)


def test_the_map_is_drawn_as_python_decides(tab: Any) -> None:
    explorer = DesignExplorer(DESIGNS)
    start = explorer.state
    for seed in range(6):
        explorer.state = random_designs(100 + seed, start) | {
            "tab": "map",
            "x": "populated",
            "y": ("writes", "span")[seed % 2],
        }
        moved(tab, DESIGN, explorer.state)
        drawn = plotted(tab, DESIGN, 1)
        titles = {one["name"]: one for one in drawn}
        frame = explorer.decision()
        cells = {
            (cell[1], cell[3]): (name, shape == ("." if name == TIE else ""))
            for name, trace in titles.items()
            if trace["customdata"]
            for cell, shape in zip(trace["customdata"], trace["pattern"], strict=True)
        }
        names = {record["name"]: f"{record['glyph']} {record['title']}" for record in explorer.designs}
        x, y = (
            {"span": "span_bytes", "cluster": "cluster_pages"}.get(name, name)
            for name in (explorer.state["x"], explorer.state["y"])
        )
        expected = {
            (row[x], row[y]): (TIE if row["tie"] else names[row["best"]], row["clear"])
            for row in frame.to_dict("records")
        }
        assert cells == expected, seed


def test_order_of_designs_changes_the_legend_only(tab: Any) -> None:
    chosen = ["pte_marker", "pmd_marker", "pud_marker", "preread"]  # where all is populated, markers are a tie
    state = DesignExplorer(DESIGNS).state | {"tab": "map", "x": "populated", "y": "writes", "writes": 0}
    for objective in ("stop time", "total work", "memory", "mix"):
        seen = []
        for order in (chosen, chosen[::-1], [*chosen[2:], *chosen[:2]]):
            moved(tab, DESIGN, state | {"designs": order, "objective": objective})
            drawn = {one["name"]: one for one in plotted(tab, DESIGN, 1)}
            words = tab.locator(f"[data-model={DESIGN}] [role=tabpanel]:visible [role=status]").inner_text()
            seen.append((drawn, words))
        assert seen[0] == seen[1] == seen[2], objective
    assert TIE in seen[0][0]
    tie = seen[0][0][TIE]
    assert set(tie["pattern"]) <= {".", "x"}, "a look that no design has"
    assert all("are equally cheap" in text for text in tie["hovertext"])
    moved(tab, DESIGN, state | {"designs": chosen, "tab": "compare", "populated": 1.0})
    words = tab.locator(f"[data-model={DESIGN}] [role=status]").first.inner_text()
    moved(tab, DESIGN, state | {"designs": chosen[::-1], "tab": "compare", "populated": 1.0})
    assert tab.locator(f"[data-model={DESIGN}] [role=status]").first.inner_text() == words


def test_page_tables_are_drawn_as_python_has_them(tab: Any) -> None:
    known = [name for name, one in sim.DESIGNS.items() if one.leaf != "pud"]
    for seed in range(SEEDED):
        rng = random.Random(seed)
        view = PageTableView(rng.choice(known))
        for _ in range(rng.randint(0, 7)):
            view.do(rng.choice(("protect", "read", "write", "fill", "discard", "unprotect")), page=rng.randrange(2048))
        moved(tab, TABLES, view.state)
        pmds, ptes = view.entries()
        drawn = tab.evaluate(
            """name => [...document.querySelectorAll(`[data-model=${name}] .ul-table:not(.ul-pud) svg`)].map(
                 (drawing) => [...drawing.querySelectorAll("rect[class]:not(.cursor):not(pattern rect)")].map(
                   (cell) => cell.getAttribute("class")))""",
            TABLES,
        )
        assert drawn[0] == [_cell(one, "pmd") for one in pmds], seed
        below = any(one.level == "pte" for one in ptes)
        assert drawn[1] == ([_cell(one, "pte") for one in ptes] if below else ["absent"] * 512), seed
        counted = tab.locator(f"[data-model={TABLES}] .ul-numbers tbody tr").evaluate_all(
            """rows => Object.fromEntries(rows.map(
                 ({cells}) => [cells[0].textContent.replaceAll(" ", "_"), cells[1].textContent]))"""
        )
        ledger = view.ledger()
        assert {name: int(text.replace(",", "")) for name, text in counted.items()} == {
            name: ledger[name] for name in counted
        }


def _cell(entry: Any, level: str) -> str:
    if entry.level == level:
        return f"{entry.kind}{' protected' if entry.protected else ''}"
    return "table" if (level, entry.level) == ("pmd", "pte") else "absent"


def test_a_function_is_drawn_as_python_draws_it(tab: Any) -> None:
    for power in (1, 2, 3, 4, 5):
        for side in ("up", "down"):
            moved(tab, EXPLORER, {"power": power, "side": side})
            assert plotted(tab, EXPLORER)[0]["y"] == list(curve(power, side).data[0].y)


# --- every control does something ------------------------------------------------------------------------------------


def _drawn(tab: Any, name: str) -> str:
    """Return everything that a widget shows: figures, cells, sentences, numbers."""
    return str(
        tab.evaluate(
            """name => { const root = document.querySelector(`[data-model=${name}]`);
                 const plots = [...root.querySelectorAll(".js-plotly-plot")].filter((one) => one.offsetParent);
                 const arrays = ({data}) => data.map(({x, y, base, customdata}) => [x, y, base, customdata]);
                 const cells = [...root.querySelectorAll(".ul-table svg rect")];
                 const looks = cells.map((one) => ["class", "x", "y"].map((name) => one.getAttribute(name)));
                 return JSON.stringify([plots.map(arrays), looks]); }""",
            name,
        )
    )


def _changes(tab: Any, name: str, before: str, what: str) -> None:
    """Wait until a widget draws something else."""
    for _ in range(40):
        if _drawn(tab, name) != before:
            return
        settled(tab)
    pytest.fail(f"{what} changed nothing that is drawn")


@pytest.mark.parametrize("name", [EXPLORER, DESIGN, TABLES])
@pytest.mark.parametrize("how", ["keyboard", "mouse"])
def test_every_slider_changes_what_is_drawn(tab: Any, name: str, how: str) -> None:
    sliders = tab.locator(f"[data-model={name}] input[type=range]:visible")
    assert sliders.count() > 0
    start = tab.evaluate("name => uffdlabWidgets.modelOf(name).get('state')", name)
    if name == DESIGN:
        start |= {"populated": 0.01, "reads": 1000}
    for number in range(sliders.count()):
        moved(tab, name, start)
        slider = sliders.nth(number)
        before = _drawn(tab, name)
        if how == "keyboard":
            slider.focus()
            tab.keyboard.press(
                "Home"
                if slider.evaluate("one => one.valueAsNumber > (Number(one.min) + Number(one.max)) / 2")
                else "End"
            )
        else:
            box = slider.bounding_box()
            slider.click(position={"x": box["width"] * 0.2, "y": box["height"] / 2})
        _changes(tab, name, before, str(slider.get_attribute("id")))


def test_every_weight_and_axis_of_the_map_changes_it(tab: Any) -> None:
    state = DesignExplorer(DESIGNS).state
    state |= {"tab": "map", "objective": "mix", "weights": dict.fromkeys(state["weights"], 0)}
    for what in ("stop time", "total work", "memory of tables and pages", "slowest 1 % of later writes"):
        # With all weights 0 the first design stands for all: one that the weight does not favour.
        named = DESIGNS[::-1] if what.startswith("slowest") else DESIGNS
        moved(tab, DESIGN, state | {"designs": named})
        before = _drawn(tab, DESIGN)
        tab.get_by_label(f"Weight of {what}", exact=True).focus()
        tab.keyboard.press("End")
        _changes(tab, DESIGN, before, str(what))
    moved(tab, DESIGN, state | {"objective": "stop time"})
    for label, value in (("Across", "cluster"), ("Upwards", "span"), ("Cheapest by", "tail latency")):
        before = _drawn(tab, DESIGN)
        tab.get_by_label(label, exact=True).select_option(value)
        _changes(tab, DESIGN, before, str(label))


def test_map_over_the_populated_share_enables_the_cluster(tab: Any) -> None:
    state = DesignExplorer(DESIGNS).state
    cluster = tab.get_by_label("Populated cluster", exact=True)
    moved(tab, DESIGN, state)
    assert state["populated"] == 0
    assert cluster.is_disabled(), "nothing is populated"
    moved(tab, DESIGN, state | {"tab": "map", "x": "populated", "y": "writes"})
    before = _drawn(tab, DESIGN)
    cluster.focus()
    tab.keyboard.press("End")
    _changes(tab, DESIGN, before, "populated cluster")


def test_every_choice_of_a_design_changes_the_comparison(tab: Any) -> None:
    for label, value in {"Design 1": "missing_wp", "Design 4": "", "Costs": "cold"}.items():
        before = _drawn(tab, DESIGN)
        tab.get_by_label(label, exact=True).select_option(value)
        _changes(tab, DESIGN, before, label)


# Where a switch of a composed design does something, which others have to stand as they do.
SWITCHES = {
    "Prefault": ({}, "MADV_POPULATE_READ"),
    "Empty entries become": ({"spread": "next"}, "zeropage"),
    "Highest level": ({"spread": "next"}, "pte"),
    "A touch under a marker": ({}, "last"),
    "The VMA remembers": ({"spread": "next", "empty": "stays", "remembers": "true"}, "false"),
    "Registered for missing pages too": ({"spread": "next", "empty": "stays"}, "true"),
    "Asynchronous (no event)": ({"spread": "next"}, "true"),
    "Faults may map huge pages": ({}, "false"),
    "Reads may map the zeropage": ({}, "false"),
    "Reads may map the huge zeropage": ({}, "false"),
    "Huge entries deposit a PTE table": ({}, "false"),
    "A handler resolves, of a huge entry": ({"spread": "next"}, "pte"),
}


def test_every_switch_of_a_composed_design_changes_the_comparison(tab: Any) -> None:
    explorer = DesignExplorer(DESIGNS)
    assert set(SWITCHES) == {field["label"] for field in explorer.fields if field["label"]}
    state = explorer.state | {"populated": 0.3, "cluster": 8, "reads": 1000, "writes": 1000}
    state["designs"] = ["composed", "pte_marker", "", ""]
    moved(tab, DESIGN, state)
    tab.locator(f"[data-model={DESIGN}] .ul-compose summary").click()
    for label, (others, value) in SWITCHES.items():
        moved(tab, DESIGN, state | {"composed": state["composed"] | others})
        before = _drawn(tab, DESIGN)
        tab.get_by_label(label, exact=True).select_option(value)
        _changes(tab, DESIGN, before, label)
        assert not tab.locator(f"[data-model={DESIGN}] [role=alert]").is_visible(), label
    tab.locator(f"[data-model={DESIGN}] .ul-compose summary").click()


def test_contradictory_composed_design_raises_an_alert(tab: Any) -> None:
    state = DesignExplorer(DESIGNS).state
    moved(
        tab,
        DESIGN,
        state
        | {
            "designs": ["composed", "pte_marker", "", ""],
            "composed": state["composed"] | {"empty": "stays", "remembers": "true", "missing": "true"},
        },
    )
    assert "contradicts itself" in tab.locator(f"[data-model={DESIGN}] [role=alert]").inner_text()


def test_every_step_changes_the_tables_or_the_counters(tab: Any) -> None:
    view = PageTableView("pmd_marker")
    moved(tab, TABLES, view.state)
    for label in (
        "Protect all",
        "Read the page",
        "Write the page",
        "Write all of the 2 MiB",
        "Discard the 2 MiB",
        "Un-protect all",
        "Undo",
        "Begin again",
    ):
        before = tab.locator(f"[data-model={TABLES}]").inner_text()
        tab.get_by_role("button", name=label, exact=True).press("Enter")
        settled(tab)
        assert tab.locator(f"[data-model={TABLES}]").inner_text() != before, label


def test_a_click_in_the_map_goes_to_the_comparison(tab: Any) -> None:
    moved(tab, DESIGN, DesignExplorer(DESIGNS).state | {"tab": "map"})
    plot = tab.locator(f"[data-model={DESIGN}] .js-plotly-plot:visible")
    where = plot.locator(".nsewdrag").first
    box = where.bounding_box()
    at = {"x": box["width"] * 0.52, "y": box["height"] * 0.3}
    where.hover(position=at)
    tab.wait_for_timeout(300)
    where.click(position=at)
    settled(tab)
    state = tab.evaluate("name => uffdlabWidgets.modelOf(name).get('state')", DESIGN)
    assert state["tab"] == "compare"
    # Of 15 by 15 cells this is the eighth from the left, and the eleventh from below.
    assert (state["populated"], state["writes"]) == (7 / 14, round(2 ** (30 * 10 / 14)) - 1)


def test_sentence_names_the_design_with_the_shortest_stop(tab: Any) -> None:
    explorer = DesignExplorer(DESIGNS)
    sentence = tab.locator(f"[data-model={DESIGN}] [role=status]").first.inner_text()
    frame = explorer.frame()
    titles = {record["name"]: record["title"] for record in explorer.designs}
    quickest = titles[frame.design[frame.stop_ns.idxmin()]]
    assert f"Stop time: least with {quickest}" in sentence
    assert f"all work is never more with {quickest}" in sentence


def test_tied_designs_are_compared_with_the_next(tab: Any) -> None:
    moved(tab, DESIGN, DesignExplorer(DESIGNS).state | {"populated": 1.0})
    sentence = tab.locator(f"[data-model={DESIGN}] [role=status]").first.inner_text()
    for what in ("Stop time", "All work"):
        found = re.search(rf"{what}: the same with ([^;.]*)[;,].*? times as long with read loop", sentence)
        assert found, sentence
        assert "PMD markers" in found[1]
        assert "PUD markers" in found[1]


def test_break_even_within_the_interval_is_undecided(tab: Any) -> None:
    moved(tab, DESIGN, DesignExplorer(DESIGNS).state | {"designs": ["pmd_marker", "wp_zeropage", "", ""]})
    sentence = tab.locator(f"[data-model={DESIGN}] [role=status]").first.inner_text()
    assert re.search(r"Break-even: from .*, though nothing is decided\.", sentence), sentence


def test_bars_have_aria_labels(tab: Any) -> None:
    explorer = DesignExplorer(DESIGNS)
    moved(tab, DESIGN, explorer.state)
    labels = tab.locator(f"[data-model={DESIGN}] .bar").evaluate_all(
        "bars => bars.map((one) => one.getAttribute('aria-label'))"
    )
    assert [one.split(":")[0] for one in labels] == [explorer_title(explorer, name) for name in DESIGNS]
    for one in labels:
        assert sum(map(float, re.findall(r"([\d.]+) %", one))) == pytest.approx(100, abs=4)


def explorer_title(explorer: DesignExplorer, name: str) -> str:
    return next(str(record["title"]) for record in explorer.designs if record["name"] == name)


def test_break_even_equals_that_of_python(tab: Any) -> None:
    explorer = DesignExplorer(["pmd_marker", "pte_marker"])
    explorer.move(designs=["composed", "pte_marker", "", ""])  # a huge page for the first touch of each 2 MiB
    moved(tab, DESIGN, explorer.state)
    sentence = tab.locator(f"[data-model={DESIGN}] [role=status]").first.inner_text()
    found = re.search(r"Break-even: from ([\d,]+) to ([\d,]+) later writes, all work is more with composed", sentence)
    assert found, sentence
    begins, ends = (int(number.replace(",", "")) for number in found.groups())
    for writes, behind in ((begins * 0.97, False), (begins * 1.03, True), (ends * 0.97, True), (ends * 1.03, False)):
        explorer.move(writes=int(writes))
        work = explorer.frame().set_index("design").work_ns
        assert (work["composed"] > work["pte_marker"] * 1.001) == behind, (writes, sentence)


def test_sentence_names_designs_with_lost_writes(tab: Any) -> None:
    moved(tab, DESIGN, DesignExplorer(DESIGNS).state | {"designs": ["unprotected", "pte_marker", "", ""]})
    sentence = tab.locator(f"[data-model={DESIGN}] [role=status]").first.inner_text()
    assert "With nothing 1,000 writes are lost: no event is raised." in sentence


def test_origin_lists_unpriced_events(tab: Any) -> None:
    moved(tab, DESIGN, DesignExplorer(DESIGNS).state | {"designs": ["pmd_marker", "pte_marker", "", ""]})
    assert (
        "without a cost, for want of data: spread pmd" in tab.locator(f"[data-model={DESIGN}] small").first.inner_text()
    )


def test_map_lists_unpriced_events(tab: Any) -> None:
    state = DesignExplorer(DESIGNS).state | {"tab": "map", "designs": ["pmd_marker", "pud_marker", "", ""]}
    moved(tab, DESIGN, state | {"objective": "memory", "writes": 0})
    widget = tab.locator(f"[data-model={DESIGN}]")
    sentence = widget.locator("[role=tabpanel]:visible [role=status]").inner_text()
    assert "cheapest with PUD markers; nothing is added, and 64 KiB with PMD markers" in sentence
    moved(tab, DESIGN, state)
    assert "without a cost, for want of data: spread pmd" in widget.locator("small").nth(1).inner_text()


def test_misfit_cluster_raises_the_alert_of_python(tab: Any) -> None:
    explorer = DesignExplorer(DESIGNS, span=2 << 20, cluster=1024)
    moved(tab, DESIGN, explorer.state)
    with pytest.raises(UffdlabError) as refused:
        explorer.frame()
    assert tab.locator(f"[data-model={DESIGN}] [role=alert]").inner_text() == str(refused.value)


def test_a_map_of_one_design_asks_for_a_second(tab: Any) -> None:
    moved(tab, DESIGN, DesignExplorer(DESIGNS).state | {"designs": ["pmd_marker", "pmd_marker", "", ""], "tab": "map"})
    assert "choose a second one" in tab.locator(f"[data-model={DESIGN}] [role=alert]").inner_text()
    assert not tab.locator(f"[data-model={DESIGN}] .js-plotly-plot").nth(1).is_visible()
