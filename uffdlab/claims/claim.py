# SPDX-License-Identifier: MIT
"""A claim: its source, its rule, and the function that decides it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

from uffdlab import datasets, rules
from uffdlab.claims.evidence import Evidence, repeats_beside
from uffdlab.claims.verdict import Ruling, Short, Tested, Verdict, seen_in
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.stats import Estimate

# What a rule that was replaced says of the evidence, in the words it had.
Former = Callable[[Evidence, "Claim"], str]

_DECIDED: WeakKeyDictionary[Dataset, dict[object, Verdict]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Claim:
    """One claim: who made it, what it says, its rule, the notebook that argues it, and the function that decides it.

    ``needs`` names the measurement without which it stays undecided, and ``lacks`` does so in a few words. ``table`` is
    set where the rule reads a table that a campaign of its own measures. ``former`` holds rules that were replaced
    after data were there, by the commit that registered them (7 digits).
    """

    id: str
    who: str
    says: str
    rule: str
    notebook: str
    needs: str
    decide: Callable[[Evidence, Claim], Verdict] | None = field(default=None, repr=False)
    table: str | None = None
    former: Mapping[str, Former] = field(default_factory=dict, repr=False)
    lacks: str = field(kw_only=True)

    def verdict(self, evidence: Evidence) -> Verdict:
        """Return the verdict on the evidence; "not decided" when it lacks what the rule needs."""
        verdict = self._decided(evidence)
        return replace(verdict, who=self.who, says=self.says, rule_fixed=self._rule_fixed(evidence))

    def _rule_fixed(self, evidence: Evidence) -> str | None:
        """Return whether the rule preceded the data, and what the rule before it says of them."""
        found = rules.precedence(self.id, evidence.holding(self.table).provenance)
        if found is None:
            return None
        if found.before:
            return found.words()
        if found.former is None:
            return found.words() + self._decided_since(evidence)
        rule_then = self.former.get(found.former.commit[:7])
        try:
            says = rule_then(evidence, self) if rule_then else "nothing, since no code computed it"
        except UffdlabError as error:
            says = f"not decided: {error}"
        return f"{found.words()}, with the reason: {found.present.reason}. By the former rule: {says}" + (
            self._decided_since(evidence)
        )

    def _decided_since(self, evidence: Evidence) -> str:
        """Return what committed datasets of a suite of its own say that were measured under the rule in force."""
        here = evidence.holding(self.table)
        if self.table is None or here is evidence.campaign:
            return ""
        said = []
        for again in repeats_beside([evidence], self.table):
            since = rules.precedence(self.id, again.provenance)
            if since is not None and since.before:
                verdict = self._decided(Evidence(again))
                said.append(f"{again.id}: {verdict.words}{f', {verdict.number}' if verdict.number else ''}")
        return f". Measured since, under the rule in force: {'; '.join(said)}" if said else ""

    def _decided(self, evidence: Evidence) -> Verdict:
        """Return the verdict without its rule's precedence; on a dataset of a suite of its own, computed once.

        Several campaigns share such a dataset, and others are compared with it.
        """
        data = evidence.holding(self.table)
        if self.table not in data.tables:
            return self._computed(evidence, data)
        known = _DECIDED.setdefault(data, {})
        if (self.id, self.decide) not in known:
            known[self.id, self.decide] = self._computed(evidence, data)
        return known[self.id, self.decide]

    def _computed(self, evidence: Evidence, data: Dataset) -> Verdict:
        if self.decide is None:
            return self.undecided(data, "no probe of this version measures it")
        facts = datasets.differing(data)
        if facts:
            because = f"the dataset merges campaigns that differ in {', '.join(facts)}"
            return self.undecided(data, because, "a verdict on each campaign by itself")
        try:
            return self.decide(evidence, self)
        except UffdlabError as error:  # a column is missing, say, or holds no measurement
            return self.undecided(data, str(error))

    def ruled(
        self,
        data: Dataset,
        verdict: Ruling,
        because: str,
        evidence: Iterable[str] = (),
        *,
        effect: Estimate | None = None,
        quantity: str | None = None,
        depends_on: str | None = None,
        condition: str | None = None,
        missing: str | None = None,
        limits: str | None = None,
    ) -> Verdict:
        """Return a verdict of this claim; ``effect`` is the deciding quantity with its interval."""
        return Verdict(
            self.id,
            verdict,
            self.rule,
            because,
            tuple(evidence),
            quantity=quantity,
            effect=effect.value if effect else None,
            interval=effect.interval if effect else None,
            confidence=effect.confidence if effect else None,
            seen_in=seen_in(effect) if effect else None,
            depends_on=depends_on,
            condition=condition,
            missing=missing,
            dataset=data.id,
            limits=limits,
        )

    def undecided(
        self,
        data: Dataset,
        because: str,
        missing: str | None = None,
        evidence: Iterable[str] = (),
        *,
        tested: Iterable[Tested] = (),
        short_of: Short | None = None,
    ) -> Verdict:
        """Return "not decided", naming the missing measurement.

        ``evidence`` is what was measured all the same. ``tested`` are the quantities that the rule compares with
        thresholds; those whose interval straddles one are shown. Where there are any the verdict is short of
        certainty, and otherwise of a measurement, unless ``short_of`` says so.
        """
        straddling = tuple(str(one) for one in tested if one.open)
        return Verdict(
            self.id,
            "not decided",
            self.rule,
            because,
            tuple(evidence),
            missing=missing or self.needs,
            dataset=data.id,
            short_of=short_of or ("certainty" if straddling else "measurement"),
            tested=straddling,
        )
