# SPDX-License-Identifier: MIT
"""Convert a notebook's Markdown to HTML: links to notebooks become links to pages, formulas MathML."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from uffdlab.report.foreign import harmless


def to_html(source: str, part: str = "") -> str:
    """Return Markdown as HTML. ``part`` is the name of its notebook in a page of several."""
    body = MarkdownWithMath(renderer=_Renderer(escape=False)).render(source)
    if part:  # the other notebooks are in the same page
        body = re.sub(r'href="#([^"]+)"', rf'href="#{part}-\1"', body)
        body = re.sub(r'href="(?!https?:)([^"#]+)\.ipynb#([^"]+)"', r'href="#\1-\2"', body)
        body = re.sub(r'href="(?!https?:)([^"#]+)\.ipynb"', r'href="#\1"', body)
    body = re.sub(r'href="(?!https?:)([^"#]+)\.ipynb', r'href="\1.html', body)
    return scrolling(harmless(body))


def scrolling(body: str) -> str:
    """Let wide tables scroll inside themselves instead of pushing the page sideways."""
    body = body.replace("<table", '<div class="scroll" tabindex="0"><table')
    return body.replace("</table>", "</table></div>")


def _formula(latex: str, display: str) -> str:
    """Return a formula as MathML, or its source where it cannot be converted."""
    try:
        mathml: str = convert(latex, display=display)
    except Exception:  # the converter has many of its own
        mathml = ""
    # It converts an unknown command to a name.
    unknown = not mathml or re.search(r"<mi>\\[A-Za-z]+</mi>", mathml)
    return f'<code class="unconverted">{html.escape(latex.strip())}</code>' if unknown else mathml


class _Renderer(IPythonRenderer):
    """Jupyter's renderer, with formulas converted to MathML instead of by a script in the page."""

    def inline_math(self, body: str) -> str:
        return _formula(body, "inline")

    def block_math(self, body: str) -> str:
        return f'<div class="formula" tabindex="0">{_formula(body, "block")}</div>\n'

    def multiline_math(self, text: str) -> str:
        return self.block_math(text)

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")
