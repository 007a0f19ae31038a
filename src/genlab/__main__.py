"""``python -m genlab`` is the command ``genlab``."""

import sys

from genlab.command.cli import main

if __name__ == "__main__":
    sys.exit(main())
