# SPDX-License-Identifier: MIT
"""The deciding source of each claim, and its SHA-256: what the register of rules (``uffdlab/rules``) holds.

Deciding are the function that a claim names and all that it uses of the modules below, by name and without docstrings,
comments, type hints and layout. How a verdict is shown decides nothing, and is left out.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SHOWN = ("__init__", "claim", "verdict", "text", "matrix", "standing", "evidence", "register", "former")
_LAYOUT = ("type_params", "type_comment", "kind", "ctx", "returns", "annotation")

Sources = Mapping[str, str]  # dotted module name → source text


@dataclass
class _Module:
    defined: dict[str, ast.AST] = field(default_factory=dict)
    imported: dict[str, tuple[str, str | None]] = field(default_factory=dict)  # name here → module, name there


@dataclass(frozen=True)
class Deciding:
    """What decides a claim: the hash of its source, and the constants (name → value) that the source uses."""

    sha256: str
    constants: dict[str, Any]


def deciding(function: str, module: str, sources: Sources, compiled: Sources | None = None) -> Deciding:
    """Return what decides by ``function`` of ``module``; ``compiled`` is the C source of modules that bind some."""
    modules = {name: _read(name, text) for name, text in sources.items()}
    found: dict[tuple[str, str], ast.AST] = {}
    _follow(module, function, modules, found)
    lines = sorted(f"{name} {_plain(node)}" for (_, name), node in found.items())
    lines += [text for at, text in sorted((compiled or {}).items()) if any(at == used for used, _ in found)]
    constants = {
        name: ast.literal_eval(node.value)
        for (_, name), node in sorted(found.items())
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and not isinstance(node.value.value, str)
    }
    return Deciding(hashlib.sha256("\n".join(lines).encode()).hexdigest(), constants)


def _read(at: str, text: str) -> _Module:
    module = _Module()
    for node in ast.parse(text).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                module.defined[node.name] = node
            case ast.Assign(targets=[ast.Name(id=name)]):
                module.defined[name] = node
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                for target, value in zip(names, values, strict=True):
                    if isinstance(target, ast.Name):
                        module.defined[target.id] = ast.Assign([target], value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
                module.defined[name] = ast.Assign([node.target], node.value)
            case ast.ImportFrom(module=str(origin), level=level):
                # Only packages import by a relative name, and a package goes by the name of its folder.
                whole = f"{at}.{origin}" if level else origin
                for alias in node.names:
                    module.imported[alias.asname or alias.name] = (whole, alias.name)
            case _:
                pass
    return module


def _follow(at: str, name: str, modules: Mapping[str, _Module], found: dict[tuple[str, str], ast.AST]) -> None:
    """Add a definition, and what it uses, to ``found``."""
    module = modules.get(at)
    if module is None or (at, name) in found:
        return
    if name not in module.defined:
        if name in module.imported:  # a package that passes a name on
            _follow(*_home(module, name, modules), modules, found)
        return
    node = found[at, name] = module.defined[name]
    for part in ast.walk(node):
        match part:
            case ast.Attribute(value=ast.Name(id=owner), attr=attribute) if owner in module.imported:
                origin, of = module.imported[owner]
                _follow(f"{origin}.{of}", attribute, modules, found)
            case ast.Name(id=used) if used in module.defined:
                _follow(at, used, modules, found)
            case ast.Name(id=used) if used in module.imported:
                _follow(*_home(module, used, modules), modules, found)
            case _:
                pass


def _home(module: _Module, name: str, modules: Mapping[str, _Module]) -> tuple[str, str]:
    origin, of = module.imported[name]
    return origin, of or name


def _plain(node: Any) -> str:
    """Return a definition without what does not decide."""
    if isinstance(node, ast.AST):
        return f"({type(node).__name__}{''.join(_fields(node))})"
    if isinstance(node, list):
        return f"[{''.join(map(_plain, node))}]" if node else ""
    return repr(node)


def _fields(node: ast.AST) -> Iterator[str]:
    for name, value in ast.iter_fields(node):
        if name in _LAYOUT or value is None:
            continue
        if name == "body" and isinstance(value, list):
            value = [part for part in value if not _is_docstring(part)]
        yield f" {_plain(value)}"


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
