# SPDX-License-Identifier: MIT
"""What this kernel is and can do: UAPI, detection, facts with provenance, and settings changed under guard.

``uapi``       constants and the feature table; no kernel needed
``asking``     questions to the kernel, each asked by a child that the answer may kill
``features``   what userfaultfd offers here, found by asking
``errnos``     an errno in, a sentence with cause and remedy out
``deaths``     the same for a signal that ended a process
``ksm``        what KSM counts, and whether somebody uses it
``memory``     memory, control-group limits and hugetlb pools
``cpus``       which CPUs this process may run on
``facts``      everything a dataset records about the machine
``settings``   host settings: changed only when allowed, journalled, put back
``exclusive``  one run at a time that may change them
``doctor``     what uffdlab can and cannot do on this host, and why

For ``errnos``, ``refusals`` lists causes, ``causes`` says when one applies, ``situation`` what it is judged by.
``pseudofiles`` reads /proc and /sys, ``state`` opens the directory of ``settings`` and ``exclusive``, ``signals`` lets
``settings`` finish what it began.

Importing this package loads none of them.
"""
