"""Share a run: python scripts/export.py run=<path or id> to=<folder or hf://user/name>."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command hears it: Ctrl-C shall show no import's traceback

from genlab.command.cli import export

# Tab completes arguments: Hydra's functions for a shell look for "@hydra.main" in a script before they call it.
if __name__ == "__main__":
    sys.exit(export())
