# SPDX-License-Identifier: MIT
"""The child process of one block: a request as JSON on standard input, rows as JSON lines on standard output.

Run by ``starting.python``. It dies with its runner, and every row is flushed when it is measured, so
whatever ends it early loses no finished sample.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.measure.registry import PROBES
from uffdlab.probes.userfault import KernelRefused, die_with


def main() -> None:
    """Run the requested block and say how it ended."""
    request = json.load(sys.stdin)
    try:
        if not die_with(request["runner"]):
            return  # nobody is left to listen
        probe = PROBES[request["probe"]]
        for table, row in probe.run(probe.spec(**request["spec"])):
            _say({"table": table, "row": row})
        _say({"outcome": "ok", "reason": None})
    except KernelRefused as refusal:
        _say({"outcome": "refused", "reason": str(refusal)})
    except UffdlabError as error:
        _say({"outcome": "failed", "reason": str(error)})


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
