# SPDX-License-Identifier: MIT
"""What the widgets have in common: their module, the library they share, and a state that keeps to rules."""

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
    """A state that is none of a widget's; as a TraitError, it undoes what a front end sent."""


def asset(name: str) -> str:
    """Return a text that is shipped with the widgets."""
    return (files("uffdlab.widgets") / "assets" / name).read_text(encoding="utf-8")


def plotly_gz() -> bytes:
    """Return the drawing library (plotly.js, cartesian), gzipped."""
    return (files("uffdlab.widgets") / "assets" / "plotly-cartesian.min.js.gz").read_bytes()


def config_js() -> str:
    """Return the statement that says how plotly shows a figure, in a page and in its widgets alike."""
    return f"const uffdlabConfig = {json.dumps(CONFIG)};"


class Library(ipywidgets.Widget):  # type: ignore[misc]
    """What every widget draws and computes with, sent to a live notebook once: a page has its own."""

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


class View(anywidget.AnyWidget):
    """A widget whose ``state`` is everything a reader can move; :attr:`view` is the same as a text.

    ``state`` can be read and set; what breaks the ``rules`` (see :mod:`~uffdlab.widgets.views`) is refused with
    UffdlabError. A widget without rules takes any.
    """

    kind = ""
    _css = asset("widgets.css")
    library = traitlets.Instance(Library).tag(sync=True, **ipywidgets.widget_serialization)
    config = traitlets.Dict(CONFIG).tag(sync=True)
    rules = traitlets.Dict().tag(sync=True)
    texts = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, **more: Any) -> None:
        """Lend the widget the library."""
        super().__init__(library=library(), texts=views.TEXTS | {"kind": self.kind}, **more)

    def problem(self, state: dict[str, Any]) -> str | None:
        """Return what is wrong with a state, or None."""
        return views.problem(self.rules, state)

    @traitlets.validate("state")
    def _checked(self, proposal: Any) -> dict[str, Any]:
        state: dict[str, Any] = proposal["value"]
        problem = self.problem(state)
        if problem:
            raise RefusedError(problem)
        return state

    def move(self, **changes: Any) -> None:
        """Change some of the state, as a control would."""
        unknown = [name for name in changes if name not in self.state]
        if unknown:
            raise UffdlabError(f"nothing is called {unknown[0]!r} here: it has {', '.join(self.state)}")
        self.state = self.state | changes

    @property
    def view(self) -> str:
        """Return this view as a text that restores it in another reader's page or notebook."""
        return views.written(self.kind, self.state)

    @view.setter
    def view(self, text: str) -> None:
        self.state = views.read(self.kind, text)

    def __repr__(self) -> str:
        """Return what stands where no widget can be shown."""
        return f"{type(self).__name__}({self.view})"
