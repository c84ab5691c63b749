# SPDX-License-Identifier: MIT
"""The command line as users run it: errors, output, and the files it leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
from running import UFFDLAB, environment, sentence, uffdlab_run, wait_until
from synthetic import FACTS, dataset, sample

from uffdlab import claims, datasets
from uffdlab.datasets.descriptor import read_raw, rewrite
from uffdlab.host import memory

POINT = ("measure", "protect", "--size=4MiB", "--repeats=2")
COMMANDS = ("", "doctor", "ask", "measure", "scan", "data", "render", "claims", "lab")
ACTIONS = ("list", "check", "merge", "scrub", "seal")


def refusal_of(*arguments: str | Path, cwd: Path, **more: Any) -> str:
    """Return the error sentence of a command, which must write nothing."""
    before = sorted(cwd.rglob("*"))
    refusal = sentence(uffdlab_run(*arguments, cwd=cwd, **more))
    assert sorted(cwd.rglob("*")) == before, "nothing was written"
    return refusal


# --- bad requests ----------------------------------------------------------------------------------------------------


@pytest.mark.uffd
@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ((), "the following arguments are required: COMMAND; see 'uffdlab --help'"),
        (("mesure",), "invalid choice: 'mesure'"),
        (("measure",), "nothing to measure: pass --suite quick, or one of protect, semantics"),
        (("measure", "--fast"), "unrecognized arguments: --fast"),
        (("measure", "magic"), "unknown probe 'magic'"),
        (("measure", "protect", "--size=0"), "is not a positive multiple of anon's 4 KiB page"),
        (("measure", "protect", "--size=-1GiB"), "is not a positive multiple of anon's 4 KiB page"),
        (("measure", "protect", "--size=4097"), "not a positive multiple of anon's 4 KiB page"),
        (("measure", "protect", "--size=4KiB", "--backing=anon_thp"), "multiple of anon_thp's 2 MiB page up to 64 TiB"),
        (("measure", "protect", "--size=500TiB"), "not a positive multiple of anon's 4 KiB page up to 64 TiB"),
        (("measure", "protect", "--size=60TiB"), "choose a smaller --size"),
        (("measure", "protect", "--size=32TiB", "--backing=shmem", "--design=preread"), "choose a smaller --size"),
        (("measure", "protect", "--size=lots"), "'lots' is not a size"),
        (("measure", "protect", "--size=1e9"), "'1e9' is not a size"),
        (("measure", "protect", "--size=1G"), "'1G' is not a size"),
        (("measure", "protect", "--size=0.3KiB"), "not a whole number of bytes"),
        (("measure", "protect", "--size=" + "9" * 5000), "is not a size"),
        (("measure", "protect", "--size="), "'' is not a size"),
        (("measure", "protect", "--backing=swap"), "unknown backing 'swap'"),
        (("measure", "protect", "--design=magic"), "unknown design 'magic'"),
        (("measure", "protect", "--repeats=0"), "--repeats '0' is not a whole number from 1 to 1000000"),
        (("measure", "protect", "--repeats=-1"), "--repeats '-1' is not a whole number"),
        (("measure", "protect", "--repeats=abc"), "--repeats 'abc' is not a whole number"),
        (("measure", "protect", "--repeats=" + "9" * 5000), "is not a whole number"),
        (("measure", "protect", "--populated=2"), "--populated '2' is not a number from 0 to 1"),
        (("measure", "protect", "--populated=nan"), "--populated 'nan' is not a number from 0 to 1"),
        (("measure", "protect", "--populated=half"), "--populated 'half' is not a number"),
        (("measure", "protect", "--seed=x"), "--seed 'x' is not a whole number"),
        (("measure", "protect", "--only=semantics"), "--only"),
        (("measure", "semantics", "--features=magic"), "unknown features 'magic'"),
        (("measure", "semantics", "--content=full"), "unknown content 'full'"),
        (("measure", "semantics", "--backing=swap"), "unknown backing 'swap'"),
        (("measure", "--suite=quick"), "pass --out with a new directory"),
        (("measure", "--suite=huge", "--out=d"), "unknown suite 'huge': choose one of quick, full"),
        (("measure", "--suite=quick", "--only=magic", "--out=d"), "unknown probe 'magic'"),
        (("measure", "protect", "--suite=quick", "--out=d"), "exclude each other"),
        (("measure", "--resume"), "--resume needs --out"),
        (("measure", "--out=d", "--resume"), "there is nothing to continue"),
        (("measure", "--out=d", "--resume", "--finish"), "exclude each other"),
        (("measure", "protect", "--out=d", "--finish"), "'protect' is a single point"),
        (("claims", "no-such-claim"), "no claim is called 'no-such-claim'"),
        (("data", "merge", "a"), "the following arguments are required: --out"),
        (("lab", "--notebooks=nowhere"), "--notebooks nowhere is not a directory"),
    ],
)
def test_an_invalid_request_gives_one_sentence(arguments: tuple[str, ...], refusal: str, tmp_path: Path) -> None:
    assert refusal in refusal_of(*arguments, cwd=tmp_path)


@pytest.mark.uffd
def test_missing_huge_pages_are_reported_with_how_to_get_them(tmp_path: Path) -> None:
    pool = memory.hugepages(2048)
    if pool is None:
        pytest.skip("this kernel has no huge pages of 2 MiB")
    size = f"--size={((pool.available or 0) + 1) * 2}MiB"
    refusal = refusal_of("measure", "protect", "--backing=hugetlb_2m_private", "--design=preread", size, cwd=tmp_path)
    assert "let uffdlab fill the pool meanwhile with --allow-host-changes" in refusal


# --- bad places to write to ------------------------------------------------------------------------------------------


def test_out_is_refused_if_it_is_a_directory_with_files(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine").touch()
    assert "exists and is not empty" in refusal_of(*POINT, "--out=d", cwd=tmp_path)


def test_out_is_refused_if_it_is_a_file_or_below_one(tmp_path: Path) -> None:
    (tmp_path / "d").touch()
    assert "exists and is not a directory" in refusal_of(*POINT, "--out=d", cwd=tmp_path)
    assert "is not a directory" in refusal_of(*POINT, "--out=d/e", cwd=tmp_path)


@pytest.mark.uffd
@pytest.mark.parametrize(
    ("probe", "options", "printed"),
    [
        ("faults", ("--size=2MiB",), "first write"),
        ("zeropages", ("--size=2MiB",), "protected"),
        ("resolve", ("--size=2MiB",), "resolve_ns"),
        ("equality", ("--size=2MiB",), "MADV_POPULATE_READ"),
        ("published", ("--size=2MiB",), "WP-UNPOPULATE"),
        ("tracking", ("--size=2MiB",), "scan_ns"),
        ("scale", ("--size=4MiB", "--set=threads=1"), "protect_zeropages"),
        ("atomicity", ("--size=1MiB", "--set=interleaving=deterministic"), "lost"),
    ],
)
def test_every_probe_prints_its_results(probe: str, options: tuple[str, ...], printed: str, tmp_path: Path) -> None:
    done = uffdlab_run(
        "measure", probe, *options, *(() if probe in ("equality", "published") else ("--repeats=1",)), cwd=tmp_path
    )
    assert (done.returncode, printed in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_long_directory_name_loses_no_rows(tmp_path: Path) -> None:
    out = tmp_path / ("long-" * 40)
    done = uffdlab_run(*POINT, "--out", out, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(datasets.load(out).table("samples")) == 2


# --- bad data --------------------------------------------------------------------------------------------------------


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return dataset(tmp_path / "good", samples=[sample("anon", "pte_marker", 0, 1000 + i) for i in range(9)]).path


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_an_intact_dataset_is_valid(good: Path, tmp_path: Path) -> None:
    done = uffdlab_run("data", "check", good, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "valid; 9 samples" in done.stdout


@pytest.mark.parametrize(
    ("name", "refusal"),
    [("nowhere", "nowhere"), ("file", "is a file, not a directory"), ("empty", "the directory is not a dataset")],
)
@pytest.mark.parametrize("command", [("data", "check"), ("claims", "--data")])
def test_anything_but_a_dataset_is_refused_by_name(
    command: tuple[str, ...], name: str, refusal: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    assert refusal in refusal_of(*command, f"./{name}", cwd=tmp_path)


def _truncated(good: Path) -> None:
    content = (good / "samples.csv").read_bytes()
    (good / "samples.csv").write_bytes(content[:-40])


def _other_hash(good: Path) -> None:
    edited(good / "samples.csv", ",1003,", ",1004,")


def _newer_format(good: Path) -> None:
    edited(good / "datapackage.json", '"format_version": 1', '"format_version": 2')


def _wrong_type(good: Path) -> None:
    edited(good / "samples.csv", ",1003,", ",fast,")


def _extra_column(good: Path) -> None:
    edited(good / "samples.csv", "block,", "secret,block,")


def _endless_file(good: Path) -> None:
    os.truncate(good / "samples.csv", 200 << 20)


def _endless_line(good: Path) -> None:
    os.truncate(good / "samples.csv", 60 << 20)


def _fifo(good: Path) -> None:
    (good / "samples.csv").unlink()
    os.mkfifo(good / "samples.csv")


def _link_to_device(good: Path) -> None:
    (good / "samples.csv").unlink()
    (good / "samples.csv").symlink_to("/dev/zero")


def _device(good: Path) -> None:
    (good / "samples.csv").unlink()
    try:
        os.mknod(good / "samples.csv", 0o20644, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("only root may make a device")


@pytest.mark.parametrize(
    ("damage", "refusal"),
    [
        (_truncated, "does not end: the file was cut off"),
        (_other_hash, "differs from its recorded SHA-256"),
        (_newer_format, "newer than the 1 this uffdlab reads; update uffdlab"),
        (_wrong_type, "line 5, column 'protect_ns': 'fast' is not an integer"),
        (_extra_column, "'secret', which datapackage.json does not declare"),
        (_endless_file, "has 200 MiB, more than the 64 MiB a file of a dataset may have"),
        (_endless_line, "is longer than 1 MiB"),
        (_fifo, "is a FIFO; a dataset holds plain files only"),
        (_link_to_device, "is a symbolic link"),
        (_device, "is a device"),
    ],
)
def test_a_damaged_dataset_is_refused_with_the_place(damage: Any, refusal: str, good: Path, tmp_path: Path) -> None:
    damage(good)
    assert refusal in refusal_of("claims", "--data", good, cwd=tmp_path)


# --- measuring a point -----------------------------------------------------------------------------------------------


@pytest.mark.uffd
def test_a_point_is_printed_as_json(tmp_path: Path) -> None:
    point = ("measure", "protect", "--backing", "anon", "--design", "pte_marker", "--size", "64MiB", "--repeats", "3")
    done = uffdlab_run(*point, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert [row["cold"] for row in printed["samples"]] == [True, False, False]
    for row in printed["samples"]:
        assert row["size_kib"] == 64 << 10
        assert row["prepare_ns"] == 0
        assert row["register_ns"] > 0
        assert row["protect_ns"] > 0
        assert 128 <= row["table_growth_kib"] <= 144
        assert row["rss_growth_kib"] == pytest.approx(0, abs=1024)
    assert [row["outcome"] for row in printed["outcomes"]] == ["ok"]
    assert printed["provenance"]["kernel_release"] == os.uname().release


@pytest.mark.uffd
def test_a_point_is_printed_as_a_table(tmp_path: Path) -> None:
    done = uffdlab_run("measure", "semantics", "--backing=shmem", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "write_reported" in done.stdout


@pytest.mark.uffd
def test_a_point_is_written_as_a_dataset(tmp_path: Path) -> None:
    done = uffdlab_run(*POINT, "--seed=5", "--out=My Machine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kept = datasets.load(tmp_path / "My Machine")
    assert (kept.id, kept.provenance["seed"], len(kept.table("samples"))) == ("my-machine", 5, 2)


@pytest.mark.uffd
def test_a_point_whose_child_fails_late_prints_its_rows(tmp_path: Path, child_code: Any) -> None:
    child_code(
        "from uffdlab.probes import protect\n"
        "def run(spec, real=protect.run):\n"
        "    yield from real(spec)\n"
        "    raise RuntimeError('too late')\n"
        "protect.run = run\n"
    )
    done = uffdlab_run(*POINT, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["samples"]) == 2
    assert "uffdlab: 1 x protect failed: exit status 1: RuntimeError: too late" in done.stderr


# --- Ctrl-C and SIGKILL ----------------------------------------------------------------------------------------------


@pytest.mark.uffd
def test_ctrl_c_in_a_suite_keeps_its_finished_blocks(tmp_path: Path) -> None:
    command = [*UFFDLAB, "measure", "--suite=quick", "--only=protect", "--out=d"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        seen = []
        for line in running.stderr:
            seen.append(line)
            if "blocks done" in line:
                break
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
        status = running.wait(timeout=60)
    assert status == 130, [*seen, rest]
    assert "Traceback" not in rest
    assert "d.partial: continue with 'uffdlab measure --out d --resume'" in rest
    assert os.listdir(tmp_path) == ["d.partial"]
    assert uffdlab_run("measure", "--out=d", "--finish", cwd=tmp_path).returncode == 0
    assert os.listdir(tmp_path) == ["d"]
    kept = datasets.load(tmp_path / "d")
    outcomes = list(kept.table("outcomes").outcome)
    finished = outcomes.index("interrupted")
    assert finished >= 5
    assert set(outcomes[finished:]) == {"interrupted"}
    assert len(kept.table("samples")) >= 2 * finished - 2 * outcomes.count("skipped")


@pytest.mark.uffd
def test_the_next_command_restores_the_pool_of_a_killed_one(changeable_pool: None, tmp_path: Path) -> None:
    before = memory.hugepages(2048)
    assert before is not None
    env = environment(UFFDLAB_STATE_DIR=str(tmp_path / "state"))
    point = ("measure", "protect", "--backing=hugetlb_2m_private", "--design=preread")
    size = f"--size={((before.available or 0) + 2) * 2}MiB"
    command = [*UFFDLAB, *point, size, "--repeats=1000000", "--allow-host-changes"]
    try:
        with subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL) as running:
            try:
                wait_until(lambda: _total() == (before.total or 0) + 2, "the pool has grown")
            finally:
                running.kill()
        assert _total() == (before.total or 0) + 2, "a killed command gives nothing back itself"
    finally:
        done = uffdlab_run("doctor", cwd=tmp_path, env=env)
    assert "hugetlb_2048" in done.stderr
    assert f"was put back to {before.total}." in done.stderr
    wait_until(lambda: memory.hugepages(2048) == before, "the pool is as it was")


def _total() -> int | None:
    pool = memory.hugepages(2048)
    return pool and pool.total


# --- the other commands ----------------------------------------------------------------------------------------------


def test_doctor_prints_json(tmp_path: Path) -> None:
    done = uffdlab_run("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_data_list_reports_the_problem_of_a_broken_dataset(good: Path, tmp_path: Path) -> None:
    _wrong_type(dataset(tmp_path / "bad", samples=[sample("anon", "preread", 1, 1003)]).path)
    done = uffdlab_run("data", "list", tmp_path, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    bad, fine = sorted(json.loads(done.stdout), key=lambda one: one["path"])
    assert (fine["rows"]["samples"], fine["problem"]) == (9, None)
    assert "'fast' is not an integer" in bad["problem"]
    lines = uffdlab_run("data", "list", tmp_path, cwd=tmp_path).stdout.splitlines()
    assert [line.split("(")[1].split(",")[0] for line in lines if line.endswith("KiB)")] == ["broken", "measured"]


def test_datasets_of_different_thp_settings_are_not_merged(good: Path, tmp_path: Path) -> None:
    always = FACTS | {"thp_enabled": "always"}
    other = dataset(tmp_path / "other", id_="other", samples=[sample("anon", "preread", 1, 1)], facts=always)
    assert "the datasets differ in thp_enabled" in refusal_of(
        "data", "merge", good, other.path, "--out=merged", cwd=tmp_path
    )
    mixed = uffdlab_run("data", "merge", good, other.path, "--out=merged", "--allow-mixed", cwd=tmp_path)
    assert mixed.returncode == 0, mixed.stderr
    assert len(datasets.load(tmp_path / "merged").table("samples")) == 10


def test_scrub_drops_facts_not_on_the_allow_list(good: Path, tmp_path: Path) -> None:
    assert uffdlab_run("data", "scrub", good, cwd=tmp_path).stdout == "nothing to remove\n"
    raw = read_raw(good)
    raw["provenance"]["hostname"] = "carol-laptop"
    rewrite(good, raw)
    assert "uffdlab data scrub" in refusal_of("data", "check", good, cwd=tmp_path)
    done = uffdlab_run("data", "scrub", good, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "hostname" in done.stdout
    assert "hostname" not in datasets.load(good).provenance


def test_seal_accepts_an_intended_edit(good: Path, tmp_path: Path) -> None:
    _other_hash(good)
    assert uffdlab_run("data", "seal", good, cwd=tmp_path).returncode == 0
    assert uffdlab_run("data", "check", good, cwd=tmp_path).returncode == 0


def test_claims_prints_json(good: Path, tmp_path: Path) -> None:
    done = uffdlab_run("claims", "--data", good, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    ids = [one["id"] for one in printed]
    assert ids == [claim.id for claim in claims.CLAIMS]
    assert len(set(ids)) == len(ids)
    for one in printed:
        assert {"id", "verdict", "rule", "because", "evidence", "effect", "interval", "missing"} <= one.keys()
        assert one["verdict"] in get_args(claims.Ruling)


def test_the_table_of_claims_fits_72_columns(good: Path, tmp_path: Path) -> None:
    done = uffdlab_run("claims", "--data", good, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = done.stdout.splitlines()[:-1]  # the last line is the data's origin
    assert max(map(len, table)) <= 72


def test_claims_of_several_datasets_are_a_matrix(good: Path, tmp_path: Path) -> None:
    dataset(tmp_path / "other", id_="other")
    named = ("claims", "atomicity", "hugetlb-already-works", "--data", good, "--data", tmp_path / "other")
    wide = uffdlab_run(*named, cwd=tmp_path).stdout.splitlines()
    assert wide[0].split() == ["claim", "made-up", "other"]
    assert wide[1].startswith("atomicity ")
    text = uffdlab_run(*named, "--text", cwd=tmp_path).stdout.splitlines()
    assert text[:2] == ["atomicity", "  made-up                     not decided"]
    assert max(map(len, text)) <= 72
    assert uffdlab_run(*named, "--markdown", cwd=tmp_path).stdout.startswith("| claim | made-up | other |\n")
    listed = json.loads(uffdlab_run(*named, "--json", cwd=tmp_path).stdout)
    assert list(listed) == ["made-up", "other"]
    assert [one["id"] for one in listed["other"]] == ["atomicity", "hugetlb-already-works"]


def test_all_stands_for_the_committed_campaigns(good: Path, tmp_path: Path) -> None:
    done = uffdlab_run("claims", "hugetlb-already-works", "--data", "all", "--data", good, "--json", cwd=tmp_path)
    assert list(json.loads(done.stdout)) == [*(path.name for path in datasets.campaigns()), "made-up"]


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (("--data", "{}", "--data", "no-such"), "'no-such' is neither a dataset directory"),
        (("--data", "{}", "--data", "{}"), "dataset 'good' is named twice: leave one out"),
        (
            ("--data", "all", "--data", "reference-"),
            "dataset 'reference-2026-11-28-1932' is named twice: leave one out",
        ),
        (("--data", "{}", "--data", "{}-copy"), "dataset 'made-up' is named twice: leave one out"),
        (("--data", "all", "--costs", "costs-"), "--costs is calibrated on one campaign: pass it with one --data"),
        (("--json", "--text"), "not allowed with argument"),
    ],
)
def test_datasets_that_make_no_matrix_are_refused(
    good: Path, tmp_path: Path, arguments: tuple[str, ...], refusal: str
) -> None:
    shutil.copytree(good, tmp_path / "good-copy")
    filled = (argument.format(good) for argument in arguments)
    assert refusal in refusal_of("claims", "atomicity", *filled, cwd=tmp_path)


def test_claims_can_be_limited_to_one(good: Path, tmp_path: Path) -> None:
    done = uffdlab_run("claims", "atomicity", "--data", good, "--json", cwd=tmp_path)
    assert [one["id"] for one in json.loads(done.stdout)] == ["atomicity"]


@pytest.mark.parametrize("command", [*COMMANDS, *(f"data {action}" for action in ACTIONS)])
def test_help_fits_a_terminal_of_80_columns(command: str, tmp_path: Path) -> None:
    done = uffdlab_run(*command.split(), "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", ["--help", "claims --data ./good"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_on_standard_output_is_not_an_error(
    command: str, unbuffered: str, good: Path, tmp_path: Path
) -> None:
    script = f'"$@" {command} | true; exit "${{PIPESTATUS[0]}}"'
    env = environment(PYTHONUNBUFFERED=unbuffered)
    done = subprocess.run(
        ["bash", "-c", script, "-", *UFFDLAB], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
