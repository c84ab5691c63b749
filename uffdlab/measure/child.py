# SPDX-License-Identifier: MIT
"""The child process of one block: a request as JSON on standard input, rows as JSON lines on standard output.

Run by ``starting.python``. It dies with its runner. Every row is flushed when measured, so no finished sample is lost
however it ends.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.measure.registry import PROBES
from uffdlab.probes.userfault import KernelRefused, die_with


def main() -> None:
    """Run the requested block and report its outcome."""
    request = json.load(sys.stdin)
    try:
        if not die_with(request["runner"]):
            return  # the runner has ended
        probe = PROBES[request["probe"]]
        for table, row in probe.run(probe.spec(**request["spec"])):
            _report({"table": table, "row": row})
        _report({"outcome": "ok", "reason": None})
    except KernelRefused as refusal:
        _report({"outcome": "refused", "reason": str(refusal)})
    except UffdlabError as error:
        _report({"outcome": "failed", "reason": str(error)})


def _report(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
