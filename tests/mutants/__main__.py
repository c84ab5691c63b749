# SPDX-License-Identifier: MIT
"""Runs the tests against code that was changed on purpose, and says which changes they did not notice.

``make mutants``, or ``python tests/mutants [--sample N] [TARGET ...]``. Everything happens in a copy under
``build/mutants``. A target passes when at least 85 % of its mutants were noticed, and ``survivors.toml`` gives a reason
for each of the others.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence

import automatic
import core
import listed
import survivors
from outcome import Outcome

from uffdlab.stats import proportion_interval

ENOUGH = 0.85
TARGETS: dict[str, Callable[[Sequence[str], int], list[Outcome]]] = {
    **dict.fromkeys(automatic.TARGETS, automatic.run),
    core.TARGET: core.run,
    **dict.fromkeys(listed.TARGETS, listed.run),
}


def main(arguments: Sequence[str]) -> int:
    """Run what is args for, print what was found; return 1 unless every target passes."""
    parser = argparse.ArgumentParser(prog="tests/mutants", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--sample", type=int, default=150, metavar="N", help="mutants per target; 0 for all of them")
    args = parser.parse_args(arguments)
    unknown = [name for name in args.targets if name not in TARGETS]
    if unknown:
        parser.error(f"{', '.join(unknown)}: known are {', '.join(TARGETS)}")
    wanted = args.targets or list(TARGETS)
    # A shell lets what it starts in the background ignore these, and tests of signals would see that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    began, found = time.monotonic(), list[Outcome]()
    for run in dict.fromkeys(TARGETS[name] for name in wanted):
        found += run([name for name in wanted if TARGETS[name] is run], args.sample)
    passed = _report(wanted, found)
    print(f"{(time.monotonic() - began) / 60:.0f} minutes")
    return 0 if passed else 1


def _report(wanted: Sequence[str], found: Sequence[Outcome]) -> bool:
    """Print a row for each target, and each survivor with its reason; return whether all is as it should be."""
    known, passed = survivors.reasons(), True
    for target in wanted:
        mine = [one for one in found if one.target == target]
        for one in mine:
            if not one.killed:
                print(f"survived: {one}\n    {known.get(one.key, 'NO REASON GIVEN in survivors.toml')}")
                passed = passed and one.key in known
    print(f"\n{'target':<12}{'mutants':>8}{'killed':>8}{'share':>8}  95 % interval")
    for target in wanted:
        mine = [one for one in found if one.target == target]
        share = proportion_interval(sum(one.killed for one in mine), len(mine)) if mine else None
        if share is None or share.value < ENOUGH:
            passed = False
        if share is None:
            print(f"{target:<12}{0:>8}")
            continue
        killed, low, high = sum(one.killed for one in mine), share.low or 0, share.high or 0
        print(f"{target:<12}{len(mine):>8}{killed:>8}{share.value:>8.1%}  {low:.1%} to {high:.1%}")
    return passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
