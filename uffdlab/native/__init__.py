# SPDX-License-Identifier: MIT
"""All the C: everything that touches a registered page, handles an event or reads a clock."""
