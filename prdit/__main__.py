"""`python -m prdit`: the command line without an installation."""

import sys

from prdit.cli import main

sys.exit(main())
