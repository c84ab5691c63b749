# SPDX-License-Identifier: MIT
"""``uffdlab sim``: simulate a design's event counts and costs, whether or not a kernel has it."""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import TYPE_CHECKING, Any

from uffdlab.cli.arguments import add_number, add_size, add_whole, assignment, path
from uffdlab.cli.common import command, last_name
from uffdlab.errors import UffdlabError
from uffdlab.units import LARGEST_SEED

if TYPE_CHECKING:
    from uffdlab.sim import Costs, Result, SimDesign

_EXAMPLES = """examples:
  uffdlab sim --list
  uffdlab sim --design pmd_marker --span 1TiB --populated 0.3 --cluster 64 --writes 1e6
  uffdlab sim --design pmd_marker --set spread='huge page' --set resolve=pmd --span 4GiB --writes 1000
  uffdlab sim --calibrate reference --out data/costs-mine"""

_MOST_PAGES = 1 << 32  # of the largest range, 16 TiB
_MOST_TOUCHES = (1 << 62) - 1


def add(commands: Any) -> None:
    """Add the command."""
    help_ = "simulate the event counts and costs of a write-protection design"
    parser = command(commands, "sim", _sim, help_, calculates=True, epilog=_EXAMPLES)
    parser.add_argument("--list", action="store_true", help="list the designs and their fields")
    parser.add_argument("--design", metavar="NAME", help="name of a design")
    changes = partial(assignment, form="FIELD=VALUE, such as spread=last")
    help_ = "change a field of the design; see --list"
    parser.add_argument("--set", action="append", type=changes, default=[], metavar="FIELD=VALUE", help=help_)
    add_size(parser, "--span", "length of the range, up to 16TiB", default="1GiB")
    add_number(parser, "--populated", 0, 1, "fraction written before protecting", "FRACTION", default="0")
    add_whole(parser, "--cluster", 1, _MOST_PAGES, "contiguous pages per populated cluster", "PAGES", default="1")
    add_whole(parser, "--reads", 0, _MOST_TOUCHES, "reads after protecting", default="0")
    add_whole(parser, "--writes", 0, _MOST_TOUCHES, "writes after those reads", default="0")
    parser.add_argument("--walk", default="uniform", help="order of touches: uniform, zipf, sequential or clustered")
    add_whole(parser, "--walk-cluster", 1, _MOST_PAGES, "clustered: pages per touched cluster", "PAGES", default="1")
    add_whole(parser, "--other-cpus", 0, 1 << 16, "other CPUs that run the process", default="0")
    add_whole(parser, "--seed", 0, LARGEST_SEED, "seed of random choices", default="1")
    parser.add_argument("--expected", action="store_true", help="compute expected values instead of one exact run")
    parser.add_argument("--costs", metavar="DATASET", help="dataset of costs (default: the committed one)")
    parser.add_argument("--calibrate", metavar="DATASET", help="fit costs on a campaign and write them to --out")
    help_ = "with --calibrate: another campaign; intervals are widened until they hold 95 %% of it"
    parser.add_argument("--widen-on", metavar="DATASET", help=help_)
    parser.add_argument("--try-on", metavar="DATASET", help="with --calibrate: a third campaign, to try intervals on")
    parser.add_argument("--out", type=path, metavar="DIR", help="with --calibrate: new directory")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _sim(args: argparse.Namespace) -> int:
    from uffdlab import sim

    if args.list:
        return _list(args.json)
    if args.calibrate is not None:
        return _calibrate(args)
    if args.widen_on is not None or args.try_on is not None:
        raise UffdlabError("--widen-on and --try-on belong to --calibrate: name the campaign to fit costs on")
    if not args.design:
        raise UffdlabError("name a --design, or list them with --list")
    design = _design(args)
    workload = sim.Workload(
        args.span, args.populated, args.cluster, args.reads, args.writes, args.walk, args.walk_cluster,
        args.other_cpus, args.seed,
    )  # fmt: skip
    costs = sim.load_costs(args.costs)
    result = (sim.expect if args.expected else sim.run)(design, workload)
    print(json.dumps(_as_dict(result, costs), indent=1) if args.json else _text(result, costs))
    return 0


def _list(as_json: bool) -> int:
    from dataclasses import asdict

    from uffdlab.sim import DESIGNS
    from uffdlab.sim.designs import choices

    if as_json:
        print(json.dumps([asdict(one) for one in DESIGNS.values()], indent=1))
        return 0
    for design in DESIGNS.values():
        print(f"{design.name:<17} {design.about}")
    print("\nfields for --set and their values:")
    for name, values in choices().items():
        print(f"{name:<17} {', '.join(values)}")
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    from uffdlab import datasets, sim
    from uffdlab.sim.calibrate import calibrate

    if args.out is None:
        raise UffdlabError("--calibrate writes a dataset: name a new directory with --out")
    fitted = datasets.load(datasets.locate(args.calibrate))
    others = [name and datasets.load(datasets.locate(name)) for name in (args.widen_on, args.try_on)]
    made = calibrate(fitted, args.out, last_name(args.out), *others)
    print(sim.costs_of(made).words())
    return 0


def _design(args: argparse.Namespace) -> SimDesign:
    from uffdlab.sim import named

    changes: dict[str, Any] = {name: {"true": True, "false": False}.get(value, value) for name, value in args.set}
    design = named(args.design)
    if not changes:
        return design
    name = f"{design.name} with {', '.join(map('='.join, args.set))}"
    return design.replace(**changes).replace(name=name, about="composed")


def _as_dict(result: Result, costs: Costs) -> dict[str, Any]:
    from dataclasses import asdict

    phases = {}
    for name, ledger in (("protect", result.protect), ("touches", result.touches)):
        priced = costs.price(ledger)
        counted = {event: count for event, count in ledger.items() if count}
        ends = {f"{costs.unit}_low": priced.low, f"{costs.unit}_high": priced.high}
        phases[name] = {"ledger": counted, costs.unit: priced.value} | ends
    return {
        "design": asdict(result.design),
        "workload": asdict(result.workload),
        "exact": result.exact,
        "phases": phases,
        "tables_kib": result.tables_kib,
        "pages_kib": result.pages_kib,
        "costs": {"id": costs.id, "unit": costs.unit, "median_error": costs.median_error, "p95_error": costs.p95_error},
    }


def _format_count(count: float) -> str:
    return f"{count:,.0f}" if count == int(count) else f"{count:,.1f}"


def _text(result: Result, costs: Costs) -> str:
    from uffdlab.units import format_ns, format_size, with_interval

    costs = costs.in_unit("ns")
    lines = [f"{result.design.name}: {result.design.about}"]
    for name, ledger in (("protect", result.protect), ("touches", result.touches)):
        if not any(ledger.values()):
            continue
        priced = costs.price(ledger)
        lines += ["", f"{name}: {with_interval(priced.value, priced.low, priced.high, format_ns)}"]
        for event, count, cost in costs.dearest(ledger):
            lines.append(f"  {event:<18} {_format_count(count):>16} {format_ns(cost):>10}")
        named = [event for event, _, _ in costs.dearest(ledger)]
        for event in ("events_wp", "events_missing", "lost_writes", "false_events"):
            if ledger[event] and event not in named:
                lines.append(f"  {event:<18} {_format_count(ledger[event]):>16}")
        left = sum(1 for event, count in ledger.items() if count and costs.vector[event]) - len(named)
        lines += [f"  and {left} more event(s): --json has them all"] if left > 0 else []
    memory = []
    for what, sizes in (("tables", result.tables_kib), ("pages", result.pages_kib)):
        before, protected, after = (format_size(kib * 1024) for kib in sizes)
        memory.append(f"{what}: {before} before, {protected} protected, {after} after the touches")
    lines += ["", *memory]
    free = costs.unpriced(result.total)
    lines += ["", f"counted without a cost, for want of data: {', '.join(free)}"] if free else []
    return "\n".join([*lines, "", costs.words()])
