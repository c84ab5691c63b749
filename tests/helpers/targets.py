# SPDX-License-Identifier: MIT
"""Processes to look at that hold memory as a test wants it: a Python child that runs some code and then waits."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from running import uffdlab_run

# What the code may use: mmap(2) as it is, madvise(2), a userfaultfd with its ioctls, and `ready()`.
PRELUDE = """
import ctypes, fcntl, mmap, os, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PRIVATE, SHARED, ANONYMOUS, FIXED = 2, 1, 0x20, 0x10
KIB, MIB, PAGE = 1 << 10, 1 << 20, 4096

def map_(size, flags=PRIVATE | ANONYMOUS, fd=-1, prot=3, at=None):
    found = libc.mmap(at, size, prot, flags, fd, 0)
    if found == ctypes.c_void_p(-1).value:
        sys.exit(f"mmap: {os.strerror(ctypes.get_errno())}")
    if flags & ANONYMOUS:
        libc.madvise(found, size, 15)  # MADV_NOHUGEPAGE
    return found

def write(address, size):
    for at in range(address, address + size, PAGE):
        ctypes.memset(at, 1, 1)

def read(address, size):
    for at in range(address, address + size, PAGE):
        ctypes.string_at(at, 1)

def userfaultfd(features):
    for flags in (os.O_CLOEXEC | 1, os.O_CLOEXEC):
        fd = libc.syscall({"x86_64": 323}.get(os.uname().machine, 282), flags)
        if fd >= 0:
            fcntl.ioctl(fd, 0xC018AA3F, struct.pack("QQQ", 0xAA, features, 0))
            return fd
    sys.exit(f"userfaultfd: {os.strerror(ctypes.get_errno())}")

def register(fd, address, size, mode):
    fcntl.ioctl(fd, 0xC020AA00, struct.pack("QQQQ", address, size, mode, 0))

def poison(fd, address, size):
    fcntl.ioctl(fd, 0xC020AA08, bytearray(struct.pack("QQQq", address, size, 0, 0)))

def protect(fd, address, size):
    fcntl.ioctl(fd, 0xC018AA06, struct.pack("QQQ", address, size, 1))

def ready():
    print("ready", flush=True)
    sys.stdin.read()
"""


class CannotError(Exception):
    """What the code could not do here, in its own words."""


@contextlib.contextmanager
def target(code: str, arguments: Sequence[object] = (), **more: Any) -> Iterator[int]:
    """Run the code, which calls ``ready()`` last, and yield its process ID. Raises CannotError when it ends before."""
    command = [sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, **more) as child:
        try:
            assert child.stdout is not None
            assert child.stderr is not None
            if child.stdout.readline() != b"ready\n":
                raise CannotError(child.stderr.read().decode(errors="replace").strip()[-300:])
            yield child.pid
        finally:
            child.kill()


def scanned(*arguments: str | Path, cwd: Path) -> dict[str, Any]:
    """Return what ``uffdlab scan --json`` prints."""
    done = uffdlab_run("scan", *arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
