# SPDX-License-Identifier: MIT
"""Distance between touches, by stride in KiB."""

STRIDES = {4: "every page", 2048: "one per 2 MiB", 1048576: "one per 1 GiB"}
