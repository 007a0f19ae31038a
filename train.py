"""Train and evaluate a model: python train.py model=flow data=mnist."""

import sys

from genlab.command.cli import train

# Tab completes arguments: Hydra's functions for a shell look for "@hydra.main" in a script before they call it.
if __name__ == "__main__":
    sys.exit(train())
