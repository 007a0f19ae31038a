"""Print the table of docs/uses.md, which model can be used for what, from the code.

python docs/uses.py
"""

from __future__ import annotations

import runpy
from pathlib import Path

from genlab.command.signatures import read_signature
from genlab.uses.catalogue import USES

FAMILIES = runpy.run_path(str(Path(__file__).with_name("families.py")))


def by_model() -> dict[str, dict[str, bool]]:
    """Return for each model whether it can be used for each use, `augment` among them."""
    folder = Path(__file__).parents[1] / "conf" / "model"
    found = {}
    for name in sorted(path.stem for path in folder.glob("*.yaml")):
        family = FAMILIES["family_of"](name)
        found[name] = {use.name: use.can(family) for use in USES.values()}
        # Samples are worth something where they were drawn for a label and a classifier exists: of text there is none.
        is_told = "conditional" in read_signature(family).parameters
        found[name]["augment"] = is_told and not {"grid", "signal", "flat"}.isdisjoint(family.layouts)
    return found


def main() -> None:
    """Print the table."""
    rows = [["model", *USES, "augment"], ["---"] * (2 + len(USES))]
    rows += [[f"`{name}`", *("yes" if can else "-" for can in uses.values())] for name, uses in by_model().items()]
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))


if __name__ == "__main__":
    main()
