"""Print the table of docs/uses.md, which model can be used for what, from the code.

python docs/uses.py
"""

from __future__ import annotations

import runpy
from pathlib import Path

from genlab.uses.catalogue import USES

FAMILIES = runpy.run_path(str(Path(__file__).with_name("families.py")))


def main() -> None:
    """Print the table."""
    folder = Path(__file__).parents[1] / "conf" / "model"
    models = sorted(path.stem for path in folder.glob("*.yaml"))
    rows = [["model", *USES], ["---"] * (1 + len(USES))]
    for name in models:
        family = FAMILIES["family_of"](name)
        rows.append([f"`{name}`", *("yes" if use.can(family) else "-" for use in USES.values())])
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))


if __name__ == "__main__":
    main()
