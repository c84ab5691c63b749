# SPDX-License-Identifier: MIT
"""The register of rules: it only grows, holds each claim's deciding source by its hash, and is older than new data.

The command in ``REGISTER`` registers a changed rule, with a reason.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rule_sources import SHOWN, Deciding, deciding
from running import PACKAGE_ROOT
from synthetic import dataset

from uffdlab import claims, datasets, rules
from uffdlab.claims import Claim

REGISTER = "PYTHONPATH=tests/helpers python tests/claims/test_claims_rules.py {} --reason '…'  (--wording: same rule)"
ROOT = PACKAGE_ROOT


@cache
def sources() -> dict[str, str]:
    """Return the modules that decide, by dotted name."""
    paths = [*(ROOT / "uffdlab/claims").glob("*.py"), *(ROOT / "uffdlab/stats").glob("*.py")]
    paths = [path for path in paths if path.parent.name != "claims" or path.stem not in SHOWN]
    paths += [ROOT / f"uffdlab/summaries/{name}.py" for name in ("medians", "transmissions", "atomicity", "trackers")]
    paths += (ROOT / "uffdlab/sim").glob("*.py")
    dotted = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths}
    return {name.removesuffix(".__init__"): path.read_text("utf-8") for path, name in dotted.items()}


@cache
def compiled() -> str:
    """Return the C source of the simulator, without comments and layout."""
    parts = [path.read_text("utf-8") for path in sorted((ROOT / "uffdlab/native/sim").glob("*.[ch]"))]
    return " ".join(re.sub(r"/\*.*?\*/|//[^\n]*", "", "\n".join(parts), flags=re.DOTALL).split())


def decides(claim: Claim) -> Deciding:
    if claim.decide is None:
        return Deciding("", {})
    return deciding(claim.decide.__name__, claim.decide.__module__, sources(), {"uffdlab.sim.core": compiled()})


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_the_rule_in_force_is_registered(claim: Claim) -> None:
    entries, found = rules.registrations(claim.id), decides(claim)
    accept = f"register it with: {REGISTER.format(claim.id)}"
    assert entries, accept
    assert (entries[-1].text, entries[-1].sha256 or "") == (claim.rule, found.sha256), accept
    assert entries[-1].constants == found.constants, accept


def test_registrations_are_in_the_order_of_time_and_name_known_claims() -> None:
    entries = json.loads(rules.REGISTER.read_text("utf-8"))["entries"]
    assert [entry["date"] for entry in entries] == sorted(entry["date"] for entry in entries)
    assert {entry["claim"] for entry in entries} == {claim.id for claim in claims.CLAIMS}
    assert all(entry["reason"] for entry in entries)


def test_a_change_of_the_source_or_a_constant_changes_the_hash_and_a_comment_does_not() -> None:
    claim = claims.find("table-fill-slower")
    module = claim.decide.__module__  # type: ignore[union-attr]

    def hashed(old: str, new: str, at: str = module) -> Deciding:
        changed = sources() | {at: sources()[at].replace(old, new, 1)}
        assert changed != sources()
        return deciding(claim.decide.__name__, module, changed)  # type: ignore[union-attr]

    same = decides(claim)
    assert hashed("FILL_SLOWER = 1.25  #", "FILL_SLOWER = 1.25  # on purpose,") == same
    assert hashed("FILL_SLOWER = 1.25", "FILL_SLOWER = 1.2").constants["FILL_SLOWER"] == 1.2
    assert hashed("ratio.above(FILL_SLOWER) or", "not ratio.below(FILL_SLOWER) or").sha256 != same.sha256
    assert hashed("CONFIDENCE = 0.95", "CONFIDENCE = 0.9", "uffdlab.stats.intervals").sha256 != same.sha256
    assert hashed("AN_IPI, NO_IPI = 0.5", "AN_IPI, NO_IPI = 0.6").sha256 == same.sha256, "a constant of other claims"


# --- before or after the data ----------------------------------------------------------------------------------------


def test_a_campaign_that_starts_now_knows_every_rule() -> None:
    provenance = {"rules_registered": rules.count()}
    for claim in claims.CLAIMS:
        found = rules.precedence(claim.id, provenance)
        assert found
        assert found.before
        assert found.words().startswith("rule fixed before the data, on 20")


def test_a_rule_that_is_younger_than_the_data_shows_the_former_one() -> None:
    older = claims.evidence_of(datasets.load(datasets.locate("replication-2026-11-26-amd")))
    verdict = claims.verdict("no-huge-zeropage-needed", older)
    assert "rule fixed before the data" in (verdict.rule_fixed or "")
    verdict = claims.verdict("table-fill-slower", older)
    assert "rule changed after the data" in (verdict.rule_fixed or "")
    assert "By the former rule: holds (" in (verdict.rule_fixed or "")
    assert "rule registered after the data" in (claims.verdict("reads-get-dearer", older).rule_fixed or "")
    spread = claims.verdict("spread-cost-later", older).rule_fixed or ""
    assert "By the former rule: not decided (1.28" in spread, "the code of that time, and not only the text"


def test_data_of_an_unknown_commit_say_nothing_of_precedence(tmp_path: Path) -> None:
    assert claims.verdict("table-fill-slower", dataset(tmp_path / "d")).rule_fixed is None


def test_every_former_rule_is_registered_and_can_be_computed() -> None:
    reference = claims.evidence_of(datasets.load(datasets.locate(None)))
    for claim in claims.CLAIMS:
        commits = {entry.commit[:7] for entry in rules.registrations(claim.id) if entry.change == "rule"}
        assert claim.former.keys() <= commits, claim.id
        for rule in claim.former.values():
            assert rule(reference, claim).startswith(("holds", "does not hold", "not decided", "depends", "predicted"))


def _git(*arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def test_commits_in_the_register_are_of_its_dates() -> None:
    register = json.loads(rules.REGISTER.read_text("utf-8"))
    if _git("rev-parse", "--is-shallow-repository") != "false":
        pytest.skip("no whole history at hand: clone without --depth")
    dates = {entry["commit"]: entry["date"] for entry in register["entries"] if entry["date"] < "2026-11-28"}
    for commit, date in (dates | register["campaigns"]).items():
        assert _git("log", "-1", "--format=%cI", commit) == date
        assert _git("merge-base", "--is-ancestor", commit, "HEAD") is not None


# --- registering -----------------------------------------------------------------------------------------------------


def register(claim: Claim, change: rules.Change, reason: str) -> None:
    """Add the rule in force to the register."""
    found = decides(claim)
    entry: dict[str, Any] = {
        "claim": claim.id,
        "change": change,
        "date": datetime.now(UTC).replace(microsecond=0).isoformat(),
        "commit": _git("rev-parse", "HEAD"),
        "text": claim.rule,
        "constants": found.constants,
        "sha256": found.sha256 or None,
        "reason": reason,
    }
    whole = json.loads(rules.REGISTER.read_text("utf-8"))
    whole["entries"].append(entry)
    rules.REGISTER.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Register the rule in force of claims.")
    parser.add_argument("claims", nargs="+")
    parser.add_argument("--reason", required=True, help="why it changed")
    parser.add_argument("--wording", action="store_true", help="the same numbers decide at the same thresholds")
    chosen = parser.parse_args()
    for id_ in chosen.claims:
        register(claims.find(id_), "wording" if chosen.wording else "rule", chosen.reason)
