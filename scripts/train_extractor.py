"""Train a feature extractor: python scripts/train_extractor.py data=mnist."""

import sys

from genlab.command.cli import train_extractor

if __name__ == "__main__":
    sys.exit(train_extractor())
