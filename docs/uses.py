"""Write which model can be used for what, and how, with the table from the code: docs/uses.md.

python docs/uses.py > docs/uses.md
"""

from __future__ import annotations

import runpy
from pathlib import Path

from genlab.uses.catalogue import USES

FAMILIES = runpy.run_path(str(Path(__file__).with_name("families.py")))

PAGE = """# What a trained model is for

A run that is trained can be used, by a command or by a call. Each command takes `run=<path or id>`, and `checkpoint=last`,
`device=cuda` and `out=<file>` where that is wanted; `genlab reconstruct run=...` and `python scripts/reconstruct.py
run=...` are the same. What it makes lies in the run's folder `samples/`: arrays as NPZ, a picture as PNG, WAV, TXT or CSV
files where the data is sound, text or a table, and a **JSON file with all that makes them again**: the settings, the
weights' SHA-256, the code and the versions.

{table}

`python docs/uses.py` makes this page, and the table from the code. A model that cannot says why in a line.

## sample

    python scripts/sample.py run=<run> n=10000 seed=1
    python scripts/sample.py run=<run> n=100 label=7 files=true format=safetensors

`n` samples, in parts: of pictures and sound memory does not grow with `n`, and the picture shows at most 1,024. An example
depends on the seed and its number, not on `n`. `files=true` also writes a PNG, WAV or TXT file for each; the array is in
the data's own values, `.npz` or `.safetensors`, there whole or not at all.

## reconstruct

    python scripts/reconstruct.py run=<run> split=test n=32

encodes examples and decodes the codes: pairs, one above the other, and how far off each is, in `*_errors.csv`: the root
mean square and the largest difference, in levels or in the data's own units before any rounding; of symbols and categories
the share that is another.

| codes of | are | so a reconstruction |
|---|---|---|
| `vae`, `iwae`, `hvae` | the posterior's means | is what the latents tell; what is lost is the error. Of `hvae` also what the upper layers alone tell |
| `flow` | the base distribution's values | is exact up to rounding. Levels are not a flow's data: it models numbers in their cells. The code is that of the cells' centres, and level k comes back as k |
| `diffusion`, `flow_matching` | the noise to which the ODE of the likelihood carries the example | is exact up to the solver's error, which is stated; cells' centres as for flows. `model.likelihood_ode` of the run says how it is solved |
| `gan` and its variants | searched for, as nothing encodes: the best of 64 draws, then 300 steps of Adam | is the nearest that the search found, not the nearest that there is |

## interpolate

    python scripts/interpolate.py run=<run> a=3 b=12 steps=9 path=spherical

goes from example `a` of a split to example `b`. The ends are their reconstructions. `path=spherical` follows the arc about
the origin, on which standard normal codes are likely, `linear` the line. Where examples differ in length, so do the steps;
a model that is given labels gets that of the nearer end.

## traverse

    python scripts/traverse.py run=<run> example=0 latents=8 reach=3

changes one latent of an example at a time, a row for each, from `reach` standard deviations below its mean over `n`
examples to as many above. The most important come first: by the latent's variance times the squared slope of the decoded
data along it, which to first order is the data's variance that is due to it; where decoding has no derivative, as of text
and of an ODE, by the variance alone, which says little where all latents have the same.

## In Python

```python
from genlab.command.load import load_run
from genlab.core.batch import Batch
from genlab.data.images import Digits
from genlab.uses.interpolate import interpolate
from genlab.uses.reconstruct import reconstruct

model = load_run("3f2a91cc-s0")
examples = Digits().tensors("test").rows(slice(32))
found = reconstruct(model, examples)
print(found.kind, found.errors["rmse"].mean())
way = interpolate(model, examples.rows(slice(2)), steps=9)
```

A family of one's own takes part by having the methods of a protocol of `genlab.core.contract`: `Encodes`, and
`EncodesInLayers` where a code has layers.
"""


def main() -> None:
    """Print the page."""
    folder = Path(__file__).parents[1] / "conf" / "model"
    models = sorted(path.stem for path in folder.glob("*.yaml"))
    rows = [["model", *USES], ["---"] * (1 + len(USES))]
    for name in models:
        family = FAMILIES["family_of"](name)
        rows.append([f"`{name}`", *("yes" if use.can(family) else "-" for use in USES.values())])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    print(PAGE.replace("{table}", table), end="")


if __name__ == "__main__":
    main()
