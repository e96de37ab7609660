"""Whatever a command is told that cannot be meant: one line that names it, before anything is read or written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

import train_ds
from seglm.model.older import recipe_from_json
from seglm.model.recipes import recipe, recipes
from seglm.utils.cli import read
from seglm.utils.config import to_json
from seglm.utils.ranges import bare, hints_of

WRONG = """
    --steps_per_epoch -5            | schedule.steps_per_epoch (--steps_per_epoch)=-5: permitted are numbers from 1
    --steps_per_epoch 0             | permitted are numbers from 1
    --epochs 0                      | schedule.epochs (--epochs)=0: permitted are numbers from 1
    --epochs 1.5                    | is no int
    --batch_size 0                  | schedule.batch_size (--batch_size)=0
    --batch_size=-1                 | schedule.batch_size (--batch_size)=-1
    --grad_accumulation_steps 0     | (--grad_accumulation_steps)=0
    --val_batch_size 0              | evaluate.batch_size (--val_batch_size)=0
    --print_freq 0                  | --print_freq=0: permitted are numbers from 1
    --print_freq=-10                | --print_freq=-10: permitted are numbers from 1
    --workers -1                    | engine.workers (--workers)=-1: permitted are numbers from 0
    --seed -1                       | engine.seed (--seed)=-1: permitted are numbers from 0
    --seed 99999999999              | engine.seed (--seed)=99999999999
    --lr 0                          | optim.lr (--lr)=0.0: permitted are numbers above 0
    --lr -1e-4                      | optim.lr (--lr)=-0.0001
    --lr nan                        | optim.lr (--lr)=nan: it has to be a finite number
    --lr inf                        | optim.lr (--lr)=inf: it has to be a finite number
    --lr fast                       | optim.lr='fast' is no float
    --beta1 1                       | optim.betas.0 (--beta1)=1.0: permitted are numbers from 0 below 1
    --beta2 -0.1                    | optim.betas.1 (--beta2)=-0.1
    --beta2 nan                     | optim.betas.1 (--beta2)=nan
    optim.clip=-1                   | optim.clip=-1.0: permitted are numbers from 0
    optim.clip=inf                  | optim.clip=inf: it has to be a finite number
    optim.weight_decay=-0.1         | optim.weight_decay=-0.1
    optim.warmup_steps=-1           | optim.warmup_steps=-1
    optim.betas=0.9                 | has 1 values; it needs 2
    --lora_alpha 0                  | trainable.lora.alpha (--lora_alpha)=0: permitted are numbers from 1
    --lora_alpha -16                | (--lora_alpha)=-16
    --lora_r -2                     | trainable.lora.r (--lora_r)=-2: permitted are numbers from -1
    --lora_dropout 1                | trainable.lora.dropout (--lora_dropout)=1.0: permitted are numbers from 0 below 1
    --lora_dropout -0.5             | (--lora_dropout)=-0.5
    --lora_dropout nan              | (--lora_dropout)=nan
    --lora_target_modules=          | trainable.lora.targets (--lora_target_modules)=(): permitted are values that are not empty
    --lora_target_modules v_proj,v_proj | names that are there once each
    trainable.full+=x||x            | names that are there once each
    --num_classes_per_sample 0      | data.targets_per_sample (--num_classes_per_sample)=0
    --explanatory 2                 | data.explanatory (--explanatory)=2.0: permitted are -1, numbers from 0 up to 1
    --explanatory -0.5              | data.explanatory (--explanatory)=-0.5
    --explanatory nan               | data.explanatory (--explanatory)=nan
    --sample_rates nan,1,1,1        | data.rates.0 (--sample_rates)=nan
    --sample_rates 9,3,-3,1         | data.rates.2 (--sample_rates)=-3.0: permitted are numbers from 0
    --sample_rates 9,3,inf,1        | data.rates.2 (--sample_rates)=inf
    --sample_rates 9;3;3;1          | is no float
    --dataset reason_seg||reason_seg | data.mixture (--dataset)=('reason_seg', 'reason_seg'): permitted are
    --dataset=                      | data.mixture (--dataset)=(): permitted are values that are not empty
    --reason_seg_data ReasonSeg|train,reasonseg|train | data.sets.reason_seg (--reason_seg_data)
    --refer_seg_data refcoco||refcoco | data.sets.refer_seg (--refer_seg_data)
    --val_dataset=                  | evaluate.dataset (--val_dataset)='': permitted are values that are not empty
    evaluate.max_new_tokens=0       | evaluate.max_new_tokens=0: permitted are numbers from 1
    evaluate.protocol=guess         | permitted are generate, forced
    --ce_loss_weight -1             | terms.language.weight (--ce_loss_weight)=-1.0: permitted are numbers from 0
    --bce_loss_weight nan           | terms.bce.weight (--bce_loss_weight)=nan
    --dice_loss_weight inf          | terms.dice.weight (--dice_loss_weight)=inf
    --image_size 0                  | decoder.image_size (--image_size)=0
    --model_max_length 0            | backbone.max_length (--model_max_length)=0
    --zero 4                        | permitted are 1, 2, 3
    --precision int8                | permitted are fp32, bf16, fp16
    engine.attention=fast           | permitted are auto
    engine.row_tokens=-1            | engine.row_tokens=-1
    schedule.world_size=0           | schedule.world_size=0
    read_at=3                       | permitted are -1, 0
    --dataset_dir=                  | data.dataset_dir (--dataset_dir)=''
    --version=                      | --version='': permitted are values that are not empty
    --init_from=                    | --init_from=''
    --log_base_dir=                 | --log_base_dir=''
    --vision_pretrained=            | decoder.weights (--vision_pretrained)=''
    --exp_name=                     | --exp_name='': permitted are names of a folder inside --log_base_dir
    --exp_name .                    | --exp_name='.'
    --exp_name ../mine              | --exp_name='../mine'
    --exp_name /tmp                 | --exp_name='/tmp'
    --exp_name ~/mine               | --exp_name='~/mine'
"""
ROWS = [tuple(re.split(r" +\| ", line.strip(), maxsplit=1)) for line in WRONG.strip().splitlines()]


@pytest.mark.parametrize("told, said", ROWS)
def test_what_cannot_be_meant_is_one_line_and_leaves_nothing(told: str, said: str, tmp_path: Path) -> None:
    command = ["--recipe", "lisa_tiny", "--log_base_dir", str(tmp_path), *told.split(" ")]
    with pytest.raises(SystemExit) as ended:
        train_ds.main(command)
    line = str(ended.value)
    assert line.startswith("error: ") and "\n" not in line and said in line, line
    assert not list(tmp_path.iterdir())


def test_a_path_from_home_is_one_whatever_the_shell_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    options = read(["--log_base_dir=~/runs", "--dataset_dir=~/data", "--init_from=~/w", "--resume=~/r"])
    assert (options.log_base_dir, options.init_from, options.resume) == (
        "/home/me/runs",
        "/home/me/w",
        "/home/me/r",
    )
    changed = train_ds.configured(recipe("lisa_tiny"), options)
    assert changed.data.dataset_dir == "/home/me/data"
    with pytest.raises(ValueError, match=r"data.dataset_dir \(--dataset_dir\)='~/data': permitted are paths"):
        replace(changed, data=replace(changed.data, dataset_dir="~/data"))


@pytest.mark.parametrize(
    "part, name, value",
    [
        ("optim", "lr", "1e-4"),
        ("optim", "lr", True),
        ("optim", "clip", -1.0),
        ("optim", "betas", (0.9,)),
        ("schedule", "epochs", 2.0),
        ("schedule", "epochs", 0),
        ("engine", "zero", 4),
        ("engine", "gradient_checkpointing", "no"),
        ("evaluate", "max_new_tokens", 0),
        ("data", "rates", (float("nan"), 1.0)),
        ("data", "mixture", "reason_seg"),
    ],
)
def test_code_and_json_are_held_to_the_same_ranges(part: str, name: str, value: object) -> None:
    good = recipe("lisa_tiny")
    changed: Any = replace(getattr(good, part), **{name: value})
    with pytest.raises(ValueError, match=rf"{part}\.{name}"):
        replace(good, **{part: changed})
    kept = to_json(good)
    kept[part] = {**kept[part], name: list(value) if isinstance(value, tuple) else value}
    with pytest.raises(ValueError, match=rf"{part}\.{name}"):
        recipe_from_json(kept)


def test_every_number_of_a_recipe_says_its_range() -> None:
    silent = {path for make in recipes().values() for path in _without_rule(make(), "")}
    assert not silent, f"beside these fields stands no range: {sorted(silent)}"


def _without_rule(config: Any, path: str) -> Iterator[str]:
    for field in fields(config):
        hint, value, here = (
            hints_of(type(config))[field.name],
            getattr(config, field.name),
            f"{path}.{field.name}",
        )
        if is_dataclass(value):
            yield from _without_rule(value, here)
        elif isinstance(value, tuple) and value and is_dataclass(value[0]):
            for item in value:
                yield from _without_rule(item, here)
        else:
            numbers = (hint, *(get_args(bare(hint)) if get_origin(bare(hint)) is tuple else ()))
            yield from (here for one in numbers if one in (int, float))
