# SPDX-License-Identifier: MIT
"""What this kernel is and can do: UAPI, detection, facts with provenance, and settings changed under guard.

``uapi``      constants and the feature table; no kernel needed
``features``  what userfaultfd offers here, found by asking
``errnos``    an errno in, a sentence with cause and remedy out
``ksm``       what KSM counts, and whether somebody uses it
``memory``    memory, control-group limits and hugetlb pools
``facts``     everything a dataset records about the machine
``settings``  host settings: changed only when allowed, journalled, put back
``doctor``    what uffdlab can and cannot do on this host, and why

``pseudofiles`` reads /proc and /sys for them, ``signals`` lets ``settings`` finish what it began.

Importing this package loads none of them.
"""
