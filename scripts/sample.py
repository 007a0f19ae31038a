"""Draw samples from a trained run: python scripts/sample.py run=<path or id> n=64."""

import sys

from genlab.command.cli import sample

# Tab completes arguments: Hydra's functions for a shell look for "@hydra.main" in a script before they call it.
if __name__ == "__main__":
    sys.exit(sample())
