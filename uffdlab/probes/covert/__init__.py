# SPDX-License-Identifier: MIT
"""Covert channels through the zeropage, and the timing of writes to merged or protected pages.

``memory``        preparations of memory that two processes may share
``flush_reload``  one slot: flush a line, or load it and take the time
``neighbour``     a third process that disturbs
``endpoints``     sender and receiver, two processes
``bits``          sequences of bits and their packing
``codec``         a message as frames that survive errors
``channel``       the probe: slots with and without a sender
``message``       the probe: a text, sent and decoded
``ksm``           the probe: writes to pages that KSM merged
``write_timing``  the probe: what the latency of a write reveals about a page
"""
