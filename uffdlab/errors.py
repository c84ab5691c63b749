# SPDX-License-Identifier: MIT
"""The one exception a reader is meant to see."""


class UffdlabError(Exception):
    """Something the caller can mend: one sentence saying what was wrong, where, and what to do.

    The command line prints the sentence after ``uffdlab: error:`` and exits with status 2, without a
    traceback. Anything else that escapes is a bug of ours and keeps its traceback.
    """
