# SPDX-License-Identifier: MIT
"""Terms of the field, each defined once: name, titles, meaning and look.

``backings``  kinds of memory
``designs``   ways of write-protecting a range, of stock kernels and of none
``entries``   contents of a page-table entry before a touch
``channel``   covert channel: placement of its ends, shared memory, loads and bits
``strides``   distance between touches
``looks``     colours, symbols and dashes
"""
