# SPDX-License-Identifier: MIT
"""The house keeps its shape: which room may import which, what every file begins with, what none may hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from running import PACKAGE_ROOT, environment

from uffdlab import datasets

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = PACKAGE_ROOT / "uffdlab"

# --- rooms and arrows ------------------------------------------------------------------------------------------------

ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "starting": set(),
    "outfile": {"errors"},
    "ownership": {"errors"},
    "vocabulary": set(),
    "rules": set(),
    "stats": {"errors"},
    "units": {"errors"},
    "native": {"errors", "starting"},
    "host": {"errors", "starting", "rules", "native"},
    "datasets": {"errors", "outfile"},
    "occupancy": {"errors", "starting", "units", "native", "host", "datasets"},
    "probes": {"errors", "starting", "vocabulary", "stats", "units", "native", "host", "occupancy"},
    "summaries": {"errors", "vocabulary", "stats", "datasets"},
    "measure": {
        "errors",
        "starting",
        "vocabulary",
        "stats",
        "units",
        "native",
        "host",
        "datasets",
        "probes",
        "summaries",
    },
    "sequences": {"errors", "vocabulary", "host", "datasets", "measure", "probes"},
    "sim": {"errors", "vocabulary", "stats", "units", "native", "datasets", "summaries"},
    "claims": {"errors", "vocabulary", "rules", "stats", "units", "datasets", "summaries", "sim"},
    "figures": {"vocabulary", "units", "datasets", "summaries", "sim"},
    "notebook": {"errors", "vocabulary", "stats", "units", "datasets", "summaries", "sim", "claims"},
    "widgets": {"errors", "vocabulary", "units", "native", "sim", "figures"},
    "report": {"errors", "starting", "outfile", "ownership", "native", "datasets", "widgets"},
    "cli": {
        "errors",
        "starting",
        "outfile",
        "ownership",
        "stats",
        "units",
        "host",
        "datasets",
        "occupancy",
        "summaries",
        "measure",
        "probes",
        "sequences",
        "sim",
        "claims",
        "report",
        "vocabulary",
    },
    "__main__": {"starting", "cli"},
    "__init__": set(),
}
Arrow = tuple[str, str, str]  # from, to, where


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported(path: Path, node: ast.AST) -> Iterator[str]:
    """Yield the full names a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = ["uffdlab", *path.relative_to(PACKAGE).parts[:-1]]
        base = package[: len(package) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        yield from (f"{module}.{alias.name}" for alias in node.names)


@cache
def _arrows() -> list[Arrow]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for name in _imported(path, node):
                parts = name.split(".")
                if parts[0] == "uffdlab" and len(parts) > 1 and parts[1] in ROOMS and parts[1] != _room(path):
                    line = getattr(node, "lineno", 0)
                    found.append((_room(path), parts[1], f"{path.relative_to(PACKAGE_ROOT)}:{line}"))
    return found


def test_every_room_is_on_the_table() -> None:
    rooms = {_room(path) for path in PACKAGE.rglob("*.py")}
    assert rooms == set(ROOMS)


def test_no_room_imports_a_room_outside_its_row() -> None:
    wrong = [f"{where} imports {to}: {room} may not" for room, to, where in _arrows() if to not in ROOMS[room]]
    assert wrong == []


def test_the_table_allows_nothing_that_no_room_does() -> None:
    used = {(room, to) for room, to, _ in _arrows()}
    assert {(room, to) for room, allowed in ROOMS.items() for to in allowed} == used


def test_contributing_shows_the_same_table() -> None:
    written: dict[str, set[str]] = {}
    for line in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall(r"`(\w+)/?`", cells[0])
        if len(cells) == 3 and set(names) & ROOMS.keys():
            written |= {name: set(re.findall(r"`(\w+)`", cells[2])) for name in names}
    basic = {"errors", "units", "vocabulary", "stats", "starting", "outfile"}
    assert {room: allowed for room, allowed in written.items() if room not in basic | {"cli"}} == {
        room: allowed for room, allowed in ROOMS.items() if room not in basic | {"cli", "__main__", "__init__"}
    }
    assert written.keys() == ROOMS.keys() - {"__main__", "__init__"}


HEAVY = ("pandas", "plotly", "numpy", "nbformat", "nbconvert", "rich", "IPython", "jinja2")


@pytest.mark.parametrize(
    "statement",
    [
        "import uffdlab",
        "import uffdlab.cli",
        "import contextlib, uffdlab.cli\nwith contextlib.suppress(SystemExit): uffdlab.cli.main(['--help'])",
        "import uffdlab.cli\nassert uffdlab.cli.main(['ask', '--recorded', 'protect; discard; write']) == 0",
    ],
)
def test_heavy_packages_are_imported_only_on_use(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint('loaded:', *sorted({set(HEAVY)!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"


# --- what every file holds, and what none may ------------------------------------------------------------------------

SOURCES = {".py", ".c", ".h", ".js", ".css"}
OURS = SOURCES | {".md", ".j2", ".toml"}
MAX_LINES = 500

FORBIDDEN = {
    "a place on somebody's machine": re.compile(r"/(?:root|work)/|/home/(?!user\b|carol\b)\w"),
    "a package registry": re.compile(r"pypi\.org|registry\.npmjs\.org|deb\.debian\.org"),
    "a number that only a tracker understands": re.compile(r"\b(?:issue|ticket|PR)\s*#"),
}


@cache
def _files() -> list[Path]:
    """Return what is, or is about to be, under version control."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return sorted(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file())


def _texts() -> Iterator[tuple[str, str]]:
    for path in _files():
        try:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_every_source_file_names_its_licence() -> None:
    lacking = [
        str(path.relative_to(ROOT))
        for path in _files()
        if path.suffix in SOURCES or path.name == "Makefile" or path.parent.name == ".ci"
        if "SPDX-License-Identifier: MIT" not in "\n".join(path.read_text(encoding="utf-8").splitlines()[:3])
    ]
    assert lacking == []


def test_no_file_is_too_long_to_read() -> None:
    counted = {name: text.count("\n") for name, text in _texts() if Path(name).suffix in OURS}
    assert {name: lines for name, lines in counted.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in _texts()
        for number, line in enumerate(text.splitlines(), 1)
        if FORBIDDEN[what].search(line)
    ]
    assert found == []


WAYS = {
    "another Python is started, a program looked for": (
        re.compile(r"sys\.executable|shutil\.which|\bwhich\(|os\.system\(|shell=True"),
        {"starting.py"},
    ),
    "a file is written": (
        re.compile(
            r"write_text|write_bytes|NamedTemporary|mkstemp|os\.replace|os\.rename|O_CREAT"
            r"""|open\([^)]*["'][wax]b?["']"""
        ),
        # One file; a directory that appears whole; what is appended to; settings' journal, in a closed directory; swap.
        {
            "outfile.py",
            "ownership.py",
            "datasets/files.py",
            "datasets/writing.py",
            "report/render.py",
            "measure/journal.py",
        }
        | {"host/settings.py", "host/exclusive.py", "host/swap.py"}
        | {"report/committed.py", "cli/streams.py"},  # a page for the browser, in a new directory; standard error
    ),
}


@pytest.mark.parametrize("what", WAYS)
def test_there_is_one_way_in_which(what: str) -> None:
    pattern, places = WAYS[what]
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert found <= places
    assert found >= places - {"cli/streams.py"}


# --- medians and ratios ----------------------------------------------------------------------------------------------

ANALYSIS = ("summaries", "claims", "notebook", "figures", "measure", "cli")


def _by_hand(node: ast.AST, names: dict[str, ast.expr]) -> str | None:
    """Return what only ``summaries/medians.py`` may do, where the node does it; ``names`` are those assigned to."""
    if isinstance(node, ast.Call):
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if function == "groupby" and node.args:
            by = _words(node.args[0], names)
            return "groups children" if "block" in by and "sample" not in by else None  # both together name a sample
        if function in ("ratio_interval", "ratio_of_children"):
            return "forms a ratio"
        return "selects warm samples" if function == "get" and "cold" in _words(node, names) else None
    if isinstance(node, ast.Compare | ast.UnaryOp):
        operands = [node.left, *node.comparators] if isinstance(node, ast.Compare) else [node.operand]
        cold = [one for one in operands if isinstance(one, ast.Attribute | ast.Subscript) and "cold" in _words(one, {})]
        return "selects warm samples" if cold else None
    return None


def _words(node: ast.AST, names: dict[str, ast.expr]) -> set[str]:
    """Return the strings, attributes and names in an expression, with those of the names assigned to in the module."""
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            found.add(part.value)
        elif isinstance(part, ast.Attribute):
            found.add(part.attr)
        elif isinstance(part, ast.Name) and part.id in names:
            found |= _words(names[part.id], {name: value for name, value in names.items() if name != part.id})
    return found


def _medians_by_hand(source: str) -> list[str]:
    tree = ast.parse(source)
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    names = {target.id: one.value for one in assigned for target in one.targets if isinstance(target, ast.Name)}
    return [f"{node.lineno} {why}" for node in ast.walk(tree) if (why := _by_hand(node, names))]  # type: ignore[attr-defined]


def test_warm_samples_children_and_ratios_are_formed_in_one_module() -> None:
    found = {
        str(path.relative_to(PACKAGE_ROOT)): _medians_by_hand(path.read_text(encoding="utf-8"))
        for room in ANALYSIS
        for path in sorted((PACKAGE / room).rglob("*.py"))
    }
    own = {name: lines for name, lines in found.items() if lines}
    assert own.pop("uffdlab/summaries/medians.py")
    assert own == {}


@pytest.mark.parametrize(
    "by_hand",
    [
        'KEYS = ["backing", "block"]\nrows.groupby(KEYS)',
        "values.groupby(rows.block)",
        'rows[~rows["cold"]]',
        "rows[rows.cold == False]",
        '[row for row in rows if not row.get("cold")]',
        "stats.ratio_interval(top, bottom)",
    ],
)
def test_a_median_formed_by_hand_is_found(by_hand: str) -> None:
    assert _medians_by_hand(by_hand)
    assert not _medians_by_hand('rows.groupby(["block", "sample"])\nrows.cold_ns > 0\nrows.groupby("backing")')


# Functions of claims, figures and notebooks that divide by what is neither a constant nor how many there are.
OWN_QUOTIENTS = {
    "claims/markers.py _times": "tables in KiB, which the simulator counts",
    "figures/histogram.py add_steps": "a bin's share of its histogram",
    "figures/style.py round_ticks": "where an axis has its ticks",
    "claims/trackers.py _crossing": "a place between two shares, which are settings",
    "figures/zeropages.py _shares": "memory as a share of the range's size, which is a setting",
    "notebook/channel.py _of_limit": "a capacity's share of its computed limit",
    "notebook/channel_rates.py channel_losses": "a rate's share of the slot's, and of its computed limit",
    "notebook/channel_rates.py channel_sentence": "a rate beside a published one",
    "notebook/channel.py channel_published": "a published time as a rate",
    "notebook/hugetlb.py entry_costs": "entries and tables of a GiB",
    "notebook/markers.py locks": "locks for each write, which the simulator counts",
    "notebook/thread.py _as_published": "published times, of which the thread has one each",
    "notebook/thread.py per_page_ns": "the time of one of the range's entries, whose number is a setting",
}


def _constant(node: ast.expr) -> bool:
    """Whether a divisor is a unit, a constant of the module, or the number of things."""
    if isinstance(node, ast.BinOp):
        return _constant(node.left) and _constant(node.right)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "len"
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return isinstance(node, ast.Constant) or name.isupper()


def _quotients(source: str) -> set[str]:
    """Return the functions, or the places outside of any, that divide by what is not constant."""
    tree, found = ast.parse(source), set()
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign):
            divisor = node.right if isinstance(node, ast.BinOp) else node.value
            divides = isinstance(node.op, ast.Div | ast.FloorDiv) and not _constant(divisor)
        else:
            called = node.func if isinstance(node, ast.Call) else None
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            divides = name in {"div", "rdiv", "divide", "truediv", "rtruediv", "floordiv"}
        if divides:
            line = node.lineno  # type: ignore[attr-defined]
            within = [one.name for one in functions if one.lineno <= line <= (one.end_lineno or 0)]
            found.add(within[-1] if within else str(line))
    return found


def test_claims_figures_and_notebooks_divide_no_medians() -> None:
    found = {
        f"{path.relative_to(PACKAGE)} {function}"
        for room in ("claims", "figures", "notebook")
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for function in _quotients(path.read_text(encoding="utf-8"))
    }
    assert found == OWN_QUOTIENTS.keys()


@pytest.mark.parametrize(
    "divided", ["top[child] / bottom[child]", "top /= bottom", "a.value // b.value", "top.div(bottom)", "1 / without"]
)
def test_a_quotient_formed_by_hand_is_found(divided: str) -> None:
    assert _quotients(f"def ratio():\n    {divided}") == {"ratio"}
    assert not _quotients("size / 1024 / (1 << 20)\nLEVEL / len(points)\n1 / SAME\nkib / units._KIB")


@pytest.mark.slow
@pytest.mark.parametrize("tool", [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)])
def test_lint_and_types(tool: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# --- versions --------------------------------------------------------------------------------------------------------

Bounds = dict[str, str]


def _bounds(requirements: list[str]) -> Bounds:
    return {canonicalize_name((r := Requirement(text)).name): str(r.specifier) for text in requirements}


def _project() -> dict[str, object]:
    project: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project


def _declared() -> Bounds:
    project = _project()["project"]
    assert isinstance(project, dict)
    return _bounds(project["dependencies"] + project["optional-dependencies"]["test"])


def test_the_conda_environment_holds_the_same_dependencies_and_bounds() -> None:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert listed["channels"] == ["conda-forge"]
    (pip,) = [entry["pip"] for entry in listed["dependencies"] if isinstance(entry, dict)]
    conda = _bounds([entry for entry in listed["dependencies"] if isinstance(entry, str)])
    assert "-e ." in pip
    project = _project()["project"]
    assert isinstance(project, dict)
    own = {"python": project["requires-python"], "c-compiler": "", "pip": ""}
    expected = _declared() | own
    found = conda | _bounds([entry for entry in pip if not entry.startswith("-")])
    different = {
        name: f"environment.yml has {found.get(name, 'nothing')!r}, pyproject.toml {expected.get(name, 'nothing')!r}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    }
    assert different == {}


def test_every_pinned_version_is_within_its_bounds() -> None:
    pins: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            pin = Requirement(line)
            pins.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier).removeprefix("=="))
    build = _project()["build-system"]
    assert isinstance(build, dict)
    for required in (_declared(), _bounds(build["requires"])):
        for name, bounds in required.items():
            assert name in pins, f"{name} is not pinned: make constraints"
            allowed = Requirement(name + bounds).specifier
            assert all(version in allowed for version in pins[name]), f"{name} {pins[name]} is outside {bounds}"


# --- recorded data ---------------------------------------------------------------------------------------------------


def test_recorded_data_stays_small() -> None:
    sizes = {path: path.stat().st_size for path in _files() if path.is_relative_to(ROOT / "data")}
    assert {str(path): size for path, size in sizes.items() if size > 5 << 20} == {}
    assert sum(sizes.values()) <= 40 << 20


def test_every_recorded_dataset_loads() -> None:
    found = datasets.find(ROOT / "data")
    assert found
    for path in found:
        assert datasets.load(path).tables
