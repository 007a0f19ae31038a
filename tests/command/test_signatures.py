"""The arguments that a config can name: plain ones, gathered ones of typed dictionaries, inherited fields."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, Required, TypedDict, Unpack

import pytest
from annotated_types import Ge, Gt

from genlab.command import targets
from genlab.command.config import check_config
from genlab.command.schemas import Config
from genlab.command.signatures import Parameter, read_signature
from genlab.core.errors import GenlabError

if TYPE_CHECKING:
    from decimal import Decimal

Rate = Annotated[float, Gt(0)]


class Named(TypedDict):
    name: str


class Options(Named):
    lr: Rate
    clip: NotRequired[Rate | None]
    unknown: NotRequired[Decimal]


class Partial(Options, total=False):
    warmup: Annotated[float, Ge(0)]
    decay: Required[float]


class Family:
    def __init__(self, spec: object, *, hidden: Annotated[int, Ge(1)] = 8, **shared: Unpack[Options]) -> None:
        self.settings = {"hidden": hidden, **shared}


class Inherits(Family):
    pass


def test_gathered_keywords_are_arguments_like_the_others() -> None:
    parameters, open_ended = read_signature(Inherits)
    assert not open_ended
    assert parameters == {
        "spec": Parameter(object, True),
        "hidden": Parameter(Annotated[int, Ge(1)], False),
        "name": Parameter(str, True),
        "lr": Parameter(Rate, True),
        "clip": Parameter(Rate | None, False),
        "unknown": Parameter(Any, False),  # imported for type checkers only
    }


def test_which_keys_of_a_typed_dictionary_are_required() -> None:
    def gathers(**options: Unpack[Partial]) -> None: ...

    needed = {name for name, parameter in read_signature(gathers).parameters.items() if parameter.required}
    assert needed == {"name", "lr", "decay"}


def test_keywords_of_no_known_name_leave_it_open() -> None:
    def anything(first: int, **rest: Any) -> None: ...

    assert read_signature(anything) == ({"first": Parameter(int, True)}, True)


def test_annotations_mean_what_they_mean_where_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There Rate is another one than here, and nothing here is called Share.
    (tmp_path / "written_elsewhere.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from typing import Annotated, TypedDict\n"
        "from annotated_types import Lt\n"
        "Rate = int\n"
        "Share = Annotated[float, Lt(1)]\n"
        "class Base(TypedDict):\n    rate: Rate\n    share: Share\n"
        "@dataclass(frozen=True)\nclass Fields:\n    rate: Rate\n    share: Share\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    elsewhere = importlib.import_module("written_elsewhere")

    class Here(elsewhere.Base):
        lr: Rate

    @dataclass(frozen=True)
    class FieldsHere(elsewhere.Fields):
        lr: Rate

    def gathers(**options: Unpack[Here]) -> None: ...

    gathers.__annotations__["options"] = Unpack[Here]  # a class within a function has no name to look up
    for target in (gathers, FieldsHere):
        annotations = {name: parameter.annotation for name, parameter in read_signature(target).parameters.items()}
        assert annotations == {"rate": int, "share": elsewhere.Share, "lr": Rate}


def test_annotations_that_are_no_text_may_name_what_is_for_type_checkers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python 3.14 evaluates annotations when they are asked for; before, whoever wrote such a name quoted it.
    decimal = "Decimal" if sys.version_info >= (3, 14) else "'Decimal'"
    (tmp_path / "written_without_future.py").write_text(
        "from dataclasses import dataclass\n"
        "from typing import TYPE_CHECKING, TypedDict, Unpack\n"
        "if TYPE_CHECKING:\n    from decimal import Decimal\n"
        f"class Options(TypedDict):\n    lr: float\n    exact: list[{decimal}]\n"
        f"class Family:\n    def __init__(self, first: {decimal}, **options: Unpack[Options]): ...\n"
        f"@dataclass\nclass Fields:\n    first: {decimal}\n    lr: float\n    exact: list[{decimal}]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("written_without_future")
    for target in (module.Family, module.Fields):
        annotations = {name: parameter.annotation for name, parameter in read_signature(target).parameters.items()}
        assert annotations == {"first": Any, "lr": float, "exact": list[Any]}


@dataclass(frozen=True, kw_only=True)
class Schema(Config):
    model: Any


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"clip": None}, None),
        ({"lr": 0}, "model.lr is 0, expected a number > 0."),
        ({"name": "absent"}, "model.name is missing, expected text."),
        ({"clp": 1.0}, "Unknown key 'model.clp'. Did you mean 'model.clip'?"),
    ],
)
def test_a_config_is_bound_to_them(
    change: dict[str, Any], message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omegaconf import OmegaConf

    monkeypatch.setattr(targets, "CLASSES", (*targets.CLASSES, f"{__name__}.*"))
    node = {"_target_": f"{__name__}.Family", "name": "small", "lr": 0.1, **change}
    config = OmegaConf.create({"model": {key: value for key, value in node.items() if value != "absent"}})
    if message is None:
        assert check_config(config, Schema).model.make(spec=None).settings["name"] == "small"
        return
    with pytest.raises(GenlabError) as raised:
        check_config(config, Schema)
    assert str(raised.value) == message
