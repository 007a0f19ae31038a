"""Train a feature extractor: python scripts/train_extractor.py data=mnist."""

import sys

from genlab.command.cli import train_extractor

# Tab completes arguments: Hydra's functions for a shell look for "@hydra.main" in a script before they call it.
if __name__ == "__main__":
    sys.exit(train_extractor())
