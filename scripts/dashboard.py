"""Save a W&B workspace for a project of runs, or with --dry-run only show it: python scripts/dashboard.py --dry-run."""

import sys

from genlab.command.cli import dashboard

# Tab completes arguments: Hydra's functions for a shell look for "@hydra.main" in a script before they call it.
if __name__ == "__main__":
    sys.exit(dashboard())
