# SPDX-License-Identifier: MIT
"""One word and one look for a thing, and no look for two."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

import uffdlab
from uffdlab import sim
from uffdlab.probes.schema import one_of
from uffdlab.vocabulary.backings import BACKINGS
from uffdlab.vocabulary.channel import ENDS
from uffdlab.vocabulary.designs import COMPOSED, DESIGNS, GLYPHS, OWN, STOCK
from uffdlab.vocabulary.entries import ENTRIES, HUGE_PAGE
from uffdlab.vocabulary.events import EVENTS
from uffdlab.vocabulary.looks import Look
from uffdlab.vocabulary.origins import ORIGINS
from uffdlab.vocabulary.threads import SHARING_LOOKS, THREADS
from uffdlab.vocabulary.tracking import METHODS

PACKAGE = Path(uffdlab.__file__).parent


def _looks() -> dict[str, Look]:
    """Return the look of every thing by what it is called."""
    found = {f"design: {one.short}": one.look for one in DESIGNS.values()}
    found |= {f"backing: {one.short}": one.look for one in BACKINGS.values()}
    found |= {f"entry: {one.title}": one.look for one in (*ENTRIES.values(), HUGE_PAGE)}
    found |= {f"threads: {title}": look for title, look in THREADS.values()}
    found |= {f"sharing: {title}": look for title, look in SHARING_LOOKS.values()}
    found |= {f"tracking: {title}": look for title, look in METHODS.values()}
    found |= {f"ends: {title}": look for title, look in ENDS.values()}
    return found | {f"origin: {title}": look for title, look in ORIGINS.items()}


# What an entry holds before a touch, and the design that put it there, look alike on purpose.
SAME = [
    {"design: nothing", "entry: nothing", "tracking: not tracked"},
    {"design: PTE markers, async", "tracking: PAGEMAP_SCAN (WP_ASYNC)"},
    {"design: PTE markers", "entry: marker, async"},
    {"design: MISSING|WP", "entry: MISSING|WP"},
]


def test_each_look_is_used_for_one_thing() -> None:
    by_look = defaultdict(set)
    for name, look in _looks().items():
        by_look[look.colour, look.symbol].add(name)
    assert [names for names in by_look.values() if len(names) > 1 and names not in SAME] == []


def test_titles_are_unique() -> None:
    for group in (DESIGNS, BACKINGS):
        assert (
            len({thing.short for thing in group.values()})
            == len({thing.title for thing in group.values()})
            == len(group)
        )


@pytest.mark.parametrize("look", _looks().values(), ids=_looks())
def test_measured_looks_are_filled_and_of_the_palette(look: Look) -> None:
    assert "open" not in look.symbol, "hollow is what was predicted"
    assert re.fullmatch("#[0-9A-F]{6}", look.colour)
    assert look.dash in ("solid", "dot", "dash", "longdash", "dashdot", "longdashdot")


def test_events_of_the_vocabulary_are_the_simulators() -> None:
    assert EVENTS.keys() <= set(sim.events())


def test_simulator_designs_equal_the_vocabulary() -> None:
    assert list(sim.DESIGNS) == [name for name, design in DESIGNS.items() if design.simulated is not None]
    for name, design in sim.DESIGNS.items():
        assert design.about == DESIGNS[name].about
        assert {key: getattr(design, key) for key in DESIGNS[name].simulated or ()} == DESIGNS[name].simulated


def test_stock_designs_are_the_measured_ones() -> None:
    assert list(STOCK) == ["unprotected", "preread", "populate_read", "pte_marker", "missing_wp", "async"]
    assert one_of("design", STOCK, "x")["constraints"]["enum"] == list(STOCK)


def test_every_simulated_look_has_a_glyph() -> None:
    simulated = [design.look for design in DESIGNS.values() if design.simulated is not None]
    assert {look.symbol for look in (*simulated, *OWN, COMPOSED)} == set(GLYPHS)


def test_figures_define_no_looks_of_designs() -> None:
    names = "|".join(DESIGNS)
    own = re.compile(rf"""["'](?:{names})["']:\s*\((?:style\.)?[A-Z]+,""")
    found = [path.name for path in (PACKAGE / "figures").glob("*.py") if own.search(path.read_text(encoding="utf-8"))]
    assert found == []
