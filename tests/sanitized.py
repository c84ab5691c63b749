# SPDX-License-Identifier: MIT
"""Runs the tests that touch the kernel with AddressSanitizer and UndefinedBehaviorSanitizer in the C code.

The extension is built in a copy of the package under build/sanitized/, so the normal one stays as it is. Usage:
``make sanitize``, or ``python tests/sanitized.py`` with options for pytest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "sanitized"
TESTS = (
    "native/test_native.py",
    "occupancy/test_occupancy.py",
    "occupancy/test_occupancy_entries.py",
    "occupancy/test_occupancy_process.py",
    "probes/test_probes.py",
    "measure/test_runner.py",
    "probes/test_atomicity.py",
    "probes/test_tracking.py",
    "probes/test_faults.py",
    "sim/test_sim_exact.py",
    "probes/test_channel.py",
    "probes/test_ksm.py",
    "probes/test_write_timing.py",
)
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g"
COMPILER = "gcc"


def main(options: Sequence[str]) -> int:
    """Copy, build, test; return pytest's exit status."""
    library = _library()
    if library is None:
        print(f"{COMPILER} or its libasan is not installed: nothing was checked", file=sys.stderr)
        return 2
    _copy()
    compile_ = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace", "--force"]
    built = {"CC": COMPILER, "CFLAGS": FLAGS, "LDFLAGS": FLAGS, "LDSHARED": f"{COMPILER} -shared"}
    subprocess.run(compile_, cwd=COPY, env=os.environ | built, check=True)
    extensions = [found for name in ("_probe", "_sim") for found in (COPY / "uffdlab" / "native").glob(f"{name}*.so")]
    plain = [one for one in extensions if b"__asan_init" not in one.read_bytes()]
    if plain or len(extensions) != 2:
        print(f"built without the sanitizers, or not at all: {plain or extensions}", file=sys.stderr)
        return 2
    run = {
        "LD_PRELOAD": library,  # the interpreter itself is not instrumented
        # Python frees little at exit; a SIGBUS or SIGSEGV is what a test is about, not a report of the sanitizer.
        "ASAN_OPTIONS": "detect_leaks=0:handle_segv=0:handle_sigbus=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": str(COPY),
        "UFFDLAB_SANITIZED": "1",
        "PYTHONMALLOC": "malloc",  # so that memory from Python has its red zones too
    }
    test = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *(f"tests/{name}" for name in TESTS), *options]
    return subprocess.run(test, cwd=COPY, env=os.environ | run).returncode


def _library() -> str | None:
    if shutil.which(COMPILER) is None:
        return None
    asked = subprocess.run([COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    path = asked.stdout.strip()
    return path if Path(path).is_absolute() else None  # a bare name: the compiler does not know where


def _copy() -> None:
    shutil.rmtree(COPY, ignore_errors=True)
    skipped = shutil.ignore_patterns("*.so", "*.o", "__pycache__")
    for name in ("uffdlab", "tests"):
        shutil.copytree(ROOT / name, COPY / name, ignore=skipped)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, COPY / name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
