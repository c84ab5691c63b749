# SPDX-License-Identifier: MIT
"""The widgets of an executed notebook as a page needs them, without the state that only a kernel uses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from uffdlab.report.foreign import harmless

VIEW = "application/vnd.jupyter.widget-view+json"
_STATE = "application/vnd.jupyter.widget-state+json"
_REFERENCE = "IPY_MODEL_"
_PLAIN_MODELS = ("HBoxModel", "VBoxModel", "BoxModel", "HTMLModel", "LabelModel")
_KERNEL_ONLY = ("layout", "style", "tabbable", "tooltip")


@dataclass
class Widgets:
    """The widgets of a page, numbered in order of appearance: ids of a kernel are random."""

    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    css: str = ""
    names: dict[str, str] = field(default_factory=dict)

    def add(self, notebook: Any, output: Any) -> str | None:
        """Add a widget and its children. Return its name, or None where a page cannot show it."""
        states = notebook.metadata.get("widgets", {}).get(_STATE, {}).get("state", {})
        id_ = output["data"][VIEW]["model_id"]
        return self._take(states, id_) if _can_be_shown(states, id_) else None

    def _take(self, states: Mapping[str, Any], id_: str) -> str:
        if id_ in self.names:
            return self.names[id_]
        name = self.names[id_] = f"widget-{len(self.names) + 1}"
        model = states[id_]
        state = {key: value for key, value in model["state"].items() if not key.startswith("_")}
        for key in _KERNEL_ONLY:
            state.pop(key, None)
        kept: dict[str, Any] = {"name": model["model_name"]}
        if "_esm" in model["state"]:
            text = model["state"]["_esm"]
            kept["module"] = hashlib.sha256(text.encode()).hexdigest()[:12]
            self.modules[kept["module"]] = text
            self.css = model["state"].get("_css") or self.css
            state["library"] = f"{_REFERENCE}library"
        if kept["name"] == "HTMLModel":
            state["value"] = harmless(state.get("value", ""))
        if "children" in state:
            state["children"] = [self._take(states, child) for child in _children(model)]
        buffers = [{"path": buffer["path"], "data": buffer["data"]} for buffer in model.get("buffers", ())]
        self.models[name] = kept | {"state": state} | ({"buffers": buffers} if buffers else {})
        return name

    def as_json(self) -> dict[str, Any]:
        """Return the JSON that host.js reads."""
        return {"models": self.models, "modules": self.modules}


def _can_be_shown(states: Mapping[str, Any], id_: str) -> bool:
    model = states.get(id_)
    if model is None:
        return False
    if "_esm" in model["state"]:
        return True
    return model["model_name"] in _PLAIN_MODELS and all(_can_be_shown(states, child) for child in _children(model))


def _children(model: Any) -> Iterator[str]:
    return (str(child).removeprefix(_REFERENCE) for child in model["state"].get("children", ()))
