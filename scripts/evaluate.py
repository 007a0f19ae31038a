"""Measure a trained run under one protocol: python scripts/evaluate.py run=<path or id>."""

import sys

from genlab.command.cli import evaluate

if __name__ == "__main__":
    sys.exit(evaluate())
