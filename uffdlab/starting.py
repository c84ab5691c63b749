# SPDX-License-Identifier: MIT
"""Start programs and other Pythons without code from the working directory.

Python looks for modules in the working directory (``-m``), in ``PYTHONPATH`` (where an empty entry is the working
directory again) and in ``sitecustomize`` of both; a shell looks for programs in ``PATH``. Another user may have written
to those directories. So

- this process removes them from ``sys.path`` before it imports anything (:func:`forget_working_directory`);
- another Python is started isolated (``-I``: no working directory, no PYTHON… variable, no user site) and gets the
  ``sys.path`` of this one, and this very package, wherever that was found (:func:`python`);
- a program is looked for in the absolute directories of PATH alone (:func:`program`);
- both get an environment without relative directories (:func:`environment`).

Two things happen before any code of ours runs: ``python -m`` imports a few modules of the standard library from the
working directory, which the command ``uffdlab`` does not; and every Python obeys PYTHONPATH while it starts.

Such a Python runs this file first. It imports only modules that every running interpreter has loaded.
"""

from __future__ import annotations

import os
import sys

OPTIONS = ("-I",)
_LISTS = ("PATH", "PYTHONPATH")  # of directories; a relative or an empty entry is, or is below, the working directory


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in another Python, as ``-m`` would, with this one's ``sys.path``."""
    options = [*OPTIONS, *(["-B"] if sys.dont_write_bytecode else [])]
    return [sys.executable, *options, os.path.abspath(__file__), "\n".join(_absolute(sys.path)), module, *arguments]


def program(name: str) -> str | None:
    """Return the path of a program in an absolute directory of PATH; None when there is none.

    A name with a slash is a path already.
    """
    import shutil

    if os.sep in name:
        return name
    return shutil.which(name, path=os.pathsep.join(_absolute(os.environ.get("PATH", os.defpath).split(os.pathsep))))


def environment(**more: str) -> dict[str, str]:
    """Return the environment for child processes: the caller's, without relative directories.

    PYTHONSTARTUP is removed, too: IPython's kernels run it, though they are not interactive.
    """
    kept = {name: value for name, value in os.environ.items() if name not in (*_LISTS, "PYTHONSTARTUP")}
    for name in _LISTS:
        directories = _absolute(os.environ.get(name, "").split(os.pathsep))
        if directories:  # an empty PATH would be the working directory once more
            kept[name] = os.pathsep.join(directories)
    return kept | more


def forget_working_directory() -> None:
    """Remove the working directory, and directories relative to it, from ``sys.path``, before other imports."""
    try:
        here = os.getcwd()
    except OSError:  # deleted: nothing can be imported from it
        here = ""
    if not sys.flags.safe_path and sys.path and sys.path[0] in ("", here):
        del sys.path[0]
    entries = [] if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = _absolute(entries)
    relative = {os.path.normpath(os.path.join(here, entry)) for entry in entries} - set(kept)
    sys.path[:] = [entry for entry in _absolute(sys.path) if entry not in relative]


def _absolute(directories: list[str]) -> list[str]:
    return [path for path in directories if isinstance(path, str) and os.path.isabs(path)]


def _run_module() -> None:
    """Take over the parent's ``sys.path``, and run the requested module."""
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
    _run_module()
