"""Measure a trained run under one protocol: python scripts/evaluate.py run=<path or id>."""

import sys

from genlab.command.cli import evaluate

# Tab completes arguments: Hydra's functions for a shell look for "@hydra.main" in a script before they call it.
if __name__ == "__main__":
    sys.exit(evaluate())
