# SPDX-License-Identifier: MIT
"""The names and numbers of the user-space interface."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uffdlab.errors import UffdlabError
from uffdlab.host import uapi


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
