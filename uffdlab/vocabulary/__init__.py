# SPDX-License-Identifier: MIT
"""The words of the field, each written once: name, titles and what they stand for.

``backings``  kinds of memory
``designs``   ways to prepare and protect a range that a stock kernel has
``channel``   ends of a covert channel: where they run, and which memory processes share
``strides``   how far apart touches are
"""
