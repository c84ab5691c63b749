# SPDX-License-Identifier: MIT
"""Notebooks in, self-contained pages out; and the form in which notebooks are committed."""
