# SPDX-License-Identifier: MIT
"""HTML that a page did not write itself: what a notebook's text and outputs hold is shown, and does nothing.

The page's policy keeps scripts from running. It stops neither a ``<meta>`` that leads elsewhere nor a ``<link>`` that
opens a connection, so that what is no text, table, picture or formula is left out.
"""

from __future__ import annotations

import nh3

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


def _value(tag: str, name: str, value: str) -> str | None:
    """Leave out pictures that would have to be fetched, and links to a text that a page would be made of."""
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
    return _CLEANER.clean(whole)
