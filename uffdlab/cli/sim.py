# SPDX-License-Identifier: MIT
"""``uffdlab sim``: what a design would count and cost, for kernels that have it and for those that do not."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from uffdlab.cli.common import command, last_name, path
from uffdlab.errors import UffdlabError
from uffdlab.units import LARGEST_SEED, shown

if TYPE_CHECKING:
    from uffdlab.sim import Costs, Design, Result

_EXAMPLES = """examples:
  uffdlab sim --list
  uffdlab sim --design pmd_marker --span 1TiB --populated 0.3 --cluster 64 --writes 1e6
  uffdlab sim --design pmd_marker --set spread='huge page' --set resolve=pmd --span 4GiB --writes 1000
  uffdlab sim --calibrate reference --out data/costs-mine"""

_MOST_PAGES = 1 << 32  # of the largest range, 16 TiB
_COUNTS = {  # option → field of the workload, least, most
    "cluster": ("cluster_pages", 1, _MOST_PAGES),
    "reads": ("reads", 0, (1 << 62) - 1),
    "writes": ("writes", 0, (1 << 62) - 1),
    "walk_cluster": ("walk_cluster", 1, _MOST_PAGES),
    "other_cpus": ("other_cpus", 0, 1 << 16),
    "seed": ("seed", 0, LARGEST_SEED),
}


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        "sim",
        _sim,
        "say what a way of write-protecting would count and cost, without a kernel that has it",
        calculates=True,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--list", action="store_true", help="the designs there are, and their fields")
    parser.add_argument("--design", metavar="NAME", help="which design")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change a field of it; --list has them"
    )
    parser.add_argument("--span", default="1GiB", metavar="SIZE", help="length of the range, up to 16TiB")
    parser.add_argument("--populated", default="0", metavar="FRACTION", help="written before protecting")
    parser.add_argument("--cluster", default="1", metavar="PAGES", help="written so many in a row")
    parser.add_argument("--reads", default="0", metavar="N", help="touches after protecting: reads first")
    parser.add_argument("--writes", default="0", metavar="N", help="then writes")
    parser.add_argument("--walk", default="uniform", help="uniform, zipf, sequential or clustered")
    parser.add_argument("--walk-cluster", default="1", metavar="PAGES", help="clustered: touch so many in a row")
    parser.add_argument("--other-cpus", default="0", metavar="N", help="CPUs that run the process as well")
    parser.add_argument("--seed", default="1", metavar="N", help="of what is drawn")
    parser.add_argument("--expected", action="store_true", help="expected values, at once, instead of one exact run")
    parser.add_argument("--costs", metavar="DATASET", help="costs to price it with (default: the committed ones)")
    parser.add_argument("--calibrate", metavar="DATASET", help="fit costs on a campaign, and write them to --out")
    parser.add_argument("--out", type=path, metavar="DIR", help="with --calibrate: new directory")
    parser.add_argument("--json", action="store_true", help="for machines")


def _sim(asked: argparse.Namespace) -> int:
    from uffdlab import sim

    if asked.list:
        return _list(asked.json)
    if asked.calibrate is not None:
        return _calibrate(asked)
    if not asked.design:
        raise UffdlabError("name a --design, or see them with --list")
    design = _design(asked)
    workload = sim.Workload(**_workload(asked))
    costs = sim.load_costs(asked.costs)
    result = (sim.expect if asked.expected else sim.run)(design, workload)
    print(json.dumps(_as_dict(result, costs), indent=1) if asked.json else _text(result, costs))
    return 0


def _list(as_json: bool) -> int:
    from dataclasses import asdict

    from uffdlab.sim import DESIGNS
    from uffdlab.sim.designs import choices

    if as_json:
        print(json.dumps([asdict(one) for one in DESIGNS.values()], indent=1))
        return 0
    for one in DESIGNS.values():
        print(f"{one.name:<17} {one.about}")
    print("\nfields for --set, and what they may be:")
    for name, values in choices().items():
        print(f"{name:<17} {', '.join(values)}")
    return 0


def _calibrate(asked: argparse.Namespace) -> int:
    from uffdlab import datasets, sim
    from uffdlab.sim.calibrate import calibrate

    if asked.out is None:
        raise UffdlabError("--calibrate writes a dataset: name a new directory with --out")
    made = calibrate(datasets.load(datasets.locate(asked.calibrate)), asked.out, last_name(asked.out))
    print(sim.costs_of(made).words())
    return 0


def _design(asked: argparse.Namespace) -> Design:
    from uffdlab.sim import named

    changes: dict[str, Any] = {}
    for one in asked.set:
        name, equals, value = one.partition("=")
        if not equals:
            raise UffdlabError(f"--set {shown(one)} is not FIELD=VALUE, such as spread=last")
        changes[name] = {"true": True, "false": False}.get(value, value)
    design = named(asked.design)
    if not changes:
        return design
    return design.but(**changes).but(name=f"{design.name} with {', '.join(asked.set)}", about="composed")


def _workload(asked: argparse.Namespace) -> dict[str, Any]:
    from uffdlab.units import parse_number, parse_size, parse_whole

    numbers = {
        field: parse_whole(getattr(asked, name), f"--{name.replace('_', '-')}", least, most)
        for name, (field, least, most) in _COUNTS.items()
    }
    populated = parse_number(asked.populated, "--populated", 0, 1)
    span = parse_size(asked.span, "--span")
    return {"span_bytes": span, "populated": populated, "walk": asked.walk} | numbers


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


def _counted(count: float) -> str:
    return f"{count:,.0f}" if count == int(count) else f"{count:,.1f}"


def _text(result: Result, costs: Costs) -> str:
    from uffdlab.units import format_ns, format_size

    costs = costs.in_unit("ns")
    lines = [f"{result.design.name}: {result.design.about}"]
    for name, ledger in (("protect", result.protect), ("touches", result.touches)):
        if not any(ledger.values()):
            continue
        priced = costs.price(ledger)
        spread = (
            ""
            if priced.low is None or priced.high is None
            else f" ({format_ns(priced.low)} to {format_ns(priced.high)})"
        )
        lines += ["", f"{name}: {format_ns(priced.value)}{spread}"]
        for event, count, cost in costs.dearest(ledger):
            lines.append(f"  {event:<18} {_counted(count):>16} {format_ns(cost):>10}")
        named = [event for event, _, _ in costs.dearest(ledger)]
        for event in ("events_wp", "events_missing", "lost_writes", "false_events"):
            if ledger[event] and event not in named:
                lines.append(f"  {event:<18} {_counted(ledger[event]):>16}")
        left = sum(1 for event, count in ledger.items() if count and costs.vector[event]) - len(named)
        lines += [f"  and {left} more event(s): --json has them all"] if left > 0 else []
    memory = []
    for what, sizes in (("tables", result.tables_kib), ("pages", result.pages_kib)):
        before, protected, after = (format_size(one * 1024) for one in sizes)
        memory.append(f"{what}: {before} before, {protected} protected, {after} after the touches")
    lines += ["", *memory]
    free = costs.unpriced(result.total)
    lines += ["", f"counted without a cost, for want of data: {', '.join(free)}"] if free else []
    return "\n".join([*lines, "", costs.words()])
