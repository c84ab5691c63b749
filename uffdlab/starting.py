# SPDX-License-Identifier: MIT
"""How whatever we start is started: nothing of it comes from the directory one happens to stand in.

Python looks for modules in the working directory (``-m``), in ``PYTHONPATH`` (where an empty entry is the working
directory again) and in ``sitecustomize`` of both; a shell looks for programs wherever ``PATH`` says. Somebody else may
have written what is found there. So

- the process itself drops such places before it imports anything (:func:`forget_where_one_stands`);
- another Python is started isolated (``-I``: no working directory, no PYTHON… variable, no user site) and is handed
  what this one imports from: its ``sys.path``, and this very package, wherever that was found (:func:`python`);
- a program is looked for in the absolute directories of PATH alone (:func:`program`);
- either gets an environment that does not lead it there (:func:`environment`).

Two things happen before any code of ours runs. ``python -m`` takes a few modules of the standard library from where one
stands: the command ``uffdlab`` does not. And every Python obeys PYTHONPATH while it starts.

This file is also what such a Python runs first. It imports nothing that is not part of a running interpreter.
"""

from __future__ import annotations

import os
import sys

OPTIONS = ("-I",)
_LISTS = ("PATH", "PYTHONPATH")  # of directories; a relative or an empty entry is, or is below, the working directory


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in another Python, as ``-m`` would, importing what this one would."""
    options = [*OPTIONS, *(["-B"] if sys.dont_write_bytecode else [])]
    return [sys.executable, *options, os.path.abspath(__file__), "\n".join(_absolute(sys.path)), module, *arguments]


def program(name: str) -> str | None:
    """Return the path of a program in an absolute directory of PATH; None when there is none.

    A name with a slash is a path already, and stays as it is.
    """
    import shutil

    if os.sep in name:
        return name
    return shutil.which(name, path=os.pathsep.join(_absolute(os.environ.get("PATH", os.defpath).split(os.pathsep))))


def environment(**more: str) -> dict[str, str]:
    """Return the environment for what we start: the caller's, without what leads to where one stands.

    PYTHONSTARTUP goes, too: IPython's kernels run it, though they are not interactive.
    """
    kept = {name: value for name, value in os.environ.items() if name not in (*_LISTS, "PYTHONSTARTUP")}
    for name in _LISTS:
        directories = _absolute(os.environ.get(name, "").split(os.pathsep))
        if directories:  # an empty PATH would be the working directory once more
            kept[name] = os.pathsep.join(directories)
    return kept | more


def forget_where_one_stands() -> None:
    """Take out of ``sys.path`` what is the working directory, or was named relative to it.

    For a process that is ours, before it imports anything: what is imported later comes from elsewhere then.
    """
    try:
        here = os.getcwd()
    except OSError:  # deleted: nothing can be imported from it
        here = ""
    if not sys.flags.safe_path and sys.path and sys.path[0] in ("", here):
        del sys.path[0]
    named = [] if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "").split(os.pathsep)
    meant = _absolute(named)
    relative = {os.path.normpath(os.path.join(here, entry)) for entry in named} - set(meant)
    sys.path[:] = [entry for entry in _absolute(sys.path) if entry not in relative]


def _absolute(directories: list[str]) -> list[str]:
    return [one for one in directories if isinstance(one, str) and os.path.isabs(one)]


def _be_the_python_started() -> None:
    """Import from where the starting Python does, and become the module that was asked for."""
    import runpy
    from importlib.util import module_from_spec, spec_from_file_location

    sys.path[:], module = sys.argv[1].split("\n"), sys.argv[2]
    del sys.argv[1:3]
    package = os.path.dirname(os.path.abspath(__file__))
    # This package and no other of its name, without the directory that it stands in.
    spec = spec_from_file_location("uffdlab", f"{package}/__init__.py", submodule_search_locations=[package])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["uffdlab"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["uffdlab"])
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _be_the_python_started()
