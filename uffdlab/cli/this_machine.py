# SPDX-License-Identifier: MIT
"""This machine beside the reference: the quick measurement that ``render`` draws over the pages, and where it stands.

It stands in ``build/this-machine``, or where a reader keeps something there, in ``build/this-machine-2`` and so on.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uffdlab import ownership
from uffdlab.cli import measure
from uffdlab.cli.claims import say_what_is_decided
from uffdlab.cli.common import say
from uffdlab.errors import UffdlabError

if TYPE_CHECKING:
    from uffdlab.datasets import Dataset

PLACE = Path("build/this-machine")
TITLE = "uffdlab quick measurement, made by render"  # of what render may measure anew
FRESH_H = 24
_SUITES = ("quick", "full")  # that measure what the pages draw
_ANEW = "--measure measures anew"


def measured(notices: list[str], *, anew: bool) -> Dataset | None:
    """Return the measurement of this machine: the one that is there while it is fresh, unless it is wanted anew.

    Returns None, and adds to ``notices`` what stands on the pages instead, where nothing can be measured.
    """
    from uffdlab import datasets

    found = None if anew else _fresh()
    if found is None:
        datasets.check_out(PLACE.with_name(f"{PLACE.name}-new"))  # before a minute is spent on it
        campaign = _measure(notices)
        found = datasets.load(_written(campaign)) if campaign else None
    if found is not None:
        say_what_is_decided(found)
    return found


def _places() -> Iterator[Path]:
    yield PLACE
    yield from (PLACE.with_name(f"{PLACE.name}-{number}") for number in count(2))


# --- what is there ---------------------------------------------------------------------------------------------------


def _fresh() -> Dataset | None:
    """Return the first measurement there that is fresh; say that it is drawn, or why it is not."""
    from uffdlab import datasets

    for place in _places():
        if not os.path.lexists(place):
            return None
        try:
            found = datasets.load(place)
        except UffdlabError:
            continue  # what stands there instead is said when its place is needed
        stale = _why_stale(found)
        if stale is None:
            say(f"{place} was measured here {_ago(_age_s(found))} ago, and nothing has changed since: drawn; {_ANEW}")
            return found
        say(f"{place} is not drawn: {stale}")
    return None


def _why_stale(found: Dataset) -> str | None:
    """Return why a dataset is no fresh measurement of this machine, in words; None when it is one."""
    from uffdlab.host import facts
    from uffdlab.measure import journal

    then, age_s = found.provenance, _age_s(found)
    if found.kind != "measured" or then.get("suite") not in _SUITES or not len(found.tables.get("samples", ())):
        return "it is no quick measurement of a machine"
    now = facts.collect()
    changed = journal.changes(then, now)
    if changed:
        return f"what has changed since it was measured: {'; '.join(changed)}"
    if then.get("uffdlab_dirty") or now["uffdlab_dirty"]:
        return "the package has uncommitted changes, so that it cannot be told whether it is the same"
    if not 0 <= age_s < FRESH_H * 3600 or then.get("started_utc") not in _days():
        return f"it is older than {FRESH_H} hours"
    if age_s > time.clock_gettime(time.CLOCK_BOOTTIME):
        return "the machine was started anew since it was measured"
    return None


def _age_s(found: Dataset) -> float:
    return time.time() - (found.path / "datapackage.json").stat().st_mtime


def _days() -> set[str]:
    """Return the UTC days on which what is fresh can have begun."""
    return {time.strftime("%Y-%m-%d", time.gmtime(time.time() - hours * 3600)) for hours in (0, FRESH_H)}


def _ago(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


# --- what is measured ------------------------------------------------------------------------------------------------


def _measure(notices: list[str]) -> Any:
    """Measure the quick suite; None, with one line saying why, where that cannot be done."""
    from uffdlab.measure import suites

    seed = random.SystemRandom().randrange(1 << 31)
    try:
        found = measure.run(suites.plan("quick", suites.probes_of("quick"), seed), "quick", seed, allow=False)
    except UffdlabError as error:
        notices.append(f"Nothing was measured on this machine: {error}")
        say(f"nothing was measured on this machine, the pages show recorded data only: {error}")
        return None
    if found.measurements.interrupted:
        raise KeyboardInterrupt
    if not found.measurements.tables.get("samples"):
        why = "; ".join(found.reasons()[:1])
        notices.append(f"Nothing could be timed on this machine: {why}")
        say(f"nothing could be timed on this machine, the pages show recorded data only: {why}")
        return None
    return found


def _written(found: Any) -> Path:
    """Write it to the first place that nobody else uses, in place of what render measured there; return where."""
    from uffdlab.measure import campaign

    for place in _places():
        try:
            why = ownership.why_kept(place, _names)
            if why:
                say(f"{place} is kept as it is: {why}")
                continue
            with ownership.replaced(place, _names) as stage:
                campaign.save(found, stage, id_=place.name, title=TITLE)
        except OSError as error:
            raise UffdlabError(f"{place} cannot be written: {error.strerror or error}") from error
        measure.say_what_came(found, place)
        return place
    raise AssertionError("places never end")


def _names(place: Path) -> set[str]:
    """Return the files of a measurement that render made. Raises UffdlabError where it is another dataset, or none."""
    from uffdlab import datasets

    there = datasets.load(place)  # hashes and seal included
    if there.title != TITLE:
        raise UffdlabError(f"it holds {there.title!r}, which render did not make")
    return {"datapackage.json", *(f"{name}.csv" for name in there.tables)}
