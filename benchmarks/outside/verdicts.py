# SPDX-License-Identifier: MIT
"""What a kernel selftest printed, read: one verdict per test, in both languages that the mm selftests speak."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

VERDICTS = ("pass", "skip", "fail", "died")

# uffd-unit-tests before it spoke TAP: "Testing wp-fork on anon... skipped [reason: feature missing]"
_TOLD = re.compile(r"Testing (?P<name>.+?)\.\.\. ?(?P<end>.*)\Z")
_REASON = re.compile(r"(?:skipped|failed) \[reason: (?P<reason>.*)\]\Z")
# TAP, such as: ok 4, SKIP wp-fork-pin on anon (no CONFIG_GUP_TEST)
_TAP = re.compile(r"(?P<bad>not )?ok \d+ ?(?P<skip># SKIP )?(?:- )?(?P<name>.*)\Z")
_IN_BRACKETS = re.compile(r"(?P<name>.+?) \((?P<reason>[^()]*)\)\Z")


@dataclass(frozen=True)
class Verdict:
    """How one test ended; ``reason`` is empty where the program gave none."""

    test: str
    verdict: str
    reason: str = ""


def read(printed: str) -> list[Verdict]:
    """Return the verdicts in the order they were printed; a test that was begun and not ended has *died*."""
    return [found for line in printed.splitlines() if (found := _told(line) or _tap(line))]


def worst(found: Iterable[Verdict], test: str) -> str | None:
    """Return how the tests of that name ended: the worst of them; None when there is none (names may repeat)."""
    ends = [one.verdict for one in found if one.test == test or one.test.startswith(f"{test} (")]
    return max(ends, key=VERDICTS.index) if ends else None


def totals(found: Iterable[Verdict]) -> dict[str, int]:
    """Return how many ended in which way."""
    counted = Counter(one.verdict for one in found)
    return {verdict: counted[verdict] for verdict in VERDICTS}


def _told(line: str) -> Verdict | None:
    match = _TOLD.match(line)
    if not match:
        return None
    end = match["end"]
    reason = _REASON.match(end)
    kind = {"done": "pass", "skipped": "skip", "failed": "fail"}.get(end.split(" ")[0], "died")
    return Verdict(match["name"], kind, reason["reason"] if reason else "")


def _tap(line: str) -> Verdict | None:
    match = _TAP.match(line)
    if not match:
        return None
    name = match["name"].strip()
    if match["bad"]:
        return Verdict(name, "fail")
    if not match["skip"]:
        return Verdict(name, "pass")
    split = _IN_BRACKETS.match(name)
    return Verdict(split["name"], "skip", split["reason"]) if split else Verdict(name, "skip")
