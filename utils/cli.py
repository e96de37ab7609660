"""The flags of train_ds.py: those of the field's own scripts, each mapped to a field of the recipe, or refused with the reason.

One table, FLAGS, says it all. Besides the flags any field of the recipe is set by its dotted path (`optim.lr=1e-4`). A flag that
is not in the table is an error; nothing is parsed and then forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from seglm.utils.config import FALSE, parse
from seglm.utils.did_you_mean import unknown
from seglm.utils.ranges import WRITTEN_OUT, Count, CountOrNone, Place, Rule, hints_of, verify

INSIDE = Rule(
    "names of a folder inside --log_base_dir, without ..",
    lambda name: bool(name.strip("./")) and not name.startswith(("/", "~")) and ".." not in name.split("/"),
)

EVERY = Rule("steps (500) or minutes (20m), from 1", lambda text: bool(re.fullmatch(r"[1-9]\d{0,8}m?", text)))

QUOTES = "a value with spaces needs quotes"


@dataclass(frozen=True)
class Options:
    """What a command says, before it is applied to a recipe."""

    recipe: str | None = None
    """name of the recipe; None: found out from the weights"""
    version: Place | None = None
    """the base, a merged folder or a released model; None: what the recipe names"""
    exp_name: Annotated[str, INSIDE] | None = None
    """the run's folder inside `log_base_dir`; None: the recipe's name"""
    log_base_dir: Place = "./runs"
    resume: Annotated[str, WRITTEN_OUT] | None = None
    """folder of the run that goes on with everything it had; empty: the run's own"""
    init_from: Place | None = None
    """weights to start from, with a new schedule: a merged folder, a released model or a portable checkpoint"""
    overwrite: bool = False
    """whether a run may replace the one that its folder holds"""
    eval_only: bool = False
    allow_leak: bool = False
    """score a split that the weights were trained on, with a warning instead of an error"""
    no_eval: bool = False
    print_freq: Count = 10
    """optimizer steps between two lines of the log"""
    save_every: Annotated[str, EVERY] | None = None
    """optimizer steps or minutes between two saves; None: only at the ends of epochs, where there is one in any case"""
    keep: CountOrNone = 0
    """portable checkpoints of the last saves that stay beside the best one"""
    local_rank: CountOrNone = 0
    """which process of its machine this is; the launcher says it twice, and its LOCAL_RANK counts"""
    list: bool = False
    """print the recipes, or with a recipe all its settings"""
    help: bool = False
    settings: tuple[tuple[str, str], ...] = field(default=())
    """(dotted path, text), in the order given"""

    def __post_init__(self) -> None:
        """Every value in its range. Raises ValueError that names the flag."""
        verify(self, said=lambda path: f"--{path}")


@dataclass(frozen=True)
class Flag:
    """One row of the table. Exactly one of `option`, `sets` and `refused` says what becomes of it."""

    name: str
    help: str = ""
    option: str = ""
    """field of Options"""
    sets: tuple[str, ...] = ()
    """dotted paths of the recipe"""
    value: str | None = None
    """what the flag stands for when it is given without a value; None: a value is needed"""
    only: str | None = None
    """the one value that is accepted and means nothing; any other is refused"""
    refused: str = ""
    """why the flag is an error, and what to use instead"""


FLAGS = (
    # What is run.
    Flag("recipe", "recipe to run, see --list", option="recipe"),
    Flag("version", "base model, merged folder or released model: a folder or a hub id", option="version"),
    Flag("mllm_model_path", "the same, as GSVA calls it", option="version"),
    Flag("revision", "hub revision of --version", sets=("backbone.revision",)),
    Flag("exp_name", "name of the run", option="exp_name"),
    Flag("log_base_dir", "where runs lie", option="log_base_dir"),
    Flag(
        "resume",
        "go on with a run as if it had not stopped; without a value the run --exp_name",
        option="resume",
        value="",
    ),
    Flag("init_from", "start a new run from these weights", option="init_from"),
    Flag("weight", "the same, as GSVA calls it: a training's .bin over --version", option="init_from"),
    Flag("overwrite", "replace the run that has this name", option="overwrite", value="true"),
    Flag("eval_only", "score the weights, train nothing", option="eval_only", value="true"),
    Flag("allow_leak", "score a split the weights were trained on", option="allow_leak", value="true"),
    Flag("no_eval", "do not score after each epoch", option="no_eval", value="true"),
    Flag("print_freq", "optimizer steps between two lines", option="print_freq"),
    Flag(
        "save_every",
        "save after so many steps (500) or minutes (20m), not only at the ends of epochs",
        option="save_every",
    ),
    Flag(
        "keep",
        "weights of the last K saves as kept/step<N>; always there: the last two saves to resume from, the best as portable/",
        option="keep",
    ),
    Flag("list", "print the recipes, with --recipe all its settings", option="list", value="true"),
    Flag("help", "print this", option="help", value="true"),
    # Model.
    Flag("vision_pretrained", "SAM's .pth", sets=("decoder.weights",)),
    Flag("segmentation_model_path", "the same, as GSVA calls it", sets=("decoder.weights",)),
    Flag("vision_tower", "CLIP: a folder or a hub id", sets=("backbone.vision",)),
    Flag("conv_type", "chat template", sets=("backbone.template",)),
    Flag(
        "model_max_length",
        "longest dialogue, tokens after images are expanded",
        sets=("backbone.max_length",),
    ),
    Flag("image_size", "side of the mask decoder's input, pixels", sets=("decoder.image_size",)),
    Flag("lora_r", "rank of the adapters, 0 for none", sets=("trainable.lora.r",)),
    Flag("lora_alpha", sets=("trainable.lora.alpha",)),
    Flag("lora_dropout", sets=("trainable.lora.dropout",)),
    Flag("lora_target_modules", "linear layers by name: q_proj,v_proj", sets=("trainable.lora.targets",)),
    Flag(
        "train_mask_decoder",
        "also train the mask decoder",
        sets=("trainable.full+",),
        value="decoder.mask_decoder",
    ),
    Flag(
        "use_mm_start_end",
        "write tokens around the image",
        sets=("backbone.image_tokens",),
        value="<im_start>,<im_end>",
    ),
    Flag("precision", "fp32, bf16 or fp16", sets=("engine.precision",)),
    Flag("load_in_8bit", "frozen weights of the LLM in 8 bit", sets=("engine.load_in",), value="8bit"),
    Flag("load_in_4bit", "frozen weights of the LLM in 4 bit", sets=("engine.load_in",), value="4bit"),
    Flag(
        "gradient_checkpointing",
        "trade time for memory",
        sets=("engine.gradient_checkpointing",),
        value="true",
    ),
    Flag(
        "out_dim",
        only="256",
        refused="the width of the mask decoder's prompts follows from its weights (256 in SAM)",
    ),
    # Data.
    Flag("dataset", 'families to mix: "sem_seg||refer_seg||vqa||reason_seg"', sets=("data.mixture",)),
    Flag("sample_rates", 'weight of each: "9,3,3,1"', sets=("data.rates",)),
    Flag("sem_seg_data", 'e.g. "ade20k||cocostuff"', sets=("data.sets.sem_seg",)),
    Flag("refer_seg_data", 'e.g. "refclef||refcoco||refcoco+||refcocog"', sets=("data.sets.refer_seg",)),
    Flag("vqa_data", "e.g. llava_instruct_150k", sets=("data.sets.vqa",)),
    Flag("reason_seg_data", 'e.g. "ReasonSeg|train"', sets=("data.sets.reason_seg",)),
    Flag("vos_data", "e.g. ytvos", sets=("data.sets.vos",)),
    Flag(
        "refer_seg_video_data",
        'VideoLISA\'s, e.g. "refer_youtube_vos,mevis"',
        sets=("data.sets.refer_seg_video",),
    ),
    Flag("ref_vos_data", "the same, as its train_joint.py calls it", sets=("data.sets.refer_seg_video",)),
    Flag("val_dataset", 'e.g. "ReasonSeg|val" or "refcoco|unc|val"', sets=("evaluate.dataset",)),
    Flag("val_refzom", "score Ref-ZOM", sets=("evaluate.dataset",), value="refzom|final|test"),
    Flag("dataset_dir", "where the data lie", sets=("data.dataset_dir",)),
    Flag("num_classes_per_sample", "most targets asked for in one image", sets=("data.targets_per_sample",)),
    Flag("exclude_val", "leave validation images out of training", sets=("data.exclude_val",), value="true"),
    Flag(
        "explanatory",
        "share of answers in words only, where there are explanations",
        sets=("data.explanatory",),
    ),
    Flag(
        "num_frames_sparse",
        only="32",
        refused="VideoLISA was trained with 32 pooled frames; another number is another recipe",
    ),
    Flag(
        "num_frames_dense",
        only="4",
        refused="VideoLISA was trained with 4 whole frames; another number is another recipe",
    ),
    # Schedule and optimisation.
    Flag("epochs", sets=("schedule.epochs",)),
    Flag("steps_per_epoch", "optimizer steps", sets=("schedule.steps_per_epoch",)),
    Flag("batch_size", "images on one GPU", sets=("schedule.batch_size",)),
    Flag("grad_accumulation_steps", sets=("schedule.grad_accumulation_steps",)),
    Flag("val_batch_size", sets=("evaluate.batch_size",)),
    Flag("workers", "loader processes of each GPU", sets=("engine.workers",)),
    Flag("lr", "peak learning rate", sets=("optim.lr",)),
    Flag("beta1", sets=("optim.betas.0",)),
    Flag("beta2", sets=("optim.betas.1",)),
    Flag("ce_loss_weight", sets=("terms.language.weight",)),
    Flag("bce_loss_weight", sets=("terms.bce.weight",)),
    Flag("dice_loss_weight", sets=("terms.dice.weight",)),
    Flag("key_loss_weight", "of KeySeg's alignment", sets=("terms.keyword.weight",)),
    Flag("zero", "ZeRO stage: 1, 2 or 3", sets=("engine.zero",)),
    Flag("seed", sets=("engine.seed",)),
    # Known, and not taken.
    Flag(
        "local_rank", "the launcher's own, and without effect: LOCAL_RANK says the same", option="local_rank"
    ),
    Flag("auto_resume", value="true", refused="a run never goes on by accident; say --resume"),
    Flag("start_epoch", refused="--resume knows the step; a schedule of its own starts with --init_from"),
    Flag(
        "no_sampling",
        refused="samples are drawn by number from the mixture; one data set alone is --dataset refer_seg "
        "--refer_seg_data grefcoco",
    ),
    Flag("merge_lora_path", refused="merge with merge_lora_weights_and_save_hf_model.py --weight ..."),
    Flag("patience", refused="a run ends with its schedule and keeps its best state; see schedule.epochs"),
    Flag("test_mode", refused="scores of trained weights: --eval_only --weight ... --val_dataset ..."),
    Flag("ckpt", refused="trained weights are given with --weight (or --init_from)"),
    Flag("vis_save_path", refused="pictures of an evaluation lie in the run's folder; chat.py has this flag"),
)
BY_NAME = {flag.name: flag for flag in FLAGS}


def read(arguments: Sequence[str]) -> Options:
    """The options a command line spells; `-` and `_` in a flag's name are the same.

    Raises ValueError for an unknown or refused flag, for a flag without its value and for a value without its flag.
    """
    options = Options()
    for name, text in _pairs(arguments):
        if name.startswith("--"):
            options = _take(options, _find(name), text)
        else:
            options = replace(options, settings=(*options.settings, (name, text)))
    return options


def with_flag(path: str) -> str:
    """A field as messages name it: `optim.lr (--lr)`, where a flag sets it."""
    names = [flag.name for flag in FLAGS if path in flag.sets or path.rpartition(".")[0] in flag.sets]
    return f"{path} (--{names[0]})" if names else path


def help_text(flags: Iterable[Flag] = FLAGS) -> str:
    """One line for each flag: what it is, and the field it sets or why it is refused."""
    lines = ["train_ds.py [--flag value ...] [field=value ...]", ""]
    for flag in flags:
        end = ", ".join(flag.sets) or (f"refused: {flag.refused}" if flag.refused else "")
        lines.append(
            f"  --{flag.name:26}{flag.help}{'  ' if flag.help and end else ''}{f'[{end}]' if end else ''}"
        )
    return "\n".join(lines)


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(flag or dotted path, value); a flag that may stand alone yields the value it stands for."""
    waiting = list(arguments)
    alone: Flag | None = None
    while waiting:
        word = waiting.pop(0)
        name, equals, text = word.partition("=")
        if not word.startswith("-"):
            if not equals:
                raise ValueError(
                    f"{word!r} is neither a flag nor field=value; {_of(alone, word) if alone else QUOTES}"
                )
            yield name, text
            alone = None
            continue
        name = "--help" if name == "-h" else name
        flag = _find(name)
        alone = flag if flag.value is not None and not equals else None
        if equals:
            yield name, text
        elif flag.value is not None and not (flag.option == "resume" and waiting and _is_value(waiting[0])):
            yield name, flag.value
        elif flag.value is None and not waiting:
            raise ValueError(f"{name} needs a value: {flag.help}")
        else:
            yield name, waiting.pop(0)


def _of(flag: Flag, word: str) -> str:
    """What a word means that stands behind a flag which stands alone."""
    if word.lower() in FALSE:
        how = f"say {flag.sets[0]}=false" if flag.sets else "leave it out"
        return f"--{flag.name} takes no value: it means {flag.value}; for {word} {how}"
    return f"--{flag.name} takes no value; {QUOTES}"


def _is_value(word: str) -> bool:
    return not word.startswith("--") and "=" not in word


def _find(name: str) -> Flag:
    plain = name.removeprefix("--").replace("-", "_")
    if not name.startswith("--") or plain not in BY_NAME:
        raise ValueError(
            unknown("flag", name, [f"--{flag.name}" for flag in FLAGS], more="train_ds.py --help")
        )
    return BY_NAME[plain]


def _take(options: Options, flag: Flag, text: str) -> Options:
    if flag.only is not None and flag.only == text:
        return options
    if flag.refused:
        raise ValueError(f"--{flag.name} is not taken: {flag.refused}")
    if flag.option:
        change: dict[str, Any] = {flag.option: parse(text, hints_of(Options)[flag.option], f"--{flag.name}")}
        return replace(options, **change)
    return replace(options, settings=(*options.settings, *((path, text) for path in flag.sets)))
