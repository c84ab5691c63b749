# SPDX-License-Identifier: MIT
"""Markers that ask the host before a test runs, and what several test files share.

A test marked ``uffd`` or ``browser`` is skipped, with the reason, where the host cannot run it. Where it must be able
to (as in CI), ``UFFDLAB_REQUIRE=browser,uffd`` turns that skip into a failure with the same reason.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from handmade import make
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from making import opened
from running import environment
from widget_pages import NAMES, THREE, moved, written
from xdist.scheduler import LoadScopeScheduling

from uffdlab import starting
from uffdlab.errors import UffdlabError
from uffdlab.host import settings
from uffdlab.measure import campaign
from uffdlab.report import browser as chromium

ROOT = Path(__file__).resolve().parent.parent


def _why_no_tools() -> str | None:
    """Return why the scripts cannot be bundled here, or None."""
    if shutil.which("node") is None:
        return "node is missing: install nodejs and npm, then run 'npm ci'"
    return None if (ROOT / "node_modules" / "esbuild").is_dir() else "esbuild and biome are missing: run 'npm ci'"


REQUIRE = "UFFDLAB_REQUIRE"
SANITIZED = "UFFDLAB_SANITIZED"  # set by sanitized.py
WHY_NOT: dict[str, Callable[[], str | None]] = {
    "uffd": cache(campaign.why_impossible),
    "browser": cache(chromium.why_missing),
    "scripts": _why_no_tools,
}

# A busy machine is slow, and no example is wrong for that.
hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("patient")


def _required() -> list[str]:
    return [name for part in os.environ.get(REQUIRE, "").split(",") if (name := part.strip())]


def pytest_configure() -> None:
    if os.environ.get(SANITIZED):  # children keep PYTHONMALLOC, so that memory from Python has its red zones there too
        starting.OPTIONS = ("-P", "-s")
    unknown = [name for name in _required() if name not in WHY_NOT]
    if unknown:
        raise pytest.UsageError(f"{REQUIRE} names {', '.join(unknown)}; known are {', '.join(WHY_NOT)}")


# Tests that look at this machine as a whole, change its settings or need its CPUs: one after the other, in one worker.
WHOLE_MACHINE = ("host", "measure", "native", "occupancy", "probes")
WHOLE_MACHINE_FILES = (
    "test_command_line.py",
    "test_command_line_limits.py",
    "test_first_minutes.py",
    "test_scan_command.py",
    "test_sim_kernel.py",
    "test_starting.py",
    "test_this_machine.py",
    "test_unprivileged.py",
)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Give each worker whole files, and to one of them all that needs the whole machine."""

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.partition("::")[0])
        alone = path.parent.name in WHOLE_MACHINE or path.name in WHOLE_MACHINE_FILES
        return "the whole machine" if alone and path.parts[0] == "tests" else str(path)


@pytest.hookimpl(optionalhook=True)  # of xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Share the tests out so that none disturbs another."""
    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)  # before the fixtures that need what is asked for
def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, why_not in WHY_NOT.items():
        if item.get_closest_marker(name) is None:
            continue
        why = why_not()
        if why and name in _required():
            pytest.fail(f"{REQUIRE} asks for {name}: {why}", pytrace=False)
        if why:
            pytest.skip(why)


@pytest.fixture(scope="session")
def widgets_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page with the three widgets."""
    return written(tmp_path_factory.mktemp("widgets"), *THREE)


@pytest.fixture(scope="session")
def widgets_page(browser: Any, widgets_file: Path) -> Iterator[Any]:
    """Yield that page, open in a browser."""
    with opened(browser, widgets_file) as tab:
        yield tab


@pytest.fixture
def widgets_tab(widgets_page: Any) -> Iterator[Any]:
    """Yield that page; what a test moves is moved back."""
    before = {name: widgets_page.evaluate("name => uffdlabWidgets.modelOf(name).get('state')", name) for name in NAMES}
    yield widgets_page
    widgets_page.emulate_media(media="screen", color_scheme="light")
    widgets_page.set_viewport_size({"width": 1280, "height": 900})
    for name, state in before.items():
        moved(widgets_page, name, state)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Launch a Chromium, offline; for tests marked ``browser``."""
    with chromium.launched() as launched:
        yield launched


@pytest.fixture
def changeable_pool() -> None:
    """Skips where the pool of 2 MiB pages may not be changed."""
    unchangeable = settings.why_unchangeable("hugetlb_2048")
    if unchangeable:
        pytest.skip(f"the pool of 2 MiB pages may not be changed: {unchangeable}")


@pytest.fixture
def huge_pages(changeable_pool: None) -> Iterator[None]:
    """Two free huge pages of 2 MiB, given back at the end; skipped where they cannot be had."""
    with ExitStack() as stack:
        try:
            stack.enter_context(settings.changed({"hugetlb_2048": 2}, allow=True))
        except UffdlabError as error:
            pytest.skip(str(error))
        yield


# What uffdlab starts imports nothing from PYTHONPATH. So the commands that a test starts, and the process of the test
# itself, make their children run a module of the test's first.
_COMMAND = """
from uffdlab import starting
started = starting.python
starting.python = lambda module, *arguments: started("misbehaving_first", module, *arguments)
import misbehaviour
"""
_CHILD = """
import runpy, sys
import misbehaviour
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def child_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let every Python started from now on run ``code`` first: real children that misbehave as a test wants.

    A later call takes the place of the earlier one.
    """
    directory = tmp_path / "misbehaviour"
    started = starting.python

    def install(code: str) -> None:
        if not directory.exists():
            directory.mkdir()
            (directory / "sitecustomize.py").write_text(_COMMAND)
            (directory / "misbehaving_first.py").write_text(_CHILD)
            monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(directory), environment()["PYTHONPATH"]]))
            monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # code is replaced within the resolution of its time
            monkeypatch.setattr(sys, "dont_write_bytecode", True)
            monkeypatch.syspath_prepend(directory)
            monkeypatch.setattr(
                starting, "python", lambda module, *arguments: started("misbehaving_first", module, *arguments)
            )
        (directory / "misbehaviour.py").write_text(code)

    return install


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Make a small dataset; return its directory."""
    return make(tmp_path / "lab").path
