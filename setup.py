# SPDX-License-Identifier: MIT
"""Adds what pyproject.toml cannot say: the C extension, on Linux only, and optional."""

import sys

from setuptools import setup

setup(cffi_modules=["uffdlab/native/build_probe.py:ffibuilder"] if sys.platform == "linux" else [])
