# SPDX-License-Identifier: MIT
"""Answers and cards in a page: they fit a phone, fold what is long, and print it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from making import code, opened, page, shows
from running import wait_until

from uffdlab.claims import Verdict
from uffdlab.notebook import Answer
from uffdlab.report.foreign import harmless

CARD = Verdict(
    "a-claim-with-a-name-that-is-rather-long", "depends", "a rule", "because", ("faults: a line", "faults: another"),
    quantity="interrupts", effect=0.98, interval=(0.97, 0.99), depends_on="reads", condition="it was not read",
    dataset="made-up", limits="CONFIG_THAT_HAS_NO_PLACE_TO_BREAK_A_LINE_AND_IS_WIDER_THAN_A_PHONE", who="PX",
    says="a claim", rule_fixed="rule fixed before the data, on 2026-11-23",
)  # fmt: skip
ANSWER = Answer(
    [f"{word} CONFIG_THAT_HAS_NO_PLACE_TO_BREAK_A_LINE_AND_IS_WIDER_THAN_A_PHONE (1.5 to 2)" for word in "abcde"]
)
FITS = "[...document.querySelectorAll('.answers, .verdict')].every(block => block.scrollWidth <= block.clientWidth)"
SHOWN = "document.querySelector('.verdict dl').checkVisibility({contentVisibilityAuto: true})"


def test_both_blocks_pass_the_sanitizer_unchanged() -> None:
    for block in (CARD, ANSWER):
        assert harmless(block._repr_html_()) == block._repr_html_()


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280])
def test_both_blocks_fit_and_the_card_is_folded(browser: Any, tmp_path: Path, width: int) -> None:
    file = tmp_path / "page.html"
    outputs = [shows("text/html", block._repr_html_()) for block in (ANSWER, CARD)]
    file.write_text(page(code("f", *outputs)), encoding="utf-8")
    with opened(browser, file, width=width) as tab:
        assert tab.evaluate(FITS)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        wait_until(lambda: not tab.evaluate(SHOWN), "the card is folded")
        tab.emulate_media(media="print")
        wait_until(lambda: tab.evaluate(SHOWN), "the card is unfolded")
        tab.emulate_media(media="screen")
        wait_until(lambda: not tab.evaluate(SHOWN), "the card is folded")
        tab.locator(".verdict summary").click()
        wait_until(lambda: tab.evaluate(SHOWN), "the card is unfolded")
        assert tab.evaluate(FITS)
