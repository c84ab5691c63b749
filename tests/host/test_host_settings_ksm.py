# SPDX-License-Identifier: MIT
"""KSM's settings on a made-up /sys: numbers are restored, and KSM unmerges before it stops."""

from __future__ import annotations

import json
import os
import signal

import pytest
from test_host_settings import KSM, _child, _get, _put, root, state  # noqa: F401  (fixtures)

from uffdlab.host import settings


def test_number_is_set_and_restored(root, state):  # noqa: F811
    with settings.changed({"ksm_pages_to_scan": 40}, allow=True, root=root) as now:
        assert now == {"ksm_pages_to_scan": "40"}, "less than before: a number is no pool"
        assert _get(root, f"{KSM}/pages_to_scan") == "40"
        assert json.loads((state / "journal.json").read_text())["entries"] == [
            {"setting": "ksm_pages_to_scan", "old": "100", "wanted": "40", "set": "40"}
        ]
    assert _get(root, f"{KSM}/pages_to_scan") == "100"
    with settings.changed({"ksm_pages_to_scan": "0100"}, allow=False, root=root) as now:
        assert now == {"ksm_pages_to_scan": "100"}


@pytest.mark.parametrize(("before", "written"), [("0", ["1", "2", "0"]), ("2", ["1", "2"])])
def test_ksm_unmerges_before_it_is_stopped(root, monkeypatch, before, written):  # noqa: F811
    real, seen = settings._write, []

    def watched(setting, value, root):
        seen.append(value)
        real(setting, value, root)

    _put(root, f"{KSM}/run", before)
    monkeypatch.setattr(settings, "_write", watched)
    with settings.changed({"ksm_run": 1}, allow=True, root=root):
        pass
    assert seen == written
    assert _get(root, f"{KSM}/run") == before


def test_ksm_that_ran_before_does_not_unmerge(root, monkeypatch):  # noqa: F811
    real, seen = settings._write, []
    monkeypatch.setattr(settings, "_write", lambda *args: (seen.append(args[1]), real(*args)))
    _put(root, f"{KSM}/run", "1")
    with settings.changed({"ksm_run": 0}, allow=True, root=root):
        pass
    assert seen == ["0", "1"]


@pytest.mark.parametrize("found", ["1", "2"])
def test_ksm_is_restored_after_sigkill_even_while_restoring(root, state, found):  # noqa: F811
    with _child(root, {"ksm_pages_to_scan": 4000, "ksm_run": 1}) as child:
        assert _get(root, f"{KSM}/run") == "1"
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        _put(root, f"{KSM}/run", found)
        first, second = settings.restore_leftovers(root)
    assert first.startswith("ksm_run")
    assert first.endswith("was put back to 0.")
    assert second.endswith("was put back to 100.")
    assert (_get(root, f"{KSM}/run"), _get(root, f"{KSM}/pages_to_scan")) == ("0", "100")
    assert os.listdir(state) == []
