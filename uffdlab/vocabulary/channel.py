# SPDX-License-Identifier: MIT
"""Words of the covert channel: what names a point, where both ends run, which memory processes share."""

# Columns that name a point of the probe.
POINT = ("memory", "placement", "silent", "slot_ns", "lines")
PLACEMENTS = {"same": "one CPU", "cross": "two CPUs"}
# Memory through which processes share a page. What is not named here shares nothing, and is a control.
SHARED = ("zeropage", "huge_zeropage", "empty_unread", "populated", "huge_populated", "markers_read", "markers_unread")
