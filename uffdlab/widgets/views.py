# SPDX-License-Identifier: MIT
"""Views as text, and the rules of their states.

``js/views.js`` parses and checks them as well, since a page has no Python: ``tests/widgets/test_widgets_views.py``
holds the two together. Rules are JSON Schema with the keywords ``type``, ``enum``, ``minimum``, ``maximum``,
``multipleOf``, ``required`` with ``properties`` and no others, ``minItems``, ``maxItems``, ``items``, ``prefixItems``,
``contains``, ``not``, ``allOf``, and ``wrong``: the sentence that refuses a ``{value}``. The innermost one is shown.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterable
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
    "unknown": "this state has unknown fields",
}
_PACKED = re.compile("[A-Za-z0-9_-]+")
# Blanks of a browser.
_BLANK = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
_EXACT = 2**53  # a browser has every whole number up to here


def one_of(words: Iterable[str], wrong: str, no_word: str | None = None) -> Rules:
    """Return the rules of a word of a list; ``no_word`` is the sentence for a non-string value, if it differs."""
    kind = wrong if no_word is None else no_word
    return {"type": "string", "wrong": kind, "allOf": [{"enum": list(words), "wrong": wrong}]}


def number(name: str, wrong: str, **limits: Any) -> Rules:
    """Return the rules of a number, with JSON Schema's keywords as limits."""
    kind = f"{name} is {{value}}, and has to be a number"
    return {"type": "number", "wrong": kind, "allOf": [limits | {"wrong": wrong}]}


def record(fields: dict[str, Rules], wrong: str, *besides: Rules) -> Rules:
    """Return the rules of an object that has exactly these fields; ``besides`` are further rules."""
    closed: Rules = {"type": "object", "required": list(fields), "properties": fields, "additionalProperties": False}
    return closed | {"wrong": wrong} | ({"allOf": list(besides)} if besides else {})


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


def problem(rules: Rules, value: Any) -> str | None:
    """Return the problem of a value in one sentence, or None."""
    found = _fault(rules, value)
    return str(TEXTS["unknown"]) if found == "" else found


def _fault(rules: Rules, value: Any) -> str | None:
    """Return the innermost sentence ("" if no rule has one), or None for a valid value."""
    for keyword, check in _KEYWORDS.items():
        found = check(rules[keyword], value, rules) if keyword in rules else None
        if found is not None:
            return found or str(rules.get("wrong", "")).replace("{value}", _shown(value))
    return None


def _first(rules: Iterable[tuple[Rules, Any]]) -> str | None:
    return next((found for rule, value in rules if (found := _fault(rule, value)) is not None), None)


def _is(kind: str, value: Any) -> bool:
    if kind == "number":
        return not isinstance(value, bool) and (
            isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
        )
    return isinstance(value, {"object": dict, "array": list, "string": str}[kind])


def _of_type(kind: str, keeps: Callable[[Any, Any], bool]) -> Callable[[Any, Any, Rules], str | None]:
    """Return the check of a keyword that constrains one type only."""
    return lambda rule, value, _: None if not _is(kind, value) or keeps(rule, value) else ""


def _fields(rule: Rules, value: Any, rules: Rules) -> str | None:
    if not isinstance(value, dict):
        return None
    if rules.get("additionalProperties") is False and any(name not in rule for name in value):
        return ""
    return _first((rule[name], value[name]) for name in rules["required"] if name in value)


def _items(rule: Any, value: Any, rules: Rules) -> str | None:
    if not isinstance(value, list):
        return None
    return _first((rule, item) for item in value)


def _prefix(rule: list[Rules], value: Any, _: Rules) -> str | None:
    if not isinstance(value, list):
        return None
    return _first(zip(rule, value, strict=False))


# In the order of checking.
_KEYWORDS: dict[str, Callable[[Any, Any, Rules], str | None]] = {
    "type": lambda rule, value, _: None if _is(rule, value) else "",
    "enum": lambda rule, value, _: None if (_is("string", value) or _is("number", value)) and value in rule else "",
    "minimum": _of_type("number", lambda rule, value: value >= rule),
    "maximum": _of_type("number", lambda rule, value: value <= rule),
    "multipleOf": _of_type("number", lambda rule, value: value % rule == 0),
    "required": _of_type("object", lambda rule, value: all(name in value for name in rule)),
    "properties": _fields,
    "minItems": _of_type("array", lambda rule, value: len(value) >= rule),
    "maxItems": _of_type("array", lambda rule, value: len(value) <= rule),
    "prefixItems": _prefix,
    "items": _items,
    "contains": _of_type("array", lambda rule, value: any(_fault(rule, item) is None for item in value)),
    "not": lambda rule, value, _: "" if _fault(rule, value) is None else None,
    "allOf": lambda rule, value, _: _first((inner, value) for inner in rule),
}


def _shown(value: Any) -> str:
    """Return a short text of any value, as the page does."""
    if isinstance(value, dict):
        return ", ".join(sorted((_calm(str(name)) for name in value), key=_as_sorted_by_a_browser)[:20]) or "nothing"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return f"'{_calm(value)}'"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    try:
        return exact(value) if isinstance(value, int | float) else _calm(str(value))
    except OverflowError:
        return "too large"


def _as_sorted_by_a_browser(text: str) -> bytes:
    return text.encode("utf-16-be")


def _calm(text: str) -> str:
    """Return the beginning of a text, printable in any terminal and page."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:40])
