# SPDX-License-Identifier: MIT
"""Views as text, and the rules of their states.

``js/views.js`` parses and checks them as well, since a page has no Python: ``tests/widgets/test_widgets_views.py``
holds the two together. Rules are JSON Schema (draft 7), checked in the order in which the script lists the keywords.
Each has ``wrong``, the sentence that refuses a ``{value}``; that of the innermost rule is shown.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.units import exact

Rules = dict[str, Any]

LONGEST = 1 << 20  # characters; a view is of some hundred
_SITE = "uffdlab"
_DAMAGED = "this view is damaged: copy the whole text again"
# Sentences that pages use as well; each widget adds its ``kind``.
TEXTS = {
    "site": _SITE,
    "longest": LONGEST,
    "none": f"{{value}} is not a uffdlab view: paste a text that begins with {_SITE}:",
    "other": "this is a view of another widget ({value}), not of {kind}: paste it there",
    "damaged": _DAMAGED,
}
_PACKED = re.compile("[A-Za-z0-9_-]+")
# Blanks of a browser.
_BLANK = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
_EXACT = 2**53  # a browser has every whole number up to here


def one_of(words: Iterable[str], wrong: str, no_word: str = "") -> Rules:
    """Return the rules of a word of a list; ``no_word`` is the sentence for a non-string value, if it differs."""
    return {"type": "string", "wrong": no_word or wrong, "allOf": [{"enum": list(words), "wrong": wrong}]}


def number(name: str, wrong: str, **limits: Any) -> Rules:
    """Return the rules of a number, with JSON Schema's keywords as limits."""
    kind = f"{name} is {{value}}, and has to be a number"
    return {"type": "number", "wrong": kind, "allOf": [limits | {"wrong": wrong}]}


def record(fields: dict[str, Rules], wrong: str, *besides: Rules) -> Rules:
    """Return the rules of an object that has exactly these fields; ``besides`` are further rules."""
    closed = {"type": "object", "required": list(fields), "properties": fields, "additionalProperties": False}
    return {"allOf": [closed | {"wrong": wrong}, *besides]}


def written(kind: str, state: dict[str, Any]) -> str:
    """Return the text of a view, which restores it in another page or notebook."""
    packed = base64.urlsafe_b64encode(json.dumps(state).encode()).decode().rstrip("=")
    return f"{_SITE}:{kind}:{packed}"


def read(kind: str, text: str) -> dict[str, Any]:
    """Parse a view's text. Raises UffdlabError if it is another kind of view, or none."""
    # Mails wrap lines; an input field removes the breaks.
    whole = "" if not isinstance(text, str) or len(text) > LONGEST else text.translate({10: None, 13: None})
    whole = whole.strip(_BLANK)
    site, *rest = whole.split(":", 2)
    if site != _SITE or len(rest) != 2 or not rest[1]:
        none = f"'{_calm(whole)}'" if whole else "this"
        raise UffdlabError(str(TEXTS["none"]).replace("{value}", none))
    found, packed = rest
    if found != kind:
        raise UffdlabError(str(TEXTS["other"]).replace("{kind}", kind).replace("{value}", _calm(found)))
    if not _PACKED.fullmatch(packed):
        raise UffdlabError(_DAMAGED)
    try:
        raw = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        state = json.loads(raw.decode(), parse_int=_whole, parse_float=_number, parse_constant=_no_number)
        json.dumps(state, allow_nan=False)  # so that no number is infinite
    except (ValueError, RecursionError) as error:
        raise UffdlabError(_DAMAGED) from error
    if not isinstance(state, dict):
        raise UffdlabError(_DAMAGED)
    return state


# A browser has one type of number, and shows -0 as 0.
def _number(text: str) -> float:
    return float(text) + 0.0


def _whole(text: str) -> float:
    value = float(text)
    return int(value) if abs(value) <= _EXACT else value


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def problem(rules: Rules, state: Any) -> str | None:
    """Return the problem of a state in one sentence, or None."""
    import fastjsonschema

    try:
        plain = json.loads(json.dumps(state, allow_nan=False)) == state
    except (TypeError, ValueError, RecursionError):
        plain = False
    if not plain:
        return "a state holds words, finite numbers, lists and objects of these, and nothing else"
    try:
        _compiled(json.dumps(rules))(state)
    except fastjsonschema.JsonSchemaValueException as error:
        return str(error.definition["wrong"]).replace("{value}", _shown(error.value))
    return None


@cache
def _compiled(rules: str) -> Callable[[object], object]:
    import fastjsonschema

    compiled: Callable[[object], object] = fastjsonschema.compile(json.loads(rules), use_default=False)
    return compiled


def _shown(value: Any) -> str:
    """Return a short text of any value, as the page does."""
    if isinstance(value, dict):
        return ", ".join(sorted((_calm(name) for name in value), key=_as_sorted_by_a_browser)[:20]) or "nothing"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return f"'{_calm(value)}'"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    try:
        return exact(value)
    except OverflowError:
        return "too large"


def _as_sorted_by_a_browser(text: str) -> bytes:
    return text.encode("utf-16-be")


def _calm(text: str) -> str:
    """Return the beginning of a text, printable in any terminal and page."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:40])
