"""Whatever a command is told that cannot be meant: one line that names it, before anything is read or written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

import train_ds
from seglm.dataset.toy.write import write
from seglm.model.older import recipe_from_json
from seglm.model.recipes import recipe, recipes
from seglm.training.choose import configured
from seglm.training.run_folder import RunFolder, refuse
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
    --local_rank abc                | --local_rank='abc' is no int
    --local_rank -1                 | --local_rank=-1: permitted are numbers from 0
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
    read_at=3                       | permitted are -1, 0, phrase
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


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process group: it would be started and stopped for every row, and DeepSpeed, once imported, keeps the first one."""
    monkeypatch.setattr(train_ds.dist, "start", train_ds.dist.world)
    monkeypatch.setattr(train_ds.dist, "stop", lambda: None)


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
    changed = configured(recipe("lisa_tiny"), options)
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


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy") / "data"
    write(root, images=16, val_images=4, test_images=4, seed=0)
    return root


LATE = """
    --val_dataset ReasonSeg|vall    | 'vall' is not permitted; permitted are
    --val_dataset ReasonsSeg|val    | unknown benchmark 'ReasonsSeg|val'; did you mean
    --val_dataset refcoco           | it is refcoco|
    --val_dataset ReasonSeg|vall --dataset_dir /nowhere | 'vall' is not permitted
    --refer_seg_data refcco --dataset_dir /nowhere | unknown data set 'refcco'; did you mean refcoco
    --exclude_val false             | data.exclude_val=false
    --val_dataset llava_instruct_150k | is no benchmark
    --reason_seg_data ReasonSeg|val | LEAK: this training has ReasonSeg|val as training data; .*--allow_leak
    --reason_seg_data ReasonSeg|train,ReasonSeg|val | LEAK
    --reason_seg_data ReasonSeg|train_val --val_dataset ReasonSeg|train | LEAK
    --lora_target_modules lm_head,q_proj | lm_head would get no adapter; permitted are q_proj
    --sample_rates 0,0,0,0          | data.rates (--sample_rates): every weight is 0
    --sample_rates 1e308,1e308,1e308,1 | their sum is no number
    --sample_rates 1                | gives 1 weights
    --dataset reason_seg,sem_segg --sample_rates 1,1 | unknown family
    --reason_seg_data ReasonSegg|train | ReasonSegg
    --precision fp16                | needs a GPU
    engine.attention=flex           | no backward pass on a CPU
    engine.attention=flash_attention_2 | pip install flash-attn
    fusion=KeyFusion                | recipe lisa_tiny has none
    fusion=Nothing                  | unknown choice fusion= 'Nothing'
    --conv_type vicuna              | vicuna
    --lora_r 0 trainable.full=      | nothing is trained
    --ce_loss_weight 0 --bce_loss_weight 0 --dice_loss_weight 0 | nothing is learnt
    --load_in_4bit                  | are for chat.py and --eval_only
    --dataset_dir /nowhere          | --dataset_dir /nowhere is no folder; .* make the toy world there: python -m
    --dataset mevis --sample_rates 1 data.sets.mevis=mevis | is a toy world, .*--sets all
    --resume                        | is not there; .*leave --resume out
    --eval_only --val_dataset ReasonSeg|vall | 'vall' is not permitted
    --eval_only --precision fp16    | needs a GPU
"""
LATE_ROWS = [tuple(re.split(r" +\| ", line.strip(), maxsplit=1)) for line in LATE.strip().splitlines()]


@pytest.mark.parametrize("told, said", LATE_ROWS)
def test_what_does_not_go_together_is_said_before_a_model_is_built(
    told: str, said: str, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_ds, "start", lambda *_: pytest.fail("a model is built"))
    monkeypatch.setattr(train_ds, "load", lambda *_, **__: pytest.fail("a model is read"))
    place = ["--recipe", "lisa_tiny", "--log_base_dir", str(tmp_path), "--dataset_dir", str(toy)]
    with pytest.raises(SystemExit) as ended:
        train_ds.main([*place, *told.split(" ")])
    line = str(ended.value)
    pattern = ".*".join(re.escape(part) for part in said.split(".*"))
    assert line.startswith("error: ") and line.count("error:") == 1 and re.search(pattern, line), line
    assert not list(tmp_path.iterdir())


def test_a_broken_first_sample_of_the_validation_is_said_before_a_model_is_built(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_ds, "start", lambda *_: pytest.fail("a model is built"))
    broken = tmp_path / "data"
    shutil.copytree(toy, broken)
    command = [
        "--recipe",
        "lisa_tiny",
        "--log_base_dir",
        str(tmp_path / "runs"),
        "--dataset_dir",
        str(broken),
    ]
    for picture in (broken / "reason_seg/ReasonSeg/val").glob("*.jpg"):
        picture.write_bytes(picture.read_bytes()[:100])
    with pytest.raises(SystemExit, match=r"error: ReasonSeg\|val/.*\.jpg"):
        train_ds.main(command)
    shutil.rmtree(broken / "reason_seg/ReasonSeg/val")
    with pytest.raises(SystemExit, match=r"error: .*ReasonSeg.*val"):
        train_ds.main(command)
    assert not (tmp_path / "runs").exists()


def test_a_leak_may_be_allowed_and_no_validation_has_none(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start then goes on to the model."""

    def reached(*_: object) -> None:
        raise ValueError("a model would be built")

    monkeypatch.setattr(train_ds, "start", reached)
    place = ["--recipe", "lisa_tiny", "--log_base_dir", str(tmp_path), "--dataset_dir", str(toy)]
    for more in (["--allow_leak"], ["--no_eval"], ["--no_eval", "--val_dataset", "nothing"]):
        with pytest.raises(SystemExit, match="a model would be built"):
            train_ds.main([*place, "--reason_seg_data", "ReasonSeg|val", *more])
    assert not list(tmp_path.iterdir())


def test_a_start_that_fails_before_its_first_step_leaves_a_log_and_no_run(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError("too little")

    place = [
        "--recipe",
        "lisa_tiny",
        "--log_base_dir",
        str(tmp_path),
        "--dataset_dir",
        str(toy),
        "--exp_name",
        "a",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(train_ds, "Engine", fails)
        with pytest.raises(SystemExit, match="error: too little"):
            train_ds.main(place)
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["log.txt"]
    said = (tmp_path / "a" / "log.txt").read_text()
    assert "Traceback" in said and "trained:" in said
    refuse(RunFolder(tmp_path / "a"), resume=False, overwrite=False)
