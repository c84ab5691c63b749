# SPDX-License-Identifier: MIT
"""A page and Python take the same views, with the same outcome, and refuse all others in one sentence."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from widget_pages import DESIGN, DESIGNS, EXPLORER, NAMES, TABLES, curve

from uffdlab import widgets
from uffdlab.errors import UffdlabError
from uffdlab.widgets import DesignExplorer, PageTableView, Slider, explore, views

KINDS = {EXPLORER: "explore", DESIGN: "designs", TABLES: "page-tables"}


def fresh(name: str) -> Any:
    """Return the widget of the page, as Python has it."""
    if name == EXPLORER:
        return explore(curve, {"power": Slider(1, 5, grid=5), "side": ["up", "down"]})
    return DesignExplorer(DESIGNS) if name == DESIGN else PageTableView("pmd_marker", steps=[("protect", 0)])


ONE_OF_EACH = {name: fresh(name) for name in NAMES}


def packed(kind: str, raw: str | bytes) -> str:
    raw = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    return f"uffdlab:{kind}:{base64.urlsafe_b64encode(raw).decode().rstrip('=')}"


def in_python(name: str, texts: list[str]) -> list[Any]:
    """Return the state that each text leads to, or the sentence that refuses it."""
    widget, found = ONE_OF_EACH[name], []
    start = widget.state
    for text in texts:
        answer = ""
        try:
            widget.view = text
        except UffdlabError as error:
            answer = str(error)
        assert answer.isprintable(), "one sentence that a terminal can show"
        assert len(answer) < 1000
        assert not answer or widget.state == start
        found.append(answer or widget.state)
        widget.state = start
    return found


IN_PAGE = """async ([name, texts]) => {
    const model = uffdlabWidgets.modelOf(name);
    const start = model.get("state");
    const view = document.querySelector(`[data-model=${name}] .ul-view`);
    const [, given] = view.querySelectorAll("input");
    const [, restore] = view.querySelectorAll("button");
    const found = [];
    for (const text of texts) {
        given.value = text;
        restore.click();
        const answer = view.querySelector("[role=status]").textContent;
        const state = JSON.parse(JSON.stringify(model.get("state")));
        found.push(answer.startsWith("Restored.") ? state : answer);
        if (!answer || answer.length > 1000) throw new Error(`not one sentence: ${answer.slice(0, 2000)}`);
        if (!answer.startsWith("Restored.") && JSON.stringify(state) !== JSON.stringify(start)) throw new Error(answer);
        model.set("state", start);
        model.save_changes();
    }
    given.value = "";
    return found;
}"""


# --- texts that somebody may paste -----------------------------------------------------------------------------------

START = {name: widget.state for name, widget in ONE_OF_EACH.items()}
ODD: list[Any] = [
    None, True, False, "", "x", "constructor", "toString", "__proto__", "hasOwnProperty", [], {}, [[]], -1, 0.5, 1.5, 3,
    2**31, 2**53, 2**53 + 1, 2**64, 1e308, -1e308, 5e-324, "1", "\ud800", "\x00", "composed", [None], {"length": 4},
    ["pte_marker", "", "", ""], ["", "", "", ""], ["composed", "", "", ""], [["protect", 1]], [["protect", 1.0]],
    [["protect", 1, 2]], [["melt", 1]], [["constructor", 1]], [["protect", None]], [["read", 0]] * 200,
    [["read", 0]] * 201, "populated", "writes",
]  # fmt: skip


def _odd_texts(name: str) -> list[str]:
    """Return views of every kind of wrong, and some that are right."""
    kind, start = KINDS[name], START[name]
    plain = json.dumps(start)
    raws: list[str | bytes] = [plain, json.dumps(start, indent=3), f"\n\t {plain} \r\n"]
    for key in start:
        raws += [json.dumps(start | {key: odd}) for odd in ODD]
        raws.append(json.dumps({name: value for name, value in start.items() if name != key}))
        raws += [plain[:-1] + f', "{key}": {text}}}' for text in ("1e400", "-1e400", "-0", "-0.0", "NaN", "01", "1.0")]
        raws += [plain[:-1] + f', "{key}": {json.dumps(start[key])}}}', plain[:-1] + f', "{key}": ' + "[" * 500 + "}"]
    for key in ("__proto__", "constructor", "toString", "x y", "", "0"):
        raws += [json.dumps(start | {key: value}) for value in (1, {}, start, None)]
        raws.append(json.dumps({"__proto__": start, key: start}))
    for inner in [key for key, value in start.items() if isinstance(value, dict)]:
        raws += [json.dumps(start | {inner: start[inner] | {key: 1}}) for key in ("__proto__", "more")]
        raws += [json.dumps(start | {inner: dict(list(start[inner].items())[1:])})]
    raws += [
        '{"' + key + '": ' + text + ", " + plain[1:] for key in start for text in ("NaN", "-Infinity", "1e400", "[[[")
    ]
    raws += [plain + " " * 1_000_000, plain + " " * 700_000]
    if name == DESIGN:  # fields that are all known, and contradict one another
        own = start["composed"] | {"empty": "stays", "remembers": "true", "missing": "true"}
        raws += [json.dumps(start | {"composed": own, "designs": [one, "", "", ""]}) for one in ("composed", "preread")]
    deep = 100_000
    raws += ["[" * deep, "[" * deep + "]" * deep, '{"a":' * deep, '{"a":' * deep + "1" + "}" * deep]
    key = next(iter(start))
    raws += [plain[:-1] + f', "{key}": ' + "[" * deep + "]" * deep + "}", "9" * 100_000, f'"{"x" * 700_000}"']
    raws += [
        "",
        " ",
        "null",
        "[]",
        "3",
        '"text"',
        "{",
        "{}",
        "{,}",
        plain + ",",
        plain + plain,
        plain.replace('"', "'"),
    ]
    raws += [plain.encode("utf-16"), b"\xef\xbb\xbf" + plain.encode(), b"\xff\xfe", b'{"a": "\xed\xa0\x80"}', b"\x80"]
    raws += [plain.replace(" ", "\u00a0"), plain.replace(" ", "\u2028"), plain.replace(":", ": /* */", 1), b"\x00"]
    texts = [packed(kind, raw) for raw in raws]
    good = packed(kind, plain)
    texts += [good + "=", good + "==", good[:-1], good + ":", f"\u00a0{good}\ufeff", f"\x1c{good}", f"\x85{good}"]
    texts += [
        good.upper(),
        good.replace("uffdlab", "Uffdlab"),
        good[:60] + "\r\n" + good[60:],
        good[:60] + " " + good[60:],
    ]
    texts += [good.replace(kind, other) for other in ("explore", "designs", "page-tables", "", "x", "x" * 10_000)]
    texts += ["", ":", "::", ":::", "uffdlab", "uffdlab:", f"uffdlab:{kind}", f"uffdlab:{kind}:", f"uffdlab:{kind}:%"]
    return [*texts, "x" * 3_000_000, f"uffdlab:{kind}:" + "A" * 3_000_000, " " * 3_000_000 + "x", "[" * 100_000]


@pytest.mark.browser
@pytest.mark.parametrize("name", NAMES)
def test_page_and_python_agree_on_odd_views(widgets_tab: Any, name: str) -> None:
    texts = _odd_texts(name)
    here, there = in_python(name, texts), widgets_tab.evaluate(IN_PAGE, [name, texts])
    differing = [(text[:300], one, two) for text, one, two in zip(texts, here, there, strict=True) if one != two]
    assert differing == []
    taken = sum(isinstance(one, dict) for one in here)
    assert 5 < taken < len(texts) / 2


# What is no character yet may be one to a browser that knows a later Unicode.
few = st.text(st.characters(exclude_categories=["Cn", "Cs"]), max_size=5)
json_values = st.recursive(
    st.sampled_from(ODD) | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | few,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(few, inner, max_size=4),
    max_leaves=8,
)


def _parts(state: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything in a state."""
    inner = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return [path, *(one for key, value in inner for one in _parts(value, (*path, key)))]


def _leaves(state: Any) -> list[Any]:
    if isinstance(state, dict | list):
        return [leaf for value in (state.values() if isinstance(state, dict) else state) for leaf in _leaves(value)]
    return [state]


@st.composite
def states(draw: st.DrawFn, name: str) -> Any:
    """Return a state of a widget in which something was replaced, put in or left out."""
    state = json.loads(json.dumps(START[name]))
    own = st.sampled_from([*_leaves(START[name]), *START[name].values()])
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(_parts(state)))
        at: Any = {"all": state}
        *way, last = ["all", *path]
        for key in way:
            at = at[key]
        what = draw(st.sampled_from(["replace", "replace", "add", "drop"]))
        value = copy.deepcopy(draw(own | json_values))
        if what == "drop" and path:
            del at[last]
        elif what == "add" and isinstance(at[last], dict):
            at[last][draw(few | st.sampled_from(["__proto__", "constructor", "x"]))] = value
        elif what == "add" and isinstance(at[last], list):
            at[last].append(value)
        else:
            at[last] = value
            state = value if not path else state
        if not isinstance(state, dict | list):
            break
    return state


QUIET = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.mark.browser
@pytest.mark.parametrize("name", NAMES)
def test_page_and_python_agree_on_changed_views(widgets_tab: Any, name: str) -> None:
    @QUIET
    @given(st.lists(states(name), min_size=20, max_size=60))
    def holds(made: list[Any]) -> None:
        texts = [packed(KINDS[name], json.dumps(state)) for state in made]
        assert widgets_tab.evaluate(IN_PAGE, [name, texts]) == in_python(name, texts)

    holds()


@pytest.mark.parametrize("name", NAMES)
def test_rules_are_valid_json_schema_with_the_same_meaning(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema comes with nbformat")
    rules = ONE_OF_EACH[name].rules
    jsonschema.Draft7Validator.check_schema(rules)
    validator = jsonschema.Draft7Validator(rules)

    @settings(max_examples=300, deadline=None)
    @given(states(name))
    def holds(state: Any) -> None:
        assert validator.is_valid(state) == (views.problem(rules, state) is None)

    holds()


# --- what only Python meets ------------------------------------------------------------------------------------------


STRANGE: dict[str, Any] = {
    "nan": float("nan"), "infinite": float("inf"), "huge": 10**400, "longer": -(10**5000), "tuple": (), "keys": {1: 2},
    "half": {"\ud800": 1}, "bytes": b"x", "object": object(), "text": "\ud800",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strange", STRANGE)
def test_strange_value_is_refused_in_a_sentence(name: str, strange: str) -> None:
    value = STRANGE[strange]
    widget = ONE_OF_EACH[name]
    start = widget.state
    for key in start:
        with pytest.raises(UffdlabError) as refused:
            widget.state = start | {key: value}
        assert str(refused.value).isprintable()
    with pytest.raises(UffdlabError):
        widget.state = start | {value if isinstance(value, str) else "more": value}
    assert widget.state == start


@pytest.mark.parametrize(
    "text", [None, 5, b"uffdlab:designs:e30", "\ud800", "uffdlab:designs:\ud800", "uffdlab:\ud800\x1b:e30"]
)
def test_view_of_another_type_is_refused(text: Any) -> None:
    with pytest.raises(UffdlabError, match="view") as refused:
        ONE_OF_EACH[DESIGN].view = text
    assert str(refused.value).isprintable()


def test_unprintable_word_is_restored() -> None:
    odd = ["\ud800", "ä", "{value}"]
    shown, other = (explore(lambda word: curve(1, "up"), {"word": odd}) for _ in range(2))
    for word in odd:
        shown.move(word=word)
        other.view = shown.view
        assert other.state == {"word": word}


def test_widget_without_rules_accepts_any_state() -> None:
    assert widgets.base.View(state={"a": [1]}).state == {"a": [1]}
