# SPDX-License-Identifier: MIT
"""The quick measurement of this machine that ``render`` draws over the reference.

It is in ``build/this-machine``, or if a user keeps other files there, in ``build/this-machine-2`` and so on.
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
from uffdlab.cli.claims import report_decisions
from uffdlab.cli.common import say
from uffdlab.errors import UffdlabError

if TYPE_CHECKING:
    from uffdlab.datasets import Dataset

PLACE = Path("build/this-machine")
TITLE = "uffdlab quick measurement, made by render"  # render replaces datasets with this title only
FRESH_H = 24
_SUITES = ("quick", "full")  # suites that measure what the pages draw
_ANEW = "--measure measures anew"


def measured(notices: list[str], *, anew: bool) -> Dataset | None:
    """Return the measurement of this machine: an existing one while it is fresh, or with ``anew`` a new one.

    Returns None and adds the reason to ``notices``, which the pages show, if nothing can be measured.
    """
    from uffdlab import datasets

    data = None if anew else _fresh()
    if data is None:
        datasets.check_out(PLACE.with_name(f"{PLACE.name}-new"))  # before measuring for a minute
        campaign = _measure(notices)
        data = datasets.load(_written(campaign)) if campaign else None
    if data is not None:
        report_decisions(data)
    return data


def _places() -> Iterator[Path]:
    yield PLACE
    yield from (PLACE.with_name(f"{PLACE.name}-{number}") for number in count(2))


# --- existing measurements -------------------------------------------------------------------------------------------


def _fresh() -> Dataset | None:
    """Return the first fresh measurement; print that it is drawn, or why one is not."""
    from uffdlab import datasets

    for place in _places():
        if not os.path.lexists(place):
            return None
        try:
            data = datasets.load(place)
        except UffdlabError:
            continue  # reported when a new measurement is written
        stale = _why_stale(data)
        if stale is None:
            say(f"{place} was measured here {_ago(_age_s(data))} ago, and nothing has changed since: drawn; {_ANEW}")
            return data
        say(f"{place} is not drawn: {stale}")
    return None


def _why_stale(data: Dataset) -> str | None:
    """Return why a dataset is not a fresh measurement of this machine; None if it is."""
    from uffdlab.host import facts
    from uffdlab.measure import journal

    then, age_s = data.provenance, _age_s(data)
    if data.kind != "measured" or then.get("suite") not in _SUITES or not len(data.tables.get("samples", ())):
        return "it is not a measurement of the quick or full suite"
    now = facts.collect()
    changed = journal.changes(then, now)
    if changed:
        return f"what has changed since it was measured: {'; '.join(changed)}"
    if then.get("uffdlab_dirty") or now["uffdlab_dirty"]:
        return "the package has uncommitted changes, so its version is unknown"
    if not 0 <= age_s < FRESH_H * 3600 or then.get("started_utc") not in _days():
        return f"it is older than {FRESH_H} hours"
    if age_s > time.clock_gettime(time.CLOCK_BOOTTIME):
        return "the machine was rebooted since it was measured"
    return None


def _age_s(data: Dataset) -> float:
    return time.time() - (data.path / "datapackage.json").stat().st_mtime


def _days() -> set[str]:
    """Return the UTC days on which a fresh measurement can have started."""
    return {time.strftime("%Y-%m-%d", time.gmtime(time.time() - hours * 3600)) for hours in (0, FRESH_H)}


def _ago(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


# --- a new measurement -----------------------------------------------------------------------------------------------


def _measure(notices: list[str]) -> Any:
    """Measure the quick suite; print why and return None if that fails."""
    from uffdlab.measure import suites

    seed = random.SystemRandom().randrange(1 << 31)
    try:
        measured = measure.run(suites.plan("quick", suites.probes_of("quick"), seed), "quick", seed, allow=False)
    except UffdlabError as error:
        notices.append(f"Nothing was measured on this machine: {error}")
        say(f"nothing was measured on this machine, the pages show recorded data only: {error}")
        return None
    if measured.measurements.interrupted:
        raise KeyboardInterrupt
    if not measured.measurements.tables.get("samples"):
        why = "; ".join(measured.reasons()[:1])
        notices.append(f"Nothing could be timed on this machine: {why}")
        say(f"nothing could be timed on this machine, the pages show recorded data only: {why}")
        return None
    return measured


def _written(measured: Any) -> Path:
    """Write the dataset to the first place that is free or holds one by render; return the place."""
    from uffdlab.measure import campaign

    for place in _places():
        try:
            why = ownership.why_kept(place, _names)
            if why:
                say(f"{place} is kept as it is: {why}")
                continue
            with ownership.replaced(place, _names) as stage:
                campaign.save(measured, stage, id_=place.name, title=TITLE)
        except OSError as error:
            raise UffdlabError(f"{place} cannot be written: {error.strerror or error}") from error
        measure.report_saved(measured, place)
        return place
    raise AssertionError("places never end")


def _names(place: Path) -> set[str]:
    """Return the files of a measurement that render made. Raises UffdlabError for anything else."""
    from uffdlab import datasets

    data = datasets.load(place)  # hashes and seal included
    if data.title != TITLE:
        raise UffdlabError(f"it holds {data.title!r}, which render did not make")
    return {"datapackage.json", *(f"{name}.csv" for name in data.tables)}
