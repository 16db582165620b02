"""`python -m snnprune`: the command line without its script."""

import sys

from snnprune.cli import main

sys.exit(main())
