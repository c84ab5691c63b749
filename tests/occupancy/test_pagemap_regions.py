# SPDX-License-Identifier: MIT
"""Memory with more regions than one PAGEMAP_SCAN returns: the scan continues where the call stopped."""

from __future__ import annotations

import pytest
from test_occupancy import PAGE, built, method, of_mapping, shares  # noqa: F401  (method is a fixture)

from uffdlab.probes import tracking
from uffdlab.probes.userfault import READ, WRITE, Range, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS

pytestmark = built
BUFFER = 32768  # regions per call of occupancy.c; pagemap.c takes 256, and the kernel gathers 512


def alternating(memory: Range, touched: int, how: int = READ) -> None:
    """Touch every other page; zeropages take no memory but for tables."""
    memory.touch_at([2 * number * PAGE for number in range(touched)], how)


@pytest.mark.parametrize("touched", [1, 511, 512, 513, BUFFER - 1, BUFFER, BUFFER + 1, 2 * BUFFER + 700])
def test_every_region_is_counted_once(touched: int, method: str) -> None:  # noqa: F811
    pages = 2 * touched + 1
    with mapped(BACKINGS["anon"], pages * PAGE) as memory:
        alternating(memory, touched)
        small = of_mapping(memory.address, pages * PAGE, method).granularities[0]
    assert shares(small) == {"zeropage": touched, "untouched": touched + 1}
    assert small.untouched_or_zeropage == pages


def test_regions_beyond_the_first_buffer_are_distinguished(method: str) -> None:  # noqa: F811
    """Present pages come after more zeropages than one buffer holds, then a hole."""
    touched, hole = BUFFER + 300, 1000
    pages = 2 * touched + 200 + hole
    with mapped(BACKINGS["anon"], pages * PAGE) as memory:
        alternating(memory, touched)
        memory.touch_at([(2 * touched + 2 * number) * PAGE for number in range(100)], WRITE)
        small = of_mapping(memory.address, pages * PAGE, method).granularities[0]
    assert shares(small) == {"zeropage": touched, "present": 100, "untouched": touched + 100 + hole}


@pytest.mark.parametrize("touched", [255, 256, 257, 511, 513, 3000])
def test_pages_are_counted_beyond_the_first_buffer(touched: int) -> None:
    with mapped(BACKINGS["anon"], 2 * touched * PAGE) as memory:
        if memory.zeropages() is None:
            pytest.skip("this kernel has no PAGEMAP_SCAN")
        alternating(memory, touched)
        assert (memory.zeropages(), memory.present_pages()) == (touched, touched)
        memory.touch_at([2 * (touched - 1) * PAGE], WRITE)
        assert (memory.zeropages(), memory.present_pages()) == (touched - 1, touched)


@pytest.mark.parametrize("touched", [256, 257, 3000])
def test_states_beyond_the_first_buffer_are_reported(touched: int) -> None:
    with mapped(BACKINGS["anon"], 2 * touched * PAGE) as memory:
        if memory.zeropages() is None:
            pytest.skip("this kernel has no PAGEMAP_SCAN")
        alternating(memory, touched)
        result = memory.states()
    assert len({categories for _, categories in result[::2]}) == 1
    assert {flags >> 63 for flags, _ in result[::2]} == {1}
    assert {flags >> 63 for flags, _ in result[1::2]} == {0}
    assert not {categories for _, categories in result[1::2]} & {result[0][1]}


@pytest.mark.uffd
@pytest.mark.parametrize("touched", [1, 512, 513, 4000])
def test_every_written_page_is_reported_however_many(touched: int) -> None:
    with mapped(BACKINGS["anon"], 2 * touched * PAGE) as memory, opened(("WP_UNPOPULATED", "WP_ASYNC")) as uffd:
        if memory.zeropages() is None:
            pytest.skip("this kernel has no PAGEMAP_SCAN")
        uffd.register(memory, missing=False)
        uffd.protect(memory)
        alternating(memory, touched, WRITE)
        result, written = tracking.scan_written(memory)
        assert (result.pages, result.regions) == (touched, touched)
        assert result.calls <= touched // 512 + 1, "the buffer holds all, and the kernel gathers 512 at a time"
        assert bytes(written) == b"\1\0" * touched
        again, none = tracking.scan_written(memory)
        assert (again.pages, again.regions, sum(none)) == (0, 0, 0)
