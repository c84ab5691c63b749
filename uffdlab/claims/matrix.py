# SPDX-License-Identifier: MIT
"""Verdicts of several campaigns side by side, and what is known of why they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

from uffdlab import datasets, units
from uffdlab.claims import standing
from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import Evidence, repeats_beside
from uffdlab.claims.register import CLAIMS
from uffdlab.claims.verdict import Verdict
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError

UNDECIDED = "not decided"
# Facts that may explain a difference, by their names in sentences.
FACTS = {
    "cpu_model": "CPU",
    "kernel_release": "kernel",
    "mitigations": "mitigations",
    "thp_enabled": "THP setting",
    "uffdlab_commit": "version of the probes",
}
LOAD = "load_1min"
YOUNGER = " †"  # after a verdict by a rule that is younger than its data


@dataclass(frozen=True)
class Row:
    """A claim with one verdict per campaign; ``ids`` are those of the campaigns.

    ``sources`` holds the dataset that each verdict was computed from: the campaign, or one that belongs to several, as
    a channel does to the campaigns of its machine. Verdicts and sources beyond ``ids`` are of suites that were
    measured again and belong to no campaign: they have no cell, and count where campaigns are compared.
    """

    claim: Claim
    ids: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    sources: tuple[Dataset, ...]

    @property
    def of_campaigns(self) -> tuple[Verdict, ...]:
        """The verdicts of the campaigns alone."""
        return self.verdicts[: len(self.ids)]

    def first(self, column: int) -> int:
        """Return the first column whose verdict was computed from the same data as that of ``column``."""
        return next(n for n, source in enumerate(self.sources) if source.path == self.sources[column].path)

    @property
    def independent(self) -> tuple[int, ...]:
        """The columns whose data none to their left has."""
        return tuple(n for n in range(len(self.sources)) if self.first(n) == n)

    @property
    def groups(self) -> dict[str, list[int]]:
        """The independent columns by the words of their verdicts."""
        groups: dict[str, list[int]] = {}
        for n in self.independent:
            groups.setdefault(self.verdicts[n].words, []).append(n)
        return groups

    @property
    def decided(self) -> bool:
        """Whether any campaign decides the claim."""
        return any(verdict.verdict != UNDECIDED for verdict in self.verdicts)

    @property
    def quantities(self) -> tuple[str, ...]:
        """The deciding quantities, each once."""
        return tuple(dict.fromkeys(verdict.quantity for verdict in self.verdicts if verdict.quantity))

    def cells(self) -> list[str]:
        """Return, per campaign, the verdict and its key number with interval, or whose data it shares."""
        return [
            self._cell(n) + (YOUNGER if self._younger(n) else "")
            if n == (first := self.first(n))
            else f"as {self.ids[first]}"
            for n in range(len(self.ids))
        ]

    def _younger(self, column: int) -> bool:
        """Whether the rule is younger than data that it was applied to."""
        return self.verdicts[column].preceded is False and not self._absent(column)

    @property
    def marked(self) -> bool:
        """Whether any cell says that the rule is younger than its data."""
        return any(self._younger(n) for n in range(len(self.ids)))

    def _cell(self, column: int) -> str:
        verdict = self.verdicts[column]
        if verdict.number is None:
            return verdict.words
        number = verdict.number + (f" at {verdict.level}" if verdict.unusual else "")
        unlike = f" ({verdict.quantity})" if verdict.quantity != self.quantities[0] else ""
        return f"{verdict.words}, {number}{unlike}"

    def spread(self) -> bool:
        """Whether key numbers of one quantity have intervals that do not all overlap."""
        return any(not _overlap(*pair) for pair in combinations(self._known(self.independent), 2))

    def _known(self, columns: Sequence[int]) -> list[Verdict]:
        return [self.verdicts[n] for n in columns if self.verdicts[n].interval is not None]

    def between(self, column: int = 0) -> str | None:
        """Return how far apart the key numbers are on campaigns of one processor, that of ``column``.

        None with fewer than two of one quantity. That the next campaign's falls between the least and the greatest of
        n has the probability (n - 1) / (n + 1), whatever they are distributed like.
        """
        here = self.verdicts[column]
        alike = [n for n in self.independent if not self._unlike("cpu_model", (n, column))]
        effects = [self.verdicts[n].effect for n in alike if self.verdicts[n].quantity == here.quantity]
        known = [effect for effect in effects if effect is not None]
        if len(known) < 2:
            return None
        next_within = units.format_share((len(known) - 1) / (len(known) + 1))
        least, most = units.format_ratio(min(known)), units.format_ratio(max(known))
        if least == most:
            return f"{least} in each of {len(known)} campaigns"
        return f"{least} to {most} in {len(known)} campaigns, the next within with {next_within}"

    def difference(self) -> str | None:
        """Return in which verdicts the campaigns differ and why, as far as their data say; None where they agree."""
        groups = self.groups
        if len(groups) < 2:
            return None
        said = "; ".join(f"{words} on {_listed(map(self._name, group))}" for words, group in groups.items())
        why = [*self._lacks(groups.get(UNDECIDED, [])), self._intervals(groups), self._machines(groups)]
        return ". ".join([said, *filter(None, why)]) + "."

    def _name(self, column: int) -> str:
        return self.sources[column].id

    def _lacks(self, undecided: Sequence[int]) -> Iterator[str]:
        """Yield what the undecided campaigns lack: a measurement, or certainty."""
        by_need: dict[str, list[int]] = {}
        for n in undecided:
            need = standing.short_name(self.verdicts[n], self.claim)
            by_need.setdefault(f"{'Not measured' if self._absent(n) else 'Needed'} {{}}: {need}", []).append(n)
        for words, columns in by_need.items():
            yield words.format("there" if len(by_need) == 1 else f"on {_listed(map(self._name, columns))}")

    def _absent(self, column: int) -> bool:
        """Whether a campaign lacks a measurement: its machine has no part in that."""
        return self.verdicts[column].short_of == "measurement"

    def _intervals(self, groups: dict[str, list[int]]) -> str:
        """Return whether intervals of campaigns that decide differently overlap."""
        decided = [self._known(group) for words, group in groups.items() if words != UNDECIDED]
        pairs = [pair for one, other in combinations(decided, 2) for pair in product(one, other)]
        alike = [_overlap(*pair) for pair in pairs if pair[0].quantity == pair[1].quantity]
        if not alike:
            return ""
        return "Intervals overlap" if any(alike) else "Intervals do not overlap"

    def _machines(self, groups: dict[str, list[int]]) -> str:
        """Return which facts of the machines go with the verdicts, and whether like machines differ all the same."""
        measured = [[n for n in group if not self._absent(n)] for group in groups.values()]
        measured = [group for group in measured if group]
        across = [pair for one, other in combinations(measured, 2) for pair in product(one, other)]
        if not across:
            return ""
        alike = next((pair for pair in across if datasets.same_machine(*(self.sources[n] for n in pair))), None)
        facts = [name for fact, name in FACTS.items() if all(self._unlike(fact, pair) for pair in across)]
        facts += self._load(measured)
        differs = f"With the verdict differ: {_listed(facts)}" if facts else ""
        if alike:
            reason = (
                f"The machine alone is not why: {_listed(map(self._name, alike))} have the same CPU, kernel and THP"
            )
            return f"{reason}. {differs}" if differs else reason
        return differs or "Nothing that is recorded of the machines goes with it"

    def _unlike(self, fact: str, pair: tuple[int, int]) -> bool:
        one, other = (self.sources[n].provenance.get(fact) for n in pair)
        return one is not None and other is not None and one != other

    def _load(self, groups: Sequence[Sequence[int]]) -> list[str]:
        """Return the load at the start by group, where the ranges are apart."""
        loads = [[self.sources[n].provenance.get(LOAD) for n in group] for group in groups]
        known = [[float(load) for load in group if load is not None] for group in loads]
        if any(not group for group in known):
            return []
        ranges = [(min(group), max(group)) for group in known]
        if not all(one[1] < other[0] or other[1] < one[0] for one, other in combinations(ranges, 2)):
            return []
        words = [f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in ranges]
        return [f"load at the start ({' / '.join(words)})"]


@dataclass(frozen=True)
class Matrix:
    """Claims by campaigns."""

    campaigns: tuple[Evidence, ...]
    rows: tuple[Row, ...]
    repeats: tuple[Dataset, ...] = ()  # of a suite that a campaign has a companion of; they belong to no campaign

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the campaigns, in their order."""
        return tuple(evidence.campaign.id for evidence in self.campaigns)

    def differences(self) -> dict[str, str]:
        """Return, by claim, why its verdicts differ; claims with one verdict are left out."""
        found = {row.claim.id: row.difference() for row in self.rows}
        return {id_: text for id_, text in found.items() if text is not None}

    def summary(self) -> str:
        """Return how many claims have one verdict on all campaigns, and which of them in other numbers."""
        same = [row for row in self.rows if row.decided and len(row.groups) == 1]
        none = sum(not row.decided for row in self.rows)
        parts = [f"{len(same)} of {len(self.rows)} claims have the same verdict on all of them"]
        apart = [row.claim.id for row in same if row.spread()]
        if apart:
            parts[0] += f", {_listed(apart)} with key numbers whose intervals do not all overlap"
        if none:
            parts.append(f"{none} {'is' if none == 1 else 'are'} decided on none")
        marked = any(row.marked for row in self.rows)
        legend = (
            f" {YOUNGER.strip()} the rule is younger than these data: 'uffdlab claims' says what the former one said."
        )
        return "; ".join(parts) + "." + (legend if marked else "")

    def machines(self) -> Iterator[str]:
        """Yield a line per campaign, then per repeated suite: what it is, and the facts of its machine.

        A campaign's names the datasets of the suites that belong to it as well.
        """
        for n, evidence in enumerate(self.campaigns):
            facts = evidence.campaign.provenance
            line = f"{evidence.campaign.origin()}; {evidence.campaign.title}"
            if facts.get(LOAD) is not None:
                line += f"; load {facts[LOAD]:g} at the start"
            line += self._mitigations(n)
            yield "; ".join([line, *(f"{suite}: {data.id}" for suite, data in evidence.companions.items())])
        for repeat in self.repeats:
            yield f"{repeat.origin()}; {repeat.title}: compared with those above"

    def _mitigations(self, column: int) -> str:
        """Return which mitigations of a campaign are unlike those of the first; empty where they are alike."""
        first, here = self.campaigns[0].campaign, self.campaigns[column].campaign
        unlike = _unlike_mitigations(first, here)
        if not unlike:
            return ""
        before = [evidence.campaign for evidence in self.campaigns[1:column]]
        same = next((data.id for data in before if not _unlike_mitigations(data, here)), None)
        return f"; mitigations as {same}" if same else f"; mitigations unlike those of {first.id}: {', '.join(unlike)}"


def matrix(campaigns: Sequence[Evidence], chosen: Sequence[Claim] = CLAIMS) -> Matrix:
    """Return the verdicts of several campaigns on the chosen claims.

    Raises UffdlabError if there are none, or two of one id: it would say nothing to compare them.
    """
    ids = [evidence.campaign.id for evidence in campaigns]
    if not ids:
        raise UffdlabError("there is no campaign to compare: name datasets")
    twice = next((id_ for id_ in ids if ids.count(id_) > 1), None)
    if twice:
        raise UffdlabError(f"dataset {twice!r} is named twice: leave one out")
    repeats: dict[str, tuple[Dataset, ...]] = {}
    rows = []
    for claim in chosen:
        verdicts = _verdicts(claim, campaigns)
        sources = tuple(_source(*pair) for pair in zip(campaigns, verdicts, strict=True))
        again = repeats.setdefault(claim.table, tuple(repeats_beside(campaigns, claim.table))) if claim.table else ()
        verdicts += tuple(claim.verdict(Evidence(repeat)) for repeat in again)
        rows.append(Row(claim, tuple(ids), verdicts, sources + again))
    return Matrix(tuple(campaigns), tuple(rows), tuple(data for found in repeats.values() for data in found))


def _verdicts(claim: Claim, campaigns: Sequence[Evidence]) -> tuple[Verdict, ...]:
    """Return a claim's verdict per campaign; one on a dataset that several campaigns share is computed once."""
    shared: dict[Path, Verdict] = {}
    verdicts = []
    for evidence in campaigns:
        data = evidence.holding(claim.table)
        if data is evidence.campaign:
            verdicts.append(claim.verdict(evidence))
            continue
        if data.path not in shared:
            shared[data.path] = claim.verdict(evidence)
        verdicts.append(shared[data.path])
    return tuple(verdicts)


def _source(evidence: Evidence, verdict: Verdict) -> Dataset:
    """Return the dataset that a verdict was computed from; costs stand for the campaign they were calibrated on."""
    shared = (*evidence.companions.values(), evidence.published)
    return next((data for data in shared if data is not None and data.id == verdict.dataset), evidence.campaign)


def _unlike_mitigations(reference: Dataset, campaign: Dataset) -> list[str]:
    one, other = (data.provenance.get("mitigations") or {} for data in (reference, campaign))
    return sorted(name for name in one.keys() & other.keys() if one[name] != other[name])


def _overlap(one: Verdict, other: Verdict) -> bool:
    if one.interval is None or other.interval is None or one.quantity != other.quantity:
        return True  # not to be compared
    return one.interval[0] <= other.interval[1] and other.interval[0] <= one.interval[1]


def _listed(names: Sequence[str] | Iterator[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
