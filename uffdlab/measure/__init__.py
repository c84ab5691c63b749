# SPDX-License-Identifier: MIT
"""Everything that runs probes: suites and single points, children with deadlines, and campaigns that can be continued.

``registry``   which probes there are
``suites``     which points of which probes a suite has
``options``    one point as the command line gives it
``runner``     runs blocks, each in a child process that has a deadline
``child``      what such a process runs
``campaign``   a suite from its plan to the dataset
``journal``    what a campaign has measured so far, so that it can be continued
``quality``    which points of a dataset are too noisy to rely on
"""
