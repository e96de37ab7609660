"""Overrides, differences and JSON of nested frozen dataclasses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest

from seglm.utils.config import difference, from_json, leaves, override, spell, to_json


@dataclass(frozen=True)
class Term:
    name: str
    weight: float


@dataclass(frozen=True)
class Optim:
    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.95)
    steps: int = 10
    nesterov: bool = False
    kind: Literal["adam", "sgd"] = "adam"
    zero: Literal[1, 2, 3] = 1
    revision: str | None = "main"
    layers: tuple[str, ...] = ("q", "v")


@dataclass(frozen=True)
class Run:
    name: str
    optim: Optim = Optim()
    terms: tuple[Term, ...] = (Term("bce", 2.0), Term("dice", 0.5))
    draw: Callable[[Any], str] = spell
    rates: Mapping[str, float] = field(default_factory=dict)


RUN = Run("base")


@pytest.mark.parametrize(
    "path, text, want",
    [
        ("name", "other", "other"),
        ("optim.lr", "1e-4", 1e-4),
        ("optim.betas", "0.8,0.9", (0.8, 0.9)),
        ("optim.betas.0", ".8", (0.8, 0.95)),
        ("optim.steps", "7", 7),
        ("optim.nesterov", "true", True),
        ("optim.kind", "sgd", "sgd"),
        ("optim.zero", "3", 3),
        ("optim.revision", "none", None),
        ("optim.revision", "abc", "abc"),
        ("optim.layers", "q||k", ("q", "k")),
        ("optim.layers", "", ()),
        ("optim.layers+", "k,v", ("q", "v", "k")),
        ("terms.dice.weight", "1", (Term("bce", 2.0), Term("dice", 1.0))),
    ],
)
def test_a_field_takes_the_value_its_text_spells(path: str, text: str, want: object) -> None:
    changed = override(RUN, [(path, text)])
    value: Any = changed
    for key in path.removesuffix("+").split("."):
        if isinstance(value, tuple):
            break
        value = getattr(value, key)
    assert value == want and type(value) is type(want)
    assert RUN == Run("base")


@pytest.mark.parametrize(
    "path, text, message",
    [
        ("lr", "1", "did you mean optim.lr?"),
        ("optim.lrr", "1", "did you mean optim.lr"),
        ("optim", "1", "set one of optim.lr, optim.betas"),
        ("optim.lr", "fast", "optim.lr='fast' is no float"),
        ("optim.steps", "1.5", "is no int"),
        ("optim.nesterov", "maybe", "permitted are true and false"),
        ("optim.kind", "lion", "permitted are adam, sgd"),
        ("optim.zero", "4", "permitted are 1, 2, 3"),
        ("optim.betas", "1", "has 1 values; it needs 2"),
        ("optim.lr+", "1", "only a tuple can be added to"),
        ("terms.dise.weight", "1", "unknown item of terms 'dise'; did you mean dice?"),
        ("rates", "2", "set rates.NAME=2"),
        ("draw", "print", "chosen in code"),
        ("name.first", "x", "unknown setting 'name.first'"),
    ],
)
def test_a_wrong_setting_names_what_is_right(path: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match="(?s)" + message.replace("?", r"\?").replace("+", r"\+")):
        override(RUN, [(path, text)])


def test_the_difference_lists_each_field_once_with_both_values() -> None:
    other = replace(RUN, optim=Optim(lr=1e-4), terms=(Term("bce", 2.0), Term("points", 1.0)))
    assert [str(change) for change in difference(RUN, other)] == [
        "optim.lr: 0.0003 -> 0.0001",
        "terms.dice.name: dice -> (absent)",
        "terms.dice.weight: 0.5 -> (absent)",
        "terms.points.name: (absent) -> points",
        "terms.points.weight: (absent) -> 1.0",
    ]
    assert difference(RUN, RUN) == []


def test_every_spelled_value_can_be_typed_again() -> None:
    for path, value in leaves(RUN):
        if path != "draw":
            assert override(RUN, [(path, spell(value))]) == RUN, path


def test_json_gives_the_same_configuration_back() -> None:
    run = override(RUN, [("optim.revision", "none"), ("terms.dice.weight", "3")])
    assert from_json(Run, json.loads(json.dumps(to_json(run)))) == run


@pytest.mark.parametrize(
    "change, message",
    [
        ({"speed": 3}, "unknown field of Run 'speed'"),
        ({"optim": {"lrr": 1.0}}, "unknown field of Run.optim 'lrr'; did you mean lr"),
        ({"draw": "os:system"}, "outside seglm"),
        ({"draw": "seglm.utils.config:no_such"}, "does not exist in this version"),
    ],
)
def test_json_of_another_shape_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(Run, to_json(RUN) | change)


def test_a_missing_field_without_default_is_refused() -> None:
    with pytest.raises(ValueError, match="Run: .*'name'.*another version"):
        from_json(Run, {})
