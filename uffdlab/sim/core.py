# SPDX-License-Identifier: MIT
"""Interface of the native and the WebAssembly core: the same calls, in addresses and plain numbers."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.native import wasm

_ZEROED_AT_ONCE = 1 << 20  # bytes


class Extension:
    """The core as cffi built it."""

    name = "extension"

    def __init__(self) -> None:
        """Load it. Raises UffdlabError where it was not built."""
        self._ffi, self._lib = native.simulator()
        self._held: dict[int, mmap.mmap] = {}

    def call(self, function: str, *args: float) -> Any:
        """Call a function of ``sim.cdef.h`` with numbers and addresses."""
        found = getattr(self._lib, function)
        kinds = self._ffi.typeof(found).args
        cast = [
            self._ffi.cast(kind, arg) if kind.kind == "pointer" else arg for kind, arg in zip(kinds, args, strict=True)
        ]
        answer = found(*cast)
        return int(self._ffi.cast("uintptr_t", answer)) if isinstance(answer, self._ffi.CData) else answer

    def take(self, size: int) -> int:
        """Reserve zeroed memory, committed as it is used, and return its address."""
        try:
            held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0))
        except (OSError, OverflowError) as error:
            raise UffdlabError(f"the simulator cannot reserve {size} B of address space: {error}") from error
        address = int(self._ffi.cast("uintptr_t", self._ffi.from_buffer(held)))
        self._held[address] = held
        return address

    def give(self, address: int) -> None:
        """Free memory."""
        self._held.pop(address, None)

    def read(self, address: int, size: int) -> bytes:
        """Return the bytes at an address."""
        return bytes(self._ffi.buffer(self._ffi.cast("char *", address), size))

    def write(self, address: int, content: bytes) -> None:
        """Store bytes at an address."""
        self._ffi.memmove(self._ffi.cast("char *", address), content, len(content))

    def text(self, address: int) -> str:
        """Return the C string at an address."""
        return bytes(self._ffi.string(self._ffi.cast("char *", address))).decode()

    @contextmanager
    def lent(self, content: bytes) -> Iterator[int]:
        """Yield the address of a copy of the bytes, for the time of the context."""
        held = self._ffi.new("char[]", bytes(content))
        yield int(self._ffi.cast("uintptr_t", held))


class WebAssembly:
    """The core as ``sim.wasm``, run by wasmtime. Memory is linear: freed memory is reused from the top only."""

    name = "wasm"

    def __init__(self) -> None:
        """Load it. Raises ImportError where wasmtime is missing, and what wasmtime raises where it cannot start."""
        self._store, self._exports = wasm.started()
        self._memory = self._exports["memory"]
        self._base = int(self._exports["__heap_base"].value(self._store)) + 15 & ~15
        self._top = self._base
        self._taken: list[tuple[int, int]] = []

    def call(self, function: str, *args: float) -> Any:
        """Call a function of ``sim.cdef.h`` with numbers and addresses."""
        found = self._exports[function]
        kinds = found.type(self._store).params
        return found(self._store, *(_fitting(str(kind), arg) for kind, arg in zip(kinds, args, strict=True)))

    def take(self, size: int) -> int:
        """Allocate zeroed memory and return its address."""
        address, end = self._top, self._top + (size + 15 & ~15)
        missing = end - self._memory.data_len(self._store)
        if missing > 0:
            try:
                self._memory.grow(self._store, -(-missing // 65536))
            except Exception as error:  # wasmtime's own, of no fixed class
                raise UffdlabError(
                    f"the simulator needs {size} B, more than the 4 GiB that WebAssembly has: install a C compiler and "
                    "repeat 'pip install -e .', which lifts the limit"
                ) from error
        self._taken.append((address, end))
        self._top = end
        for at in range(address, end, _ZEROED_AT_ONCE):
            self.write(at, bytes(min(_ZEROED_AT_ONCE, end - at)))
        return address

    def give(self, address: int) -> None:
        """Free memory, which is reused once all above it is freed."""
        self._taken = [one for one in self._taken if one[0] != address]
        self._top = max((end for _, end in self._taken), default=self._base)

    def read(self, address: int, size: int) -> bytes:
        """Return the bytes at an address."""
        return bytes(self._memory.read(self._store, address, address + size))

    def write(self, address: int, content: bytes) -> None:
        """Store bytes at an address."""
        self._memory.write(self._store, content, address)

    def text(self, address: int) -> str:
        """Return the C string at an address."""
        found = bytearray()
        while (byte := self.read(address + len(found), 1)) != b"\0":
            found += byte
        return found.decode()

    @contextmanager
    def lent(self, content: bytes) -> Iterator[int]:
        """Yield the address of a copy of the bytes, for the time of the context."""
        address = self.take(max(1, len(content)))
        try:
            self.write(address, content)
            yield address
        finally:
            self.give(address)


# An address is an integer; memory taken is zeroed, and lives as long as the core.
Core = Extension | WebAssembly


def _fitting(kind: str, arg: float) -> float:
    """Return an argument as WebAssembly takes it: integers are signed."""
    if kind == "f64":
        return float(arg)
    bits = 64 if kind == "i64" else 32
    number = int(arg) & (1 << bits) - 1
    return number - (1 << bits) if number >> bits - 1 else number


@cache
def core() -> Core:
    """Return the extension, or WebAssembly where the extension was not built.

    Raises UffdlabError, saying what to install, where neither starts.
    """
    with contextlib.suppress(UffdlabError):
        return Extension()
    try:
        import_module("wasmtime")
    except ImportError as error:
        raise _missing(f"has nothing to run it ({error})") from error
    except Exception as error:
        raise _missing(f"cannot be run: wasmtime does not load ({error})") from error
    why = wasm.why_not()
    if why is not None:
        raise _missing(f"cannot be started by wasmtime ({why})")
    try:
        return WebAssembly()
    except Exception as error:  # wasmtime's own, of no fixed class
        raise _missing(f"cannot be started by wasmtime ({error})") from error


def _missing(why: str) -> UffdlabError:
    return UffdlabError(
        f"the simulator was not built, and its WebAssembly {' '.join(why.split())}: install gcc (or clang) and repeat "
        "'pip install -e .', or install a wasmtime that starts here (see also ulimit -v)"
    )


@cache
def why_no_core() -> str | None:
    """Return in one sentence why no core starts here, or None where one does."""
    try:
        core()
    except UffdlabError as error:
        return str(error)
    return None
