# SPDX-License-Identifier: MIT
"""HTML that a page did not write itself: what a notebook's text and outputs hold is shown, and does nothing.

The page's policy keeps scripts from running. It stops neither a ``<meta>`` that leads elsewhere nor a ``<link>`` that
opens a connection, so that what is no text, table, picture or formula is left out. A style sheet reaches what stands
beside it, as pandas writes one for a table, and nothing else of the page.
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


# What an element may say of itself: nothing that puts it elsewhere, or over what is not its own.
_LOOK = (
    "background-color border border-bottom border-collapse border-color border-left border-radius border-right "
    "border-spacing border-style border-top border-width caption-side color display font font-family font-size "
    "font-style font-variant font-weight height letter-spacing line-height list-style list-style-type max-height "
    "max-width min-height min-width opacity overflow overflow-x overflow-y padding padding-bottom padding-left "
    "padding-right padding-top text-align text-decoration text-indent text-transform vertical-align white-space width "
    "word-break"
)
_SHEET = re.compile(r"<style>(.*?)</style>", re.S)
_AS_TOLD = {"skip_comments": True, "skip_whitespace": True}


def _value(tag: str, name: str, value: str) -> str | None:
    """Leave out pictures that would have to be fetched, and links to a text that a page would be made of."""
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
    """Return HTML without what acts: scripts, handlers, frames, forms, redirections, and links other than to pages."""
    whole = html.encode(errors="replace").decode()  # half a surrogate pair is no character of a page
    clean = _SHEET.sub(lambda found: _sheet(found[1]), _CLEANER.clean(whole))
    # The sheet's scope is what it stands in; beyond it, nothing is drawn that a rule may place elsewhere.
    return f'<div class="own"><div>{clean}</div></div>' if "<style>" in clean else clean


def _declarations(text: str) -> str | None:
    kept = [
        one.serialize()
        for one in tinycss2.parse_blocks_contents(text, **_AS_TOLD)
        if one.type == "declaration" and one.lower_name in _LOOK.split() and not _broken(one.value)
    ]
    return "; ".join(kept) or None


def _sheet(text: str) -> str:
    """Return a style element whose rules reach no further than the element that it stands in."""
    rules = [
        one.serialize()
        for one in tinycss2.parse_stylesheet(text, **_AS_TOLD)
        if one.type == "qualified-rule" and one.prelude and not _broken([*one.prelude, *one.content])
    ]
    whole = " ".join(rules).replace("<", "\\3c ")  # it would end the element, or begin another one within a drawing
    return f"<style>@scope {{ {whole} }}</style>" if rules else ""


def _broken(tokens: Iterable[Any]) -> bool:
    """Whether something does not belong where it stands, such as a brace that would close more than was opened."""
    return any(one.type == "error" or _broken(getattr(one, "content", None) or ()) for one in tokens)


def own_pictures(part: Any) -> Any:
    """Return a part of a figure without the pictures that would have to be fetched."""
    if isinstance(part, list | tuple):
        return [own_pictures(one) for one in part]
    if not isinstance(part, dict):
        return part
    kept = {name: own_pictures(one) for name, one in part.items()}
    source = kept.get("source")
    if isinstance(source, str) and not source.strip().lower().startswith("data:"):
        del kept["source"]
    return kept
