"""Train and evaluate a model: python train.py model=flow data=mnist."""

import sys

from genlab.command.cli import train

if __name__ == "__main__":
    sys.exit(train())
