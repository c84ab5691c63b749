# SPDX-License-Identifier: MIT
"""Render notebooks to self-contained HTML pages, and to the form in which they are committed."""
