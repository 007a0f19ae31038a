"""Whatever somebody types, on a command line or into a config: exit code 2 and one or two lines that say what is wrong.

A new command, group or key joins `CASES` by one line. Numeric keys of the configs join `test_hostile_numbers.py` by
themselves.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from genlab.command import cli
from tests.command.hostile import refused
from tests.tiny import TINY, run_folder
from tests.tiny import train as train_tiny

HUGE = "1000000000000"

CASES: list[tuple[str, str]] = [
    # Numbers: what no tensor holds, and sizes that no memory holds.
    ("train model.lr=1e400", "model.lr is inf, expected a number > 0."),
    ("train model.lr=1e300", "Numbers are finite, at most 3.4e38."),
    ("train model.lr=true", "model.lr is true, expected a number"),
    ("train model.lr=[1,2]", "model.lr is [1, 2]"),
    ("train model.lr=null", "model.lr is null"),
    ("train budget.minutes=inf", "budget.minutes is inf"),
    ("train budget.minutes=inf budget.examples=null", "budget.minutes is inf"),
    ("train budget.minutes=1e400", "budget.minutes is inf"),
    ("train checkpoint_minutes=inf", "checkpoint_minutes is inf"),
    ("train ema_decay=nan", "ema_decay is nan"),
    ("train budget.examples=1e6", "Write 1000000."),
    (f"train data.batch_size={HUGE}", "data.batch_size"),
    ("train data=mnist data.batch_size=999999999", "data.batch_size"),
    (f"train grid_samples={HUGE}", "grid_samples"),
    (f"train validation_samples={HUGE}", "validation_samples"),
    (f"train evaluation.num_samples={HUGE}", "evaluation.num_samples"),
    ("train data=cifar10 evaluation.num_samples=9999999", "samples alone take 30.7 GB"),
    (f"train evaluation.num_draws={HUGE}", "evaluation.num_draws"),
    (f"train model=made model.hidden={HUGE}", "model.hidden"),
    (f"train model=made model.blocks={HUGE}", "model.blocks"),
    ("train model=transformer model.hidden=65536", "The model takes more than"),
    (f"train model=gmm model.components={HUGE}", "model.components"),
    (f"train model=pixelcnn model.dilations=[{HUGE}]", "model.dilations"),
    (f"train data=toy2d data.train_size={HUGE}", "data.train_size"),
    ("sample run={run} n=999999999999999", "so many samples take at least 62 TB as npz"),
    ("sample run={run} n=1e3", "n is 1000.0, expected a whole number >= 1. Write 1000."),
    ("sample run={run} n=-1", "n is -1"),
    ("sample run={run} seed=99999999999999999999", "seed is"),
    (f"reconstruct run={{run}} n={HUGE}", "n is"),
    (f"interpolate run={{run}} steps={HUGE}", "steps is"),
    (f"interpolate run={{run}} a={HUGE}", "a is"),
    (f"traverse run={{run}} latents={HUGE}", "latents is"),
    ("traverse run={run} reach=inf", "reach is inf"),
    (f"detect run={{run}} against=vertical_flip n={HUGE}", "n is"),
    (f"detect run={{run}} against=vertical_flip draws={HUGE}", "draws is"),
    ("detect run={run} against=vertical_flip scores=[nil]", "scores has 'nil', expected some of nll"),
    ("detect run={run} against=vertical_flip scores=[]", "scores is []"),
    ("detect run={run} against=vertical_flip split=train", "split is 'train', expected validation or test"),
    ("detect run={run} against=vertical_flop", "Did you mean 'vertical_flip'?"),
    ("detect run={run} against=mnist", "against is mnist, image of shape [1, 28, 28], 256 levels, expected data like"),
    ("detect run={run} against=npz", "against is npz: data.path is not given"),
    ("detect run={run} against=../data/mnist", "against is '../data/mnist'"),
    ("detect run={run} against=[mnist]", "against is ['mnist']"),
    ("detect run={run}", "against is required"),
    ("anomalies figure=auc", "figure is 'auc', expected auroc, average_precision or fpr_at_95. Did you mean 'auroc'?"),
    ("anomalies data=nope", "There are no scores of nope"),
    ("anomalies folders=[]", "folders is []"),
    (f"inpaint run={{run}} n={HUGE}", "n is"),
    (f"inpaint run={{run}} each={HUGE}", "each is"),
    (f"inpaint run={{run}} rounds={HUGE}", "rounds is"),
    ("export run={run}", "to is required"),
    ("export run={run} to=''", "to is ''"),
    ("export run={run} to=x network=1", "network is 1"),
    ("explore port=99999", "port is 99999"),
    ("explore host=''", "host is ''"),
    ("augment run={run} fraction=0", "fraction is 0"),
    ("augment run={run} fraction=1.5", "fraction is 1.5"),
    ("augment run={run} seeds=1", "seeds is 1"),
    (f"augment run={{run}} seeds={HUGE}", "seeds is"),
    (f"train_extractor data=digits width={HUGE}", "width"),
    ("train_extractor data=digits width=65536", "The classifier takes more than"),
    (f"train_extractor data=digits shift={HUGE}", "shift"),
    ("train_extractor data=digits weight_decay=inf", "weight_decay is inf"),
    ("train_extractor data=digits budget.examples=null", "budget.examples is null"),
    # Optimizers and schedules, before anything is written.
    ("train model.optimizer.betas=[2,2]", "model.optimizer does not take its settings: Invalid beta"),
    ("train model.optimizer.betas=[nan,nan]", "model.optimizer.betas is [nan, nan]"),
    ("train model.optimizer.betas=[0.9]", "expected a list of 2"),
    ("train +model.optimizer.fused=true +model.optimizer.foreach=true", "model.optimizer does not take its settings"),
    ("train model.optimizer=adam", "model.optimizer is 'adam'"),
    ("train model.optimizer._target_=torch.optim.Adamm", "Did you mean 'Adam'?"),
    ("train model.optimizer._target_=torch.optim.SparseAdam", "SparseAdam, which does not train"),
    ("train model.optimizer._target_=torch.optim.LBFGS ~model.optimizer.betas", "LBFGS, which does not train"),
    ("train model.optimizer._partial_=null", "model.optimizer._partial_ is null"),
    ("train model.schedule.warmup=2", "model.schedule.warmup is 2, expected a number >= 0 and <= 1."),
    ("train model.schedule=null", "model.schedule is null"),
    # The trainer, of a run that is to begin and of one that is finished.
    ("train trainer.devices=-7", "trainer.devices is -7"),
    ("train trainer.devices=abc", "trainer.devices is 'abc'"),
    (f"train trainer.devices={HUGE}", "trainer.devices"),
    ("train trainer.devices=[]", "trainer.devices is []"),
    (f"train trainer.num_nodes={HUGE}", "trainer.num_nodes"),
    ("train trainer.accelerator=quantum", "trainer.accelerator is 'quantum', expected auto, cpu"),
    ("train trainer.strategy=ddpp", "trainer.strategy is 'ddpp', expected auto, ddp"),
    ("train trainer.strategy=null", "trainer.strategy is null"),
    ("train trainer.precision=16", "trainer.precision is 16"),
    ("train trainer.profiler=fast", "trainer.profiler is 'fast', expected simple"),
    ("train {finished} trainer.devices=-7", "trainer.devices is -7"),
    ("train {finished} trainer.accelerator=quantum", "trainer.accelerator is 'quantum'"),
    ("train {finished} trainer.strategy=ddpp", "trainer.strategy is 'ddpp'"),
    ("train {finished} trainer.profiler=fast", "trainer.profiler is 'fast'"),
    ("train {finished} trainer.num_nodes=-1", "trainer.num_nodes is -1"),
    ("train {finished} log_every=-1", "log_every is -1"),
    ("train {finished} checkpoint_minutes=nan", "checkpoint_minutes is nan"),
    ("train {finished} data.device=tpu", "data.device is 'tpu'"),
    ("train {finished} logger=wandb logger.mode=onlien", "logger.mode is 'onlien'"),
    # Groups.
    ("train model=[flow,vae]", "-m model=flow,vae"),
    ("train data=[digits,mnist]", "chooses several options of data"),
    ("train logger=[wandb,tensorboard]", "chooses several options of logger"),
    ("train trainer=[cpu,gpu]", "chooses several options of trainer"),
    ("train hydra/launcher=[process,joblib]", "chooses several options of hydra/launcher"),
    ("evaluate run={run} evaluation=[quick,paper]", "chooses several options of evaluation"),
    ("train_extractor data=[digits,mnist]", "chooses several options of data"),
    ("train model=null", "names no option of model"),
    ("train model=", "''"),
    ("train model=7", "names no option of model"),
    ("train model=../data/mnist", "'../data/mnist'"),
    ("train model=/etc/passwd", "no option 'passwd'"),
    ("train model=FLOW", "model has no option 'FLOW'"),
    ("train evaluation=slow", "evaluation has no option 'slow'"),
    ("train experiment=nope", "experiment has no option 'nope'"),
    ("train search=nope", "search has no option 'nope'"),
    ("train experiment=[flow_mnist,gan_mnist] model.vector.hidden=[8]", "Unknown key 'model.vector.hidden'"),
    ("train model@foo=flow", "model@foo"),
    ("train ~model", "model is missing"),
    ("train budget=null", "budget is null"),
    ("train budget=[1]", "budget"),
    # Paths and names.
    ("train paths.logs=''", "paths.logs is ''"),
    ("train paths.logs=null", "paths.logs is null"),
    ("compare paths=null", "paths is null"),
    ("train model.name=a/../../b", "model.name is 'a/../../b'"),
    ("train model.name=ünïcödé", "Cannot read the setting"),
    ("train evaluation.name=''", "evaluation.name is ''"),
    ("sample run={run} out=''", "out is ''"),
    ("sample run=''", "run is ''"),
    ("sample run={run} device=''", "device is ''"),
    ("sample run={run} device=tpu", "device is 'tpu'"),
    ("sample run={run} label=3", "not class-conditional"),
    ("evaluate run={run} checkpoint=middle", "checkpoint is 'middle', expected best or last."),
    ("evaluate run={run} evaluation.num_samples=0", "evaluation.num_samples is 0"),
    ("evaluate samples='' data=digits", "samples is ''"),
    ("evaluate samples=x data=digits name=''", "name is ''"),
    ("evaluate samples=x data=nope", "data has no option 'nope'"),
    ("compare out='' paths.logs={logs}", "out is ''"),
    ("compare folders=[] paths.logs={logs}", "folders is []"),
    ("compare folders=nope", "folders is 'nope', expected a list"),
    ("compare formats=[pdf]", "formats is ['pdf']"),
    ("compare wandb=''", "wandb is ''"),
    ("compare wandb=https://wandb.ai/x paths.logs={logs}", "wandb is 'https://wandb.ai'"),
    ("compare wandb=a/b/c paths.logs={logs}", "wandb is 'a/b'"),
    ("dashboard project=a/b dry_run=true", "project is 'a/b', expected the name of a W&B project"),
    ("train logger=wandb logger.project=a/b", "logger.project is 'a/b'"),
    ("train logger=wandb logger.project=''", "logger.project is ''"),
    ("dashboard project=''", "project is ''"),
    ("dashboard --dryrun", "Unknown flag '--dryrun'"),
    ("main tran", "Unknown command 'tran'. Did you mean 'train'?"),
    ("main train model=nope", "model has no option 'nope'"),
    # Nodes.
    ("train model.multiscale=null", "model.multiscale is null"),
    ("train ~model.multiscale._target_", "model.multiscale has no _target_"),
    ("train model.multiscale._target_=os.system", "which a config may not call"),
    ("train model.multiscale._target_=genlab.models.flow_networks.VectorConfig", "model.multiscale"),
    ("train model._target_=null", "model._target_ is None"),
    ("train a.b=1 c.d=2 e.f=3", "Unknown key 'c.d'. --cfg job shows all keys. (and 1 more)"),
    ("train +a=1 +b=2 +c=3", "(and 1 more)"),
    ("train -m seed=0,1 hydra.launcher.a=1 hydra.launcher.b=2 hydra.launcher.c=3", "hydra.launcher"),
    # The grammar of overrides.
    ("train =flow", "'=flow'"),
    ("train model.lr", "write key=value"),
    ("train \"model.name='unbalanced\"", "Cannot read the setting"),
    ("train 'model.name={a'", "Cannot read the setting"),
    ("train model.name=]", "Cannot read the setting"),
    ("train 模型=flow", "模型"),
    ("train model..lr=1", "model..lr"),
    ("train 'model.lr=${nowhere}'", "nowhere"),
    ("train 'model.lr=${model.lr}'", "model.lr"),
    ("train 'seed=${seed}' 'model.lr=${seed}'", "seed"),
    ("train 'model.lr=${oc.env:GENLAB_NO_SUCH}'", "GENLAB_NO_SUCH"),
    ("train 'model.lr=${nope:1}'", "nope"),
    ("train 'model.lr=${'", "Cannot read the setting"),
    ("train model.lr=???", "model.lr is missing"),
    ("train ''", "'' is no setting"),
    ("train --lr=3", "Unknown flag '--lr=3'"),
    ("train --cfg", "--cfg"),
    ("train --cfg job --package nope", "package 'nope' not found"),
    ("train --shell-completion nope", "Expected -sc install=<shell>, of bash, fish, zsh"),
    ("train --info nope", "invalid choice: 'nope'"),
    ("train --config-path nope", "expected a whole path"),
    ("train --config-dir /nope/none", "/nope/none"),
    (f"train {'x' * 5000}=1", "Unknown key"),
    # Sweeps and searches.
    ("train -m model=gmm,flow model.components=5", "model=flow has no key 'model.components', which model=gmm has"),
    ("train -m 'model=gmm,flow' 'data=digits,toy2d' model.components=5", "model=flow has no key 'model.components'"),
    ("train -m 'seed=range(1000000)'", "1,000,000 runs, expected at most 10,000"),
    ("train -m 'seed=range(1000)' 'model.lr=1,2,3,4' 'data.batch_size=1,2,3'", "12,000 runs"),
    ("train -m 'seed=range(10,0)'", "there is nothing to run"),
    ("train -m 'seed=range(0,10,0)'", "zero"),
    ("train -m 'seed=range(0,inf)'", "This sweep has inf runs"),
    ("train -m 'model=glob(*)' 'seed=range(1000)'", "runs, expected at most 10,000"),
    ("train -m 'model=glob(g*)' model.lrr=3", "Unknown key 'model.lrr'. Did you mean 'model.lr'?"),
    ("train -m model=flow,nope", "model has no option 'nope'"),
    ("train seed=0,1", "add -m"),
    ("train -m hydra/launcher=nope seed=0,1", "nope"),
    ("train -m hydra.launcher.jobs=-1 seed=0,1", "hydra.launcher.jobs is -1"),
    (f"train -m hydra.launcher.jobs={HUGE} seed=0,1", "hydra.launcher.jobs"),
    ("train -m hydra.launcher.only=abc seed=0,1", "hydra.launcher.only is 'abc'"),
    ("train -m hydra.launcher=null seed=0,1", "hydra.launcher"),
    ("train -m hydra.sweeper=null seed=0,1", "hydra.sweeper is null"),
    ("train -m hydra.sweeper.max_batch_size=0 seed=0,1", "hydra.sweeper.max_batch_size is 0"),
    ("train -m hydra/launcher=joblib hydra.launcher.threads=-1 seed=0,1", "hydra.launcher.threads is -1"),
    ("train -m hydra/launcher=submitit_local hydra.launcher.timeout_min=-1 seed=0,1", "hydra.launcher.timeout_min"),
    ("train -m search=flow hydra.sweeper.trials=inf", "hydra.sweeper.trials is inf"),
    ("train -m search=flow hydra.sweeper.objective=7", "hydra.sweeper.objective is 7"),
    ("train -m search=flow hydra.sweeper.storage=7", "hydra.sweeper.storage is 7"),
    ("train -m search=flow hydra.sweeper.batch=0", "hydra.sweeper.batch is 0"),
    ("train -m search=flow hydra.sweeper.params=7", "hydra.sweeper.params is 7"),
    ("train -m search=flow 'model.lrr=interval(0,1)'", "model.lrr"),
    ("train -m search=flow 'model.lr=interval(-1,1)'", "model.lr"),
    ("train -m search=flow 'model.lr=interval(nan,nan)'", "model.lr"),
    ("train -m search=flow 'model.lr=range(0,1,0.00001)'", "100,000 values, expected at most 10,000 in a search"),
    ("train -m search=[flow,vae]", "chooses several options of search"),
]  # fmt: skip
"""The words of a command, and what its line has to say. ``{run}`` is a finished run, ``{logs}`` where it lies, and
``{finished}`` the words that it was trained by."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    logs = tmp_path_factory.mktemp("finished")
    train_tiny(logs)
    finished = shlex.join([*TINY, f"paths.logs={logs}"])
    return {"logs": str(logs), "run": str(run_folder(logs)), "finished": finished}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.mark.parametrize(("words", "expected"), CASES, ids=[words[:80] for words, _ in CASES])
def test_a_hostile_command(
    words: str, expected: str, places: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, text in places.items():
        words = words.replace(f"{{{name}}}", text)
    command, *arguments = shlex.split(words)
    if command == "train" and "paths.logs=" not in words:
        arguments = [*arguments, f"paths.logs={tmp_path}"]
    if command == "train" and "logger=" not in words:
        arguments = [*arguments, "logger=none"]
    refused([command, *arguments], capfd, [expected])
    assert not list(tmp_path.glob("runs/*"))


def test_every_command_is_here() -> None:
    assert {*cli.COMMANDS, "main", "train_extractor"} == {words.partition(" ")[0] for words, _ in CASES}
