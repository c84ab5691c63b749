# SPDX-License-Identifier: MIT
"""Builds ``uffdlab.native._probe`` with cffi in API mode. Run by ``pip install`` through setup.py."""

from pathlib import Path

from cffi import FFI

HERE = Path("uffdlab/native/probe")  # the build backend runs in the project's root
SOURCES = [
    "ask.c", "channel.c", "clock.c", "counters.c", "handler.c", "map.c", "merge.c", "occupancy.c", "occupancy_read.c",
    "pagemap.c", "race.c", "scale.c", "share.c", "threads.c", "touch.c", "track.c", "uffd.c", "watch.c",
]  # fmt: skip
DEPENDS = ("occupancy.h", "probe.h", "probe.cdef.h", "probe.constants.txt", "random.h", "uapi.h")


def _declarations() -> str:
    """Return what probe.cdef.h declares, less the comments, with the constants the compiler fills in."""
    return (HERE / "probe.cdef.h").read_text() + (HERE / "probe.constants.txt").read_text()


ffibuilder = FFI()
ffibuilder.cdef(_declarations())
ffibuilder.set_source(
    "uffdlab.native._probe",
    '#include "probe.h"\n#include "uapi.h"',
    sources=[str(HERE / name) for name in SOURCES],
    include_dirs=[str(HERE)],
    depends=[str(HERE / name) for name in DEPENDS],
    extra_compile_args=["-std=gnu11", "-O2", "-pthread"],
    extra_link_args=["-pthread"],
    optional=True,  # without a compiler the rest of the package still installs
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
