# SPDX-License-Identifier: MIT
"""One module per measurement: each takes a spec and yields rows."""
