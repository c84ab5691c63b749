# SPDX-License-Identifier: MIT
"""What this kernel is and can do: UAPI, detection, facts with provenance, and settings changed under guard.

``uapi``       constants and the feature table; no kernel needed
``asking``     operations tried in a child process, which a seccomp filter may kill
``features``   the userfaultfd features that UFFDIO_API offers here
``errnos``     an errno in, a sentence with cause and remedy out
``deaths``     the same for the signal that killed a process
``ksm``        the counters of KSM, and whether another process uses it
``memory``     memory, control-group limits and hugetlb pools
``cpus``       which CPUs this process may run on
``facts``      everything a dataset records about the machine
``settings``   host settings: changed only when allowed, journalled, restored
``exclusive``  one run at a time that may change them
``doctor``     what uffdlab can and cannot do on this host, and why

For ``errnos``, ``refusals`` lists causes, ``causes`` decides whether one applies, from what ``conditions`` reads.
``pseudofiles`` reads /proc and /sys, ``state`` opens the directory of ``settings`` and ``exclusive``, ``signals`` lets
``settings`` finish a change.

Importing this package loads none of them.
"""
