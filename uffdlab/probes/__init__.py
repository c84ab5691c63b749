# SPDX-License-Identifier: MIT
"""One module per measurement: a declared spec in, tidy rows out; one runner that isolates, times out, interleaves."""
