# SPDX-License-Identifier: MIT
"""Base of the widgets: their module, the library they share, and a state with rules."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import anywidget
import ipywidgets
import traitlets

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.figures.offline import CONFIG
from uffdlab.widgets import views


class RefusedError(UffdlabError, traitlets.TraitError):
    """An invalid state; as a TraitError, it undoes the change of a front end."""


def asset(name: str) -> str:
    """Return a shipped text file."""
    return (files("uffdlab.widgets") / "assets" / name).read_text(encoding="utf-8")


def plotly_gz() -> bytes:
    """Return the drawing library (plotly.js, cartesian), gzipped."""
    return (files("uffdlab.widgets") / "assets" / "plotly-cartesian.min.js.gz").read_bytes()


def config_js() -> str:
    """Return the statement with plotly's configuration, of a page and its widgets."""
    return f"const uffdlabConfig = {json.dumps(CONFIG)};"


class Library(ipywidgets.Widget):  # type: ignore[misc]
    """Plotly and the simulator, sent to a live notebook once for all widgets; a page has its own."""

    _model_name = traitlets.Unicode("WidgetModel").tag(sync=True)
    _model_module = traitlets.Unicode("@jupyter-widgets/base").tag(sync=True)
    _model_module_version = traitlets.Unicode("2.0.0").tag(sync=True)
    _view_name = traitlets.Unicode(None, allow_none=True).tag(sync=True)
    uffdlab_library = traitlets.Bool(True).tag(sync=True)
    plotly = traitlets.Bytes().tag(sync=True)
    wasm = traitlets.Bytes().tag(sync=True)


_library: list[Library] = []


def library() -> Library:
    """Return the library of this kernel."""
    if not _library or _library[0].comm is None:
        _library[:] = [Library(plotly=plotly_gz(), wasm=native.simulator_wasm())]
    return _library[0]


def moved(state: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a state with changes. Raises UffdlabError if it has no such setting."""
    for name in changes:
        if name not in state:
            raise UffdlabError(f"unknown setting {name!r}: choose one of {', '.join(state)}")
    return state | changes


class View(anywidget.AnyWidget):
    """A widget whose ``state`` holds the values of its controls; :attr:`view` is the state as text.

    ``state`` can be read and set; breaking the ``rules`` (see :mod:`~uffdlab.widgets.views`) raises UffdlabError. A
    widget without rules accepts any.
    """

    kind = ""
    _css = asset("widgets.css")
    library = traitlets.Instance(Library).tag(sync=True, **ipywidgets.widget_serialization)
    config = traitlets.Dict(CONFIG).tag(sync=True)
    rules = traitlets.Dict().tag(sync=True)
    texts = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, **more: Any) -> None:
        """Attach the library."""
        super().__init__(library=library(), texts=views.TEXTS | {"kind": self.kind}, **more)

    def problem(self, state: dict[str, Any]) -> str | None:
        """Return the problem of a state, or None."""
        return views.problem(self.rules, state)

    @traitlets.validate("state")
    def _checked(self, proposal: Any) -> dict[str, Any]:
        state: dict[str, Any] = proposal["value"]
        problem = self.problem(state)
        if problem:
            raise RefusedError(problem)
        return state

    def move(self, **changes: Any) -> None:
        """Change part of the state, as a control does."""
        self.state = moved(self.state, changes)

    @property
    def view(self) -> str:
        """Return the view as text, which restores it in another page or notebook."""
        return views.written(self.kind, self.state)

    @view.setter
    def view(self, text: str) -> None:
        self.state = views.read(self.kind, text)

    def __repr__(self) -> str:
        """Return the fallback text."""
        return f"{type(self).__name__}({self.view})"
