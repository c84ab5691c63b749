# SPDX-License-Identifier: MIT
"""The Content-Security-Policy of a page: it runs its own scripts, known by hash, and loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable


def policy(scripts: Iterable[str], *, unpacks: bool = False, computes: bool = False) -> str:
    """Return the Content-Security-Policy of a page with these inline scripts, each the whole text of its element.

    ``unpacks``: it starts the drawing library and the modules of widgets from ``blob:``, which only a running script
    can make. ``computes``: it runs WebAssembly. Styles stay inline: plotly writes them into its elements.
    """
    run = [_digest(script) for script in scripts]
    run += ["blob:"] if unpacks else []
    run += ["'wasm-unsafe-eval'"] if computes else []
    allowed = {
        "default-src": ["'none'"],
        "script-src": run,
        "script-src-attr": ["'none'"],
        "style-src": ["'unsafe-inline'"],
        "img-src": ["data:", "blob:"],  # a figure saved as a picture passes through one
        "connect-src": ["'none'"],
        "frame-src": ["'none'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    return "; ".join(" ".join([name, *sources]) for name, sources in allowed.items())


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
