"""The flags that this field's users have in their fingers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe
from seglm.utils.cli import FLAGS, help_text, read
from seglm.utils.config import leaves, override

# train_ds.py:27-113 at dvlab-research/LISA 3cb2d43, every flag once.
LISA_FLAGS = """
    local_rank version vis_save_path precision image_size model_max_length lora_r vision-tower load_in_8bit load_in_4bit dataset
    sample_rates sem_seg_data refer_seg_data vqa_data reason_seg_data val_dataset dataset_dir log_base_dir exp_name epochs
    steps_per_epoch batch_size grad_accumulation_steps val_batch_size workers lr ce_loss_weight dice_loss_weight bce_loss_weight
    lora_alpha lora_dropout lora_target_modules explanatory beta1 beta2 num_classes_per_sample exclude_val no_eval eval_only
    vision_pretrained out_dim resume print_freq start_epoch gradient_checkpointing train_mask_decoder use_mm_start_end
    auto_resume conv_type
""".split()


def _applied(command: list[str]) -> Recipe:
    return override(recipe("lisa_7b"), read(command).settings)


@pytest.mark.parametrize("name", LISA_FLAGS)
def test_every_flag_of_the_original_is_taken_or_refused_by_name(name: str) -> None:
    value = {"precision": "fp32", "resume": "runs/x", "out_dim": "256"}.get(name, "1")
    command = [f"--{name}={value}"]
    flag = next(flag for flag in FLAGS if flag.name == name.replace("-", "_"))
    if flag.refused and flag.only is None:
        with pytest.raises(ValueError, match=f"--{flag.name} is not taken: "):
            read(command)
    elif flag.only is not None:
        assert read(command).settings == ()
    elif flag.option:
        assert not read([f"--{name}", *([] if flag.value is not None else [value])]).settings
    else:
        values = {
            "load_in_8bit": "8bit",
            "load_in_4bit": "4bit",
            "use_mm_start_end": "<a>,<b>",
            "beta1": "0.5",
            "beta2": "0.5",
            "lora_dropout": "0.5",
            "sample_rates": "9,3",
        }
        assert _applied([f"--{name}={values.get(name, value)}"]) is not None


def test_each_flag_sets_a_field_that_exists() -> None:
    paths = {path for name in ("keyseg_7b", "videolisa_3_8b") for path, _ in leaves(recipe(name))}
    paths |= {"optim.betas.0", "optim.betas.1"}
    assert {path.removesuffix("+") for flag in FLAGS for path in flag.sets} <= paths


def test_each_flag_is_exactly_one_of_option_field_and_refused() -> None:
    for flag in FLAGS:
        assert sum(map(bool, (flag.option, flag.sets, flag.refused))) == 1, flag.name


def test_videolisas_run_train_runs_unchanged() -> None:
    """run_train.sh at 0f14b22, whose data sets go by other names there."""
    command = [
        "--version=MBZUAI/LLaVA-Phi-3-mini-4k-instruct",
        "--dataset_dir=/data_sdf/LLM_DATA/LISA/datasets",
        "--vision_pretrained=/home/ubuntu/ckpt/SAM/sam_vit_h_4b8939.pth",
        "--vision-tower=openai/clip-vit-large-patch14-336",
        "--exp_name=video-lisa-3.8b-6k-iter",
        "--num_frames_sparse=32",
        "--num_frames_dense=4",
        "--num_classes_per_sample=1",
        "--epochs=20",
        "--steps_per_epoch=300",
        "--batch_size=2",
        "--grad_accumulation_steps=1",
        "--model_max_length=2048",
        "--dataset=sem_seg,refer_seg,reason_seg,vos,refer_seg_video,davis",
        "--sem_seg_data=ade20k,cocostuff,pascal_part,paco_lvis",
        "--refer_seg_data=refclef,refcoco,refcoco+,refcocog",
        "--vos_data=ytvos",
        "--refer_seg_video_data=refer_youtube_vos,mevis",
        "--sample_rates=8,4,3,4,6,1",
    ]
    ours = recipe("videolisa_3_8b")
    changed = override(ours, read(command).settings)
    sets = {**ours.data.sets, "vos": ("ytvos",), "refer_seg_video": ("refer_youtube_vos", "mevis")}
    same = replace(ours.data, dataset_dir=changed.data.dataset_dir, sets=sets)
    decoder = replace(ours.decoder, weights=changed.decoder.weights)
    assert changed == replace(ours, data=same, decoder=decoder)


def test_the_readme_command_of_lisa_runs_unchanged() -> None:
    command = [
        "--version=PATH_TO_LLaVA",
        "--dataset_dir=./dataset",
        "--vision_pretrained=PATH_TO_SAM",
        "--dataset=sem_seg||refer_seg||vqa||reason_seg",
        "--sample_rates=9,3,3,1",
        "--exp_name=lisa-7b",
        "--local_rank=0",
    ]
    options, changed = read(command), _applied(command)
    assert (options.version, options.exp_name) == ("PATH_TO_LLaVA", "lisa-7b")
    assert changed.data.mixture == ("sem_seg", "refer_seg", "vqa", "reason_seg")
    assert (changed.data.dataset_dir, changed.decoder.weights) == ("./dataset", "PATH_TO_SAM")


@pytest.mark.parametrize("text", ["sem_seg||refer_seg", "sem_seg,refer_seg"])
def test_data_sets_are_split_on_bars_and_on_commas(text: str) -> None:
    assert _applied(["--dataset", text]).data.mixture == ("sem_seg", "refer_seg")


def test_rates_and_split_names_keep_their_meaning() -> None:
    changed = _applied(
        ["--sample_rates", "9,3", "--reason_seg_data", "ReasonSeg|train", "--val_dataset", "refcoco|unc|val"]
    )
    assert changed.data.rates == (9.0, 3.0)
    assert changed.data.sets["reason_seg"] == ("ReasonSeg|train",)
    assert changed.evaluate.dataset == "refcoco|unc|val"


def test_flags_and_fields_mix_and_the_last_one_wins() -> None:
    changed = _applied(
        ["--lr", "1e-3", "optim.lr=1e-4", "--beta1", "0.8", "terms.bce.weight=3", "--explanatory", "-1"]
    )
    assert (changed.optim.lr, changed.optim.betas) == (1e-4, (0.8, 0.95))
    assert changed.terms[1].weight == 3.0 and changed.data.explanatory == -1.0


@pytest.mark.parametrize(
    "command, resume",
    [
        (["--resume"], ""),
        (["--resume", "runs/a"], "runs/a"),
        (["--resume=runs/a"], "runs/a"),
        (["--resume", "--lr", "1"], ""),
        (["--resume", "optim.lr=1"], ""),
    ],
)
def test_resume_stands_alone_or_names_a_run(command: list[str], resume: str) -> None:
    assert read(command).resume == resume


@pytest.mark.parametrize(
    "command, message",
    [
        (["--lora_rr", "3"], "unknown flag '--lora_rr'; did you mean --lora_r"),
        (["--wait", "x.bin"], "unknown flag '--wait'"),
        (["--auto_resume"], "--auto_resume is not taken: .*--resume"),
        (["--start_epoch", "3"], "--start_epoch is not taken: --resume"),
        (["--out_dim", "128"], "--out_dim is not taken: .*256"),
        (["--lr"], "--lr needs a value"),
        (["lisa_7b"], "'lisa_7b' is neither a flag nor field=value"),
        (
            ["--exclude_val", "false"],
            "'false' is neither a flag .*--exclude_val takes no value: it means true; for false say data.exclude_val=false",
        ),
        (["--no_eval", "False"], "--no_eval takes no value: it means true; for False leave it out"),
        (["--no_eval", "maybe"], "--no_eval takes no value; a value with spaces needs quotes"),
        (
            ["--no_eval", "--lr", "1", "false"],
            "'false' is neither a flag nor field=value; a value with spaces",
        ),
        (["-v"], "unknown flag '-v'"),
        (["--print_freq", "often"], "--print_freq='often' is no int"),
    ],
)
def test_what_is_not_understood_is_an_error(command: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(command)


def test_help_names_every_flag() -> None:
    text = help_text()
    assert all(f"--{flag.name} " in text for flag in FLAGS)
