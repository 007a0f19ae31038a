"""Serve a page over the runs of a folder: python scripts/explore.py."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command hears it: Ctrl-C shall show no import's traceback

from genlab.command.cli import explore

# Tab completes arguments: Hydra's functions for a shell look for "@hydra.main" in a script before they call it.
if __name__ == "__main__":
    sys.exit(explore())
