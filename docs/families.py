"""Write which model takes which kind of data, and with which network, from the code: docs/families.md.

python docs/families.py > docs/families.md
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf

from genlab.command.targets import locate
from genlab.core.spec import DataSpec, Field
from genlab.models.base import GenerativeModel

KINDS = {
    "pictures": DataSpec("pictures", "image", (1, 28, 28), levels=256),
    "vectors": DataSpec("vectors", "vector", (2,)),
    "text": DataSpec("text", "text", (256,), levels=256),
    "sound": DataSpec("sound", "waveform", (1, 5120), levels=256, sampling_rate_hz=8000, has_mask=True),
    "tables of numbers": DataSpec("numbers", "table", (2,), fields=(Field("length"), Field("width"))),
    "mixed tables": DataSpec("mixed", "table", (2,), fields=(Field("age", decimals=0, rounded=True), Field("sex", 2))),
    "series": DataSpec("series", "series", (1, 32)),
}
"""An example of each kind of data: gray levels, points, bytes, mu-law recordings of several lengths, numbers that
have densities, rounded ones beside categories, windows."""

INTRODUCTION = """# Which model takes which data

`python train.py model=<model> data=<data>` takes the pairs that have a network here, the default one; any other pair is
refused by a line that says why. `python docs/families.py` makes this page from the code.

"""


def family_of(model: str) -> type[GenerativeModel]:
    """Return the class of a model, by the name of its config."""
    config = OmegaConf.load(Path(__file__).parents[1] / "conf" / "model" / f"{model}.yaml")
    while "_target_" not in config:  # a variant, which inherits it
        config = OmegaConf.load(Path(__file__).parents[1] / "conf" / "model" / f"{config.defaults[0]}.yaml")
    return locate(config._target_)


def networks(model: str) -> list[str]:
    """Return a model's default network for each kind of data; a dash where it takes none."""
    family = family_of(model)
    return ["-" if family.unsupported(spec) else family.default_network(spec) for spec in KINDS.values()]


def main() -> None:
    """Print the page."""
    models = sorted(path.stem for path in (Path(__file__).parents[1] / "conf" / "model").glob("*.yaml"))
    rows = [["model", *KINDS], ["---"] * (1 + len(KINDS)), *([f"`{name}`", *networks(name)] for name in models)]
    print(INTRODUCTION + "\n".join(f"| {' | '.join(row)} |" for row in rows))


if __name__ == "__main__":
    main()
