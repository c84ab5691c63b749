# SPDX-License-Identifier: MIT
"""``python -m uffdlab``, and the command ``uffdlab``: before anything is imported, where it may come from."""

import sys

from uffdlab import starting


def main() -> int:
    """Run the command line; return its exit status."""
    starting.forget_working_directory()
    try:
        from uffdlab import cli
    except KeyboardInterrupt:
        print("uffdlab: interrupted", file=sys.stderr)
        return 130
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
