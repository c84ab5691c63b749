# SPDX-License-Identifier: MIT
"""The copy of the checkout in which code is changed, and the tests run in it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "mutants"
COPIED = (
    "uffdlab", "tests", "data", "notebooks", "docs", "benchmarks", "setup.py", "pyproject.toml", "README.md",
    "CONTRIBUTING.md", "Makefile", "constraints.txt", "environment.yml", "LICENSE",
)  # fmt: skip
MOST_CPU_S, LONGEST_S = 200, 1800  # on a busy machine seconds of the clock say little
MOST_MEMORY = 2 << 30  # bytes: a mutant may ask for all there is


def copied(name: str) -> Path:
    """Copy the checkout, with the extensions that are built in it, to a directory of its own; return that."""
    copy = BUILD / name
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for one in COPIED:
        if (ROOT / one).is_dir():
            shutil.copytree(ROOT / one, copy / one, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / one, copy / one)
    return copy


def bundled(copy: Path) -> None:
    """Bundle the scripts of a copy again, with what ``make widgets`` installed in the checkout."""
    subprocess.run(["node", copy / "uffdlab/widgets/js/bundle.mjs", "uffdlab/widgets/assets"], cwd=copy, check=True)


def environment(copy: Path) -> dict[str, str]:
    """Return the environment in which Python takes the package, and the plugin beside this file, from a copy."""
    path = os.pathsep.join([str(copy), str(copy / "tests" / "mutants")])
    return os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def noticed(copy: Path, tests: Sequence[str], *options: str, most_cpu_s: int = MOST_CPU_S) -> bool:
    """Run tests in a copy; return whether one failed. A run that does not end is noticed as well.

    Raises RuntimeError where no test ran.
    """
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "unshrunk", "-p", "no:cacheprovider", *options, *tests]

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (most_cpu_s, most_cpu_s))
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))

    how: dict[str, Any] = {"cwd": copy, "env": environment(copy), "timeout": LONGEST_S, "preexec_fn": limited}
    try:
        done = subprocess.run(command, capture_output=True, text=True, **how)
    except subprocess.TimeoutExpired:
        return True
    # A crash ends pytest by a signal; 3 is an error within pytest itself, 2 one while tests were collected, 4 one while
    # their plugins were, or that no such test is there.
    collected = done.returncode == 4 and "while loading conftest" in done.stdout + done.stderr
    if done.returncode not in (0, 1, 2, 3) and done.returncode > 0 and not collected:
        raise RuntimeError(f"no test ran: {done.stdout}{done.stderr}")
    return done.returncode != 0


class Built:
    """An extension of a copy that is built again after one of its sources has changed."""

    def __init__(self, copy: Path, name: str) -> None:
        """Build it once, so that afterwards only what changed has to be compiled."""
        self._copy, self._objects = copy, copy / "build" / "objects" / name
        self._objects.mkdir(parents=True, exist_ok=True)
        (self._target,) = (copy / "uffdlab" / "native").glob(f"{name}.*.so")
        shown = [sys.executable, "-c", _HOW, name]
        done = subprocess.run(shown, cwd=copy, env=environment(copy), capture_output=True, text=True, check=True)
        self._flags, self._sources = json.loads(done.stdout.splitlines()[-1])
        for source in self._sources:
            if not self._compiled(copy / source, self._object(source)):
                raise RuntimeError(f"{source} does not compile unchanged")
        self._link()
        self._kept = self._target.read_bytes()

    def again(self, source: Path) -> bool:
        """Build with a changed source; return whether it compiles, and to other code than before."""
        name = str(source.relative_to(self._copy))
        changed = self._object(name).with_suffix(".changed.o")
        if not self._compiled(source, changed) or changed.read_bytes() == self._object(name).read_bytes():
            return False
        self._link({name: changed})
        return True

    def as_before(self) -> None:
        """Put the unchanged extension back."""
        self._target.write_bytes(self._kept)

    def _object(self, source: str) -> Path:
        return self._objects / f"{Path(source).stem}.o"

    def _compiled(self, source: Path, to: Path) -> bool:
        command = [*self._flags, "-c", str(source), "-o", str(to)]
        return subprocess.run(command, cwd=self._copy, capture_output=True).returncode == 0

    def _link(self, changed: Mapping[str, Path] = MappingProxyType({})) -> None:
        objects = [str(changed.get(source, self._object(source))) for source in self._sources]
        self._target.unlink(missing_ok=True)
        subprocess.run([self._flags[0], "-shared", *objects, "-lm", "-pthread", "-o", str(self._target)], check=True)


# Asks cffi how the extension is built, and has it write its part of the sources.
_HOW = """
import importlib, json, sys, sysconfig
name = sys.argv[1]
builder = importlib.import_module(f"uffdlab.native.{name[1:]}.build").ffibuilder
extension = builder.distutils_extension("build/objects")
macros = [f"-D{key}" if value is None else f"-D{key}={value}" for key, value in extension.define_macros]
include = [f"-I{one}" for one in (*extension.include_dirs, sysconfig.get_path("include"))]
limited = ["-DPy_LIMITED_API=0x03020000"] if extension.py_limited_api else []
print(json.dumps([["cc", "-fPIC", *extension.extra_compile_args, *macros, *limited, *include], extension.sources]))
"""
