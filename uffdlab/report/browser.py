# SPDX-License-Identifier: MIT
"""Start an offline Chromium, for screenshots and for the tests of pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from uffdlab import starting
from uffdlab.errors import UffdlabError

VARIABLE = "UFFDLAB_CHROMIUM"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find() -> str | None:
    """Return the path of a Chromium: that of UFFDLAB_CHROMIUM, or the first on the PATH; None when there is none."""
    return os.environ.get(VARIABLE) or next((path for name in _NAMES if (path := starting.program(name))), None)


def why_missing() -> str | None:
    """Return why no page can be opened, in one sentence, or None when one can."""
    if find() is None:
        return f"no Chromium was found: install one (Debian: apt-get install chromium) or set {VARIABLE} to its path"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "Playwright is not installed: pip install 'uffdlab[test]'"
    return None


@contextmanager
def launched() -> Iterator[Any]:
    """Yield a playwright Browser. Raises UffdlabError when Chromium or playwright is missing."""
    missing = why_missing()
    if missing:
        raise UffdlabError(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find(), args=list(ARGUMENTS), env={**starting.environment()}
        )
        try:
            yield browser
        finally:
            browser.close()
