"""What a config may name: classes that only make an object, whatever a stranger's config gives them."""

from __future__ import annotations

import json
import sys

import pytest

from genlab.command.targets import FUNCTIONS, locate
from genlab.core.errors import GenlabError
from tests import forkserver

WALK = """
import importlib, inspect, json, pkgutil, sys, warnings
import torch, pytorch_lightning, torchmetrics, wandb
import genlab
from genlab.command.targets import locate
from genlab.core.errors import GenlabError

sys.dont_write_bytecode = True
WRITES = ("w", "a", "x", "+")
DEEDS = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.mkdir", "os.remove", "os.rename",
         "os.rmdir", "os.putenv", "os.unsetenv", "os.link", "os.symlink", "os.chmod", "os.chdir", "shutil.", "socket.",
         "sqlite3.", "urllib.", "pickle.", "signal.", "exec", "compile")
seen, watched = [], None


def watch(event, arguments):
    if watched is None:
        return
    if event == "open" and not (isinstance(arguments[1], str) and any(m in arguments[1] for m in WRITES)):
        return
    # Imports compile and execute code of the package itself; nothing else here does.
    if event in ("exec", "compile") or not event.startswith((*DEEDS, "open")):
        return
    seen.append([watched, event, repr(arguments)[:100]])


sys.addaudithook(watch)
names = set()
for module in pkgutil.walk_packages(genlab.__path__, "genlab."):
    found = importlib.import_module(module.name)
    for name, thing in vars(found).items():
        names.add(f"{module.name}.{name}")
        if isinstance(thing, type):
            names.update(f"{module.name}.{name}.{attribute}" for attribute in dir(thing))
allowed = {}
for name in sorted(names):
    try:
        allowed[name] = locate(name)
    except GenlabError:
        pass
made = 0
for name, thing in allowed.items():
    if name == "genlab.loggers.dashboards.no_dashboard":
        continue
    try:
        parameters = list(inspect.signature(thing).parameters)
    except ValueError:  # a dictionary with named keys
        parameters = []
    for value in ("PWNED", ["touch", "PWNED"], {"a": "PWNED"}, 1, True, None):
        for keywords in (dict.fromkeys(parameters, value), {}):
            watched = name
            try:
                thing(**keywords)
                made += 1
            except BaseException:
                pass
            watched = None
print(json.dumps({"looked_at": len(names), "allowed": [[n, isinstance(t, type)] for n, t in allowed.items()],
                  "made": made, "seen": seen}))
"""


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("walk")
    (folder / "walk.py").write_text(WALK)
    done = forkserver.run([sys.executable, str(folder / "walk.py")], cwd=folder, timeout=200)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in folder.iterdir()] == ["walk.py"]
    return json.loads(done.stdout.splitlines()[-1])


def test_of_all_that_genlab_holds_only_classes_may_be_named(walked: dict) -> None:
    assert walked["looked_at"] > 3000
    functions = [name for name, is_class in walked["allowed"] if not is_class]
    assert functions == list(FUNCTIONS)
    assert {name.split(".")[1] for name, _ in walked["allowed"]} == {
        "core", "data", "loggers", "measure", "models", "networks", "training"
    }  # fmt: skip


def test_none_of_them_acts_when_it_is_made(walked: dict) -> None:
    assert walked["made"] > 50, "the walk makes some"
    assert walked["seen"] == []


@pytest.mark.parametrize(
    "name",
    [
        "genlab.sweeps.remote.RemoteJob",
        "genlab.sweeps.remote.RemoteJob.__call__",
        "genlab.runs.atomic.write_atomic",
        "genlab.models.flow.Flow.load_from_checkpoint",
        "genlab.models.base.torch.load",
        "genlab.command.targets.os",
        "subprocess.run",
        "os.system",
        "logging.FileHandler",
        "pytorch_lightning.Trainer.fit",
        "torch.optim.Adam.__init__",
    ],
)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(GenlabError, match="which a config may not call"):
        locate(name)
