# SPDX-License-Identifier: MIT
"""Who makes huge pages of memory that was written under markers, once the markers are gone."""

REPAIRS = {
    "khugepaged": "khugepaged",
    "khugepaged_unaware": "khugepaged, process unknown to it",
    "madv_collapse": "MADV_COLLAPSE",
}
