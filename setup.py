# SPDX-License-Identifier: MIT
"""Adds what pyproject.toml cannot say: two C extensions, both optional (the probes on Linux only), and the commit.

A wheel has no checkout to ask, and a dataset says which commit measured it: the wheel brings it along.
"""

import json
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PROBE = ["uffdlab/native/probe/build.py:ffibuilder"] if sys.platform == "linux" else []


class BuildWithCommit(build_py):
    """Writes the commit of a clean or changed checkout beside what is built of it; nothing without a checkout."""

    def run(self) -> None:
        """Copy the modules, then add the commit; an editable install has its checkout."""
        super().run()
        if not self.editable_mode and (commit := _git("rev-parse", "HEAD")):
            changed = _git("status", "--porcelain", "--", "uffdlab")
            built = Path(self.build_lib, "uffdlab", "built_from.json")
            built.write_text(json.dumps({"commit": commit.strip(), "dirty": changed != ""}) + "\n", "utf-8")


def _git(*arguments: str) -> str | None:
    here = Path(__file__).resolve().parent
    if not (here / ".git").exists():
        return None  # unpacked inside another project's checkout
    try:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, encoding="utf-8", check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


# Both extensions keep to the stable interface of Python 3.11: one wheel for it and whatever comes after it.
setup(
    cffi_modules=[*PROBE, "uffdlab/native/sim/build.py:ffibuilder"],
    cmdclass={"build_py": BuildWithCommit},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
