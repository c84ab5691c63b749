# SPDX-License-Identifier: MIT
"""The verdict on a claim, as JSON, as one line and as an HTML card."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from typing import Any, Literal

from uffdlab import units
from uffdlab.rules import FIXED_BEFORE
from uffdlab.stats import CONFIDENCE, Estimate, decided_at, deciding_values
from uffdlab.units import format_ratio, format_share

# "depends": measured on both sides of a condition, which decides. "predicted": from a proxy or the simulator, since no
# kernel has it. "answer": a list of facts, which no measurement decides.
Ruling = Literal[
    "holds", "does not hold", "depends", "predicted to hold", "predicted not to hold", "not decided", "answer"
]


# What "not decided" is short of: the measurement itself, or certainty about what was measured.
Short = Literal["measurement", "certainty"]


def with_interval(estimate: Estimate) -> str:
    """Return an estimate and its interval as text."""
    too_few = " (too few processes for an interval)"
    return units.with_interval(estimate.value, estimate.low, estimate.high, without=too_few)


def in_children(rows: Any) -> str:
    """Return in how many child processes rows were seen, as the end of a sentence; nothing without rows."""
    number = 0 if rows is None else rows.block.nunique()
    return f" in {number} child process{'es' if number != 1 else ''}" if number else ""


@dataclass(frozen=True)
class Tested:
    """A quantity that a rule compares with a threshold."""

    name: str
    estimate: Estimate
    threshold: float

    @property
    def open(self) -> bool:
        """Whether the interval lies on neither side of the threshold."""
        return not (self.estimate.above(self.threshold) or self.estimate.below(self.threshold))

    def __str__(self) -> str:
        """Return at which confidence it would be decided, and beyond which values at the rule's confidence."""
        estimate, threshold = self.estimate, format_ratio(self.threshold)
        start = f"{self.name} against {threshold}"
        ends = deciding_values(estimate, self.threshold)
        if ends is None:
            return f"{start}: {estimate.n} processes give no interval at {format_share(estimate.confidence, 1)}"
        below, above = (format_ratio(end) for end in ends)
        level = format_share(estimate.confidence, 1)
        would = f"at {level} a value below {below} or above {above} would decide"
        if ends[0] <= 0:
            would = f"at {level} not even 0 would be below it with so wide an interval"
        if estimate.again is None:
            return f"{start}: {would}"
        at = decided_at(estimate, self.threshold)
        side = "above" if estimate.value > self.threshold else "below"
        reached = f"{side} it at {format_share(at, 1)} confidence" if at else "on neither side of it at 50% or more"
        return f"{start}: {reached}; {would}"


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim from one dataset.

    ``effect`` is the deciding quantity (``quantity`` names it and its unit) with its ``interval`` at ``confidence``,
    which is above 95 % where several cases decide together (Bonferroni); all are None for a rule about states, and
    where nothing was measured. ``depends_on`` names what "depends" depends on, and ``condition`` says on which side the
    claim holds. ``missing`` (the measurement that would decide) belongs to "not decided" and "predicted". ``short_of``
    says what "not decided" lacks, and ``tested`` how far each quantity that was measured is from its threshold: the
    confidence that was reached, and the least effect that would have been decided. ``rule_fixed`` says whether the rule
    preceded the dataset, and if not, what the former rule says; None where that is not known.
    """

    id: str
    verdict: Ruling
    rule: str
    because: str
    evidence: tuple[str, ...] = ()
    quantity: str | None = None
    effect: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    depends_on: str | None = None
    condition: str | None = None
    missing: str | None = None
    dataset: str | None = None
    limits: str | None = None
    rule_fixed: str | None = None
    short_of: Short | None = None
    tested: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The verdict in words: ``depends on THP``."""
        return f"depends on {self.depends_on}" if self.depends_on else self.verdict

    @property
    def preceded(self) -> bool | None:
        """Whether the rule was fixed before the data; None where that is not known."""
        return self.rule_fixed.startswith(FIXED_BEFORE) if self.rule_fixed else None

    @property
    def kind(self) -> str:
        """The kind of verdict, as a name for styles: ``does-not-hold``, ``predicted``."""
        return self.verdict.split(" ")[0] if self.verdict.startswith("predicted") else self.verdict.replace(" ", "-")

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        lists = {"evidence": list(self.evidence), "tested": list(self.tested)}
        return asdict(self) | lists | {"interval": self.interval and list(self.interval)}

    def _repr_html_(self) -> str:
        """Return the HTML card that a notebook shows and a rendered page styles."""
        rows = [("Rule", self.rule), ("Rule fixed", self.rule_fixed), ("Because", self.because)]
        rows += [("Condition", self.condition), ("Short by", "; ".join(self.tested)), ("Would decide it", self.missing)]
        rows += [("Effect", self._effect())]
        rows += [("Limits", self.limits), ("Computed from", self.dataset)]
        listed = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in rows if text)
        head = f"<p><strong>{html.escape(self.words)}</strong> <code>{html.escape(self.id)}</code></p>"
        return f'<div class="verdict {self.kind}">{head}<dl>{listed}</dl>{self._folded()}</div>'

    def _folded(self) -> str:
        """Return the lines of evidence, folded away; empty without any beyond what the card says."""
        lines = [line for line in self.evidence if line.partition(": ")[2] != self.because]
        if not lines:
            return ""
        items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        return f"<details><summary>Measured, by table ({len(lines)})</summary><ul>{items}</ul></details>"

    def __str__(self) -> str:
        """Return the verdict in one line."""
        return f"{self.id}: {self.words}. {self.because}"

    def key_number(self) -> str | None:
        """Return the deciding quantity with its interval in words; None for a rule about states."""
        if self.effect is None:
            return None
        level = f", at {self.level}" if self.unusual else ""
        return f"{units.with_interval(self.effect, *(self.interval or (None, None)))}: {self.quantity}{level}"

    @property
    def unusual(self) -> bool:
        """Whether the interval is at another confidence than 95 %."""
        return self.interval is not None and self.confidence not in (None, CONFIDENCE)

    @property
    def level(self) -> str:
        """The confidence of the interval in words."""
        return f"{(self.confidence or CONFIDENCE) * 100:.3g} %"

    def _effect(self) -> str | None:
        if self.effect is None:
            return None
        between = (
            f", {self.level} interval {format_ratio(self.interval[0])} to {format_ratio(self.interval[1])}"
            if self.interval
            else ""
        )
        return f"{self.quantity}: {format_ratio(self.effect)}{between}"
