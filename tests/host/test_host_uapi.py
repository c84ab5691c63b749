# SPDX-License-Identifier: MIT
"""The numbers of the user-space interface, held against golden values and against the kernel's headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.host import uapi

# As strace prints them on x86_64.
GOLDEN = {
    "UFFDIO_API": 0xC018AA3F,
    "UFFDIO_REGISTER": 0xC020AA00,
    "UFFDIO_UNREGISTER": 0x8010AA01,
    "UFFDIO_WAKE": 0x8010AA02,
    "UFFDIO_COPY": 0xC028AA03,
    "UFFDIO_ZEROPAGE": 0xC020AA04,
    "UFFDIO_MOVE": 0xC028AA05,
    "UFFDIO_WRITEPROTECT": 0xC018AA06,
    "UFFDIO_CONTINUE": 0xC020AA07,
    "UFFDIO_POISON": 0xC020AA08,
    "UFFDIO_RWPROTECT": 0xC018AA09,
    "UFFDIO_SET_MODE": 0x4010AA0A,
    "USERFAULTFD_IOC_NEW": 0x0000AA00,
    "PAGEMAP_SCAN": 0xC0606610,
}


def test_ioctl_numbers():
    known = (*uapi.UFFD_IOCTLS, uapi.USERFAULTFD_IOC_NEW, uapi.PAGEMAP_SCAN)
    assert {ioctl.name: ioctl.number for ioctl in known} == GOLDEN


def test_features_are_in_bit_order_without_gaps():
    assert [feature.bit for feature in uapi.FEATURES] == list(range(19))
    assert uapi.feature("WP_UNPOPULATED").since == "6.4"
    assert uapi.feature("UFFD_FEATURE_WP_HUGETLBFS_SHMEM").mask == 1 << 12
    versions = [tuple(map(int, f.since.split("."))) for f in uapi.FEATURES[1:]]
    assert versions == sorted(versions), "bits were handed out in the order of the kernels"


def test_features_and_ioctls_of_linux_7_3_have_names():
    assert uapi.feature_names(0x7FFFF)[-3:] == ["MOVE", "RWP", "RWP_ASYNC"]
    assert uapi.category_names(1 << 8 | 1 << 9) == ["GUARD", "ACCESSED"]


def test_unknown_feature_bit_keeps_its_number():
    assert uapi.feature_names(1 << 19 | 1 << 16) == ["MOVE", "bit19"]
    assert uapi.feature_names(0) == []
    assert uapi.feature_mask(["bit19", "MOVE"]) == 1 << 19 | 1 << 16
    assert uapi.feature_mask(["bit17"]) == 1 << 17, "as earlier datasets spell it"


@given(st.integers(0, 2**64 - 1))
def test_names_and_mask_are_inverse(mask):
    assert uapi.feature_mask(uapi.feature_names(mask)) == mask


def test_unknown_feature_is_refused_with_the_known_ones():
    with pytest.raises(UffdlabError, match=r"WP_ZEROPAGE.*WP_UNPOPULATED"):
        uapi.feature_mask(["WP_ZEROPAGE"])


def test_categories_by_name():
    assert uapi.category_names(1 << 4 | 1 << 6) == ["SWAPPED", "HUGE"]
    assert uapi.category_names(1 << 10) == ["bit10"]
    assert uapi.PAGE_CATEGORIES.index("GUARD") == 8


def test_constants_agree_with_the_compiled_ones():
    """Constants that C takes from the compiler's headers are the same in Python."""
    if native.why_missing() is not None:
        pytest.skip("the native extension is not built")
    _, lib = native.probe()
    ioctls = (*uapi.UFFD_IOCTLS, uapi.USERFAULTFD_IOC_NEW, uapi.PAGEMAP_SCAN)
    ours = {
        **{ioctl.name: ioctl.number for ioctl in ioctls},
        "UFFD_API": uapi.UFFD_API,
        "REGISTER_MODE_MISSING": uapi.REGISTER_MODE_MISSING,
        "REGISTER_MODE_WP": uapi.REGISTER_MODE_WP,
        "PAGE_IS_PFNZERO": 1 << uapi.PAGE_CATEGORIES.index("PFNZERO"),
        "MADV_POPULATE_READ": uapi.MADV_POPULATE_READ.number,
    }
    compiled = {name: getattr(lib, f"UL_{name}") for name in ours if hasattr(lib, f"UL_{name}")}
    assert {"UFFDIO_API", "PAGEMAP_SCAN", "PAGE_IS_PFNZERO"} <= set(compiled)
    assert compiled == {name: ours[name] for name in compiled}
