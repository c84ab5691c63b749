# SPDX-License-Identifier: MIT
"""Run probes: suites and single points, children with deadlines, campaigns that can be continued.

``registry``   the probes by name
``suites``     which points of which probes a suite has
``options``    one point as the command line gives it
``runner``     run blocks, each in a child process with a deadline
``child``      the program of such a process
``campaign``   a suite from its plan to the dataset
``journal``    results so far on disk, so that a campaign can be continued
``quality``    which points of a dataset are too noisy to rely on
"""
