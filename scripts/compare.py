"""Compare results, as tables and as a report: python scripts/compare.py data=mnist out=report."""

import sys

from genlab.command.cli import compare

# Tab completes arguments: Hydra's functions for a shell look for "@hydra.main" in a script before they call it.
if __name__ == "__main__":
    sys.exit(compare())
