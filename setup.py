# SPDX-License-Identifier: MIT
"""Adds what pyproject.toml cannot say: two C extensions, both optional; the probes on Linux only."""

import sys

from setuptools import setup

PROBE = ["uffdlab/native/probe/build.py:ffibuilder"] if sys.platform == "linux" else []
setup(cffi_modules=[*PROBE, "uffdlab/native/sim/build.py:ffibuilder"])
