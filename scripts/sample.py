"""Draw samples from a trained run: python scripts/sample.py run=<path or id> n=64."""

import sys

from genlab.command.cli import sample

if __name__ == "__main__":
    sys.exit(sample())
