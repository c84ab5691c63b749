# SPDX-License-Identifier: MIT
"""The words of the field, each written once: name, titles and what they stand for.

``backings``  kinds of memory
``designs``   ways of write-protecting a range, of stock kernels and of none
``entries``   what stands in an entry before a touch
``channel``   ends of a covert channel: where they run, and which memory processes share
``strides``   how far apart touches are
``looks``     colours, and what a look is made of
"""
