# SPDX-License-Identifier: MIT
"""Builds ``uffdlab.native._sim``: the simulator, portable C without a library. Run by ``pip install``."""

from pathlib import Path

from cffi import FFI

HERE = Path("uffdlab/native/sim")  # the build backend runs in the project's root
SOURCES = [f"sim{name}.c" for name in ("", "_decide", "_expect", "_price", "_range", "_save", "_shape", "_work")]
HEADERS = ["sim.h", "sim.cdef.h", "sim_price.h", "sim_shape.h", "sim_state.h"]

ffibuilder = FFI()
ffibuilder.cdef((HERE / "sim.cdef.h").read_text())
ffibuilder.set_source(
    "uffdlab.native._sim",
    '#include "sim.h"',
    sources=[str(HERE / name) for name in SOURCES],
    include_dirs=[str(HERE)],
    depends=[str(HERE / name) for name in HEADERS],
    # Without contraction the same operations round the same everywhere, in a page as well.
    extra_compile_args=["-std=gnu11", "-O2", "-ffp-contract=off", "-fno-math-errno"],
    optional=True,  # sim.wasm serves where there is no compiler
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
