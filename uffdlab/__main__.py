# SPDX-License-Identifier: MIT
"""``python -m uffdlab``."""

import sys

from uffdlab.cli import main

sys.exit(main())
