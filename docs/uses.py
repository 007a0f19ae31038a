"""Print the table of docs/uses.md, which model can be used for what, from the code.

python docs/uses.py
"""

from __future__ import annotations

import runpy
from pathlib import Path

from genlab.command.signatures import read_signature
from genlab.uses.catalogue import USES

FAMILIES = runpy.run_path(str(Path(__file__).with_name("families.py")))


def main() -> None:
    """Print the table."""
    folder = Path(__file__).parents[1] / "conf" / "model"
    models = sorted(path.stem for path in folder.glob("*.yaml"))
    rows = [["model", *USES, "augment"], ["---"] * (2 + len(USES))]
    for name in models:
        family = FAMILIES["family_of"](name)
        # Samples are worth something to a classifier where they were drawn for a label.
        found = [*(use.can(family) for use in USES.values()), "conditional" in read_signature(family).parameters]
        rows.append([f"`{name}`", *("yes" if can else "-" for can in found)])
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))


if __name__ == "__main__":
    main()
