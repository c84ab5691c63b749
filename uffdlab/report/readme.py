# SPDX-License-Identifier: MIT
"""The parts of README that are computed, written anew: ``python -m uffdlab.report.readme`` (``make readme``).

Such a part stands between ``<!-- computed: COMMAND -->`` and ``<!-- end -->``, and is what the command prints.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from uffdlab import outfile, starting
from uffdlab.errors import UffdlabError

ACCEPT = "make readme"
_PART = re.compile(r"(<!-- computed: (uffdlab [^\n]*?) -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the computed parts of each file named, README.md by default."""
    try:
        for path in map(Path, (sys.argv[1:] if argv is None else argv) or ["README.md"]):
            outfile.write(path, renewed(path.read_text(encoding="utf-8")).encode("utf-8"))
    except UffdlabError as error:
        print(f"uffdlab: error: {error}", file=sys.stderr)
        return 2
    return 0


def renewed(text: str) -> str:
    """Return a text with its computed parts as they are computed now. Raises UffdlabError where a command fails."""
    return _PART.sub(lambda part: f"{part[1]}{_printed(part[2])}{part[3]}", text)


def _printed(command: str) -> str:
    words = starting.python(*shlex.split(command))
    done = subprocess.run(words, env=starting.environment(), capture_output=True, encoding="utf-8")
    if done.returncode:
        raise UffdlabError(f"'{command}' failed: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
