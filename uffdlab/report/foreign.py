# SPDX-License-Identifier: MIT
"""Sanitize the HTML of a notebook's text and outputs: it is shown, and runs and loads nothing.

The page's policy stops scripts, but neither a ``<meta>`` redirection nor a ``<link>`` that opens a connection: only
text, tables, pictures and formulas are kept. A style sheet, as pandas writes beside a table, is scoped to the output
that it is in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import nh3
import tinycss2

_TEXT = (
    "a abbr b bdi bdo blockquote br caption cite code col colgroup dd del details dfn div dl dt em figcaption "
    "figure h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark meter ol p pre progress q rp rt ruby s samp section "
    "small span strike strong style sub summary sup table tbody td tfoot th thead time tr tt u ul var wbr"
)
_FORMULAS = (
    "math maction menclose merror mfrac mi mlabeledtr mmultiscripts mn mo mover mpadded mphantom mprescripts "
    "mroot mrow ms mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none semantics"
)
_DRAWINGS = (
    "svg circle defs desc ellipse g line linearGradient path polygon polyline radialGradient rect stop text tspan"
)
_EVERYWHERE = (
    "align aria-hidden aria-label class colspan dir height id lang role rowspan scope style tabindex title width"
)
_FORMULA = (
    "accent accentunder columnalign columnlines columnspacing depth display displaystyle fence form frame "
    "largeop linethickness lspace mathbackground mathcolor mathsize mathvariant maxsize minsize movablelimits "
    "notation rowalign rowlines rowspacing rspace scriptlevel separator stretchy symmetric voffset xmlns"
)
_DRAWING = (
    "cx cy d dx dy fill fill-opacity fill-rule font-family font-size font-weight gradientTransform "
    "gradientUnits offset opacity points preserveAspectRatio r rx ry stop-color stop-opacity stroke "
    "stroke-dasharray stroke-linecap stroke-linejoin stroke-opacity stroke-width text-anchor transform viewBox x x1 "
    "x2 xmlns y y1 y2"
)
_OWN = {"a": "href", "img": "alt src", "ol": "start", "details": "open", "time": "datetime"} | {
    "meter": "high low max min optimum value",
    "progress": "max value",
}


# CSS properties that are kept: none that moves an element out of its place.
_CSS_PROPERTIES = (
    "background-color border border-bottom border-collapse border-color border-left border-radius border-right "
    "border-spacing border-style border-top border-width caption-side color display font font-family font-size "
    "font-style font-variant font-weight height letter-spacing line-height list-style list-style-type max-height "
    "max-width min-height min-width opacity overflow overflow-x overflow-y padding padding-bottom padding-left "
    "padding-right padding-top text-align text-decoration text-indent text-transform vertical-align white-space width "
    "word-break"
)
_SHEET = re.compile(r"<style>(.*?)</style>", re.S)
_SKIPPED = {"skip_comments": True, "skip_whitespace": True}


def _value(tag: str, name: str, value: str) -> str | None:
    """Return the attribute's value, or None for pictures that would be fetched and for links to ``data:``."""
    if name == "style":
        return _declarations(value)
    data = value.strip().lower().startswith("data:")
    if (tag, name) == ("img", "src"):
        return value if data else None
    return None if name == "href" and data else value


_CLEANER = nh3.Cleaner(
    tags={*_TEXT.split(), *_FORMULAS.split(), *_DRAWINGS.split()},
    clean_content_tags={"iframe", "noembed", "noframes", "noscript", "script", "template", "title", "xmp"},
    attributes={"*": set(_EVERYWHERE.split())}
    | {tag: set(names.split()) for tag, names in _OWN.items()}
    | {tag: set(_FORMULA.split()) for tag in _FORMULAS.split()}
    | {tag: set(_DRAWING.split()) for tag in _DRAWINGS.split()},
    attribute_filter=_value,
    url_schemes={"data", "http", "https", "mailto"},
    link_rel=None,
)


def harmless(html: str) -> str:
    """Return HTML without scripts, handlers, frames, forms, redirections, and links other than to pages."""
    whole = html.encode(errors="replace").decode()  # lone surrogates cannot be encoded
    clean = _SHEET.sub(lambda match: _sheet(match[1]), _CLEANER.clean(whole))
    # @scope limits the sheet to the element it is in; the outer one clips what a rule may place elsewhere.
    return f'<div class="own"><div>{clean}</div></div>' if "<style>" in clean else clean


def _declarations(text: str) -> str | None:
    kept = [
        node.serialize()
        for node in tinycss2.parse_blocks_contents(text, **_SKIPPED)
        if node.type == "declaration" and node.lower_name in _CSS_PROPERTIES.split() and not _broken(node.value)
    ]
    return "; ".join(kept) or None


def _sheet(text: str) -> str:
    """Return a style element whose rules are scoped to the element it is in."""
    rules = [
        rule.serialize()
        for rule in tinycss2.parse_stylesheet(text, **_SKIPPED)
        if rule.type == "qualified-rule" and rule.prelude and not _broken([*rule.prelude, *rule.content])
    ]
    whole = " ".join(rules).replace("<", "\\3c ")  # it could end the style element, or begin another inside SVG
    return f"<style>@scope {{ {whole} }}</style>" if rules else ""


def _broken(tokens: Iterable[Any]) -> bool:
    """Return whether the tokens hold a parse error, such as an unmatched brace."""
    return any(token.type == "error" or _broken(getattr(token, "content", None) or ()) for token in tokens)


def own_pictures(part: Any) -> Any:
    """Return a part of a figure without pictures that would be fetched."""
    if isinstance(part, list | tuple):
        return [own_pictures(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {name: own_pictures(item) for name, item in part.items()}
    source = kept.get("source")
    if isinstance(source, str) and not source.strip().lower().startswith("data:"):
        del kept["source"]
    return kept
