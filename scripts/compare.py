"""Compare results, as tables and as a report: python scripts/compare.py data=mnist out=report."""

import sys

from genlab.command.cli import compare

if __name__ == "__main__":
    sys.exit(compare())
