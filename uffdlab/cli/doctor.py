# SPDX-License-Identifier: MIT
"""``uffdlab doctor``: report what this host can measure."""

from __future__ import annotations

import argparse
import json
from typing import Any

from uffdlab.cli.common import command


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "doctor", _doctor, "report what this host can measure, and how to enable the rest")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _doctor(args: argparse.Namespace) -> int:
    from uffdlab.host import doctor

    report = doctor.examine()
    print(json.dumps(report.as_dict(), indent=1) if args.json else doctor.text(report))
    return 0
