# SPDX-License-Identifier: MIT
"""Nested blocks of changed settings: each restores its own, whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running import environment
from test_host_settings import POOL, THP, _get, root, state  # noqa: F401  (fixtures)

from uffdlab.errors import UffdlabError
from uffdlab.host import settings

ZERO = f"{THP}/use_zero_page"


def test_inner_block_restores_only_its_own_changes(root: Path, state: Path) -> None:  # noqa: F811
    with settings.changed({"hugetlb_2048": 5}, allow=True, root=root):
        pool = _get(root, f"{POOL}/nr_hugepages")
        for _ in range(2):
            with settings.changed({"thp_use_zero_page": False}, allow=True, root=root):
                assert _get(root, ZERO) == "0"
                assert len(json.loads((state / "journal.json").read_text())["entries"]) == 2
            assert _get(root, ZERO) == "1"
            assert _get(root, f"{POOL}/nr_hugepages") == pool
            assert len(json.loads((state / "journal.json").read_text())["entries"]) == 1
    assert _get(root, f"{POOL}/nr_hugepages") == "3"
    assert not (state / "journal.json").exists()


def test_failed_inner_change_leaves_the_outer_in_force(root: Path, state: Path) -> None:  # noqa: F811
    with settings.changed({"thp_use_zero_page": False}, allow=True, root=root):
        with pytest.raises(UffdlabError), settings.changed({"thp_enabled": "sometimes"}, allow=True, root=root):
            raise AssertionError("never entered")
        assert _get(root, ZERO) == "0"
    assert _get(root, ZERO) == "1"


def test_next_command_restores_both_blocks_after_sigkill(root: Path, state: Path) -> None:  # noqa: F811
    code = (
        "import os, signal; from pathlib import Path; from uffdlab.host import settings\n"
        f"root = Path({str(root)!r})\n"
        "with settings.changed({'thp_enabled': 'never'}, allow=True, root=root):\n"
        "    with settings.changed({'thp_use_zero_page': False}, allow=True, root=root):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    (root / THP / "enabled").write_text("madvise\n")
    done = subprocess.run([sys.executable, "-c", code], env=environment(**{settings.STATE_DIR_VARIABLE: str(state)}))
    assert done.returncode == -signal.SIGKILL
    assert (_get(root, f"{THP}/enabled"), _get(root, ZERO)) == ("never", "0")
    assert len(settings.restore_leftovers(root)) == 2
    assert (_get(root, f"{THP}/enabled"), _get(root, ZERO)) == ("madvise", "1")
    assert os.listdir(state) == [] or not (state / "journal.json").exists()
