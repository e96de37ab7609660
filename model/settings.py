"""What a recipe sets, beside the parts that it is built of: what is trained, on which data, how, and how it is scored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from seglm.model import attention
from seglm.model.precision import Precision
from seglm.utils.did_you_mean import unknown
from seglm.utils.dist import World
from seglm.utils.ranges import FILLED, LARGEST, Count, CountOrNone, Names, Place, Positive, Weight, between

Attention = Literal["auto", "sdpa", "prefix", "flash_attention_2", "flex", "eager"]
LossNorm = Literal["global", "peer"]
Protocol = Literal["generate", "forced"]
Pixels = Literal["fast", "peer"]
Portion = Annotated[float, between(least=0, below=1)]
MAX_LOADERS = 200  # processes of one GPU; more are a slip
MAX_SEED = 2**32 - 1  # the largest that NumPy takes


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters on the LLM (peft)."""

    r: Annotated[int, between(least=-1, most=LARGEST)] = 8
    """rank; 0 leaves the LLM's layers frozen, below 0 they are trained in full (GSVA's rule)"""
    alpha: Count = 16
    dropout: Portion = 0.05
    targets: Annotated[Names, FILLED] = ("q_proj", "v_proj")
    """linear layers inside each decoder layer of the LLM, by their last name"""


@dataclass(frozen=True)
class Trainable:
    lora: Lora = Lora()
    full: Names = ("llm.embed_tokens", "llm.lm_head", "decoder.mask_decoder", "project")
    """canonical module paths trained in full; everything else is frozen"""
    frozen: Names = ("decoder.mask_decoder.iou_prediction_head",)
    """paths inside `full` that stay frozen: LISA never uses SAM's IoU estimate, so its head gets no gradient"""


SETS: Mapping[str, tuple[str, ...]] = {
    "sem_seg": ("ade20k", "cocostuff", "pascal_part", "paco_lvis", "mapillary"),
    "refer_seg": ("refclef", "refcoco", "refcoco+", "refcocog"),
    "vqa": ("llava_instruct_150k",),
    "reason_seg": ("ReasonSeg|train",),
}
"""LISA's data: family -> its data sets"""


@dataclass(frozen=True)
class Data:
    dataset_dir: Place = "./data"
    mixture: Annotated[Names, FILLED] = ("sem_seg", "refer_seg", "vqa", "reason_seg")
    """families to draw from"""
    rates: tuple[Weight, ...] = (9.0, 3.0, 3.0, 1.0)
    """weight of each family; how often a sample of it is taken in a pass, where `order` is not `drawn`"""
    order: Literal["drawn", "passes", "by_length"] = "drawn"
    """`drawn`: a family by its weight, then any of its samples; `passes`: every sample, in a new order each time; `by_length`:
    the same, and those of a step that share a micro-batch are about equally long"""
    sets: Mapping[str, Names] = field(default_factory=lambda: SETS)
    """family -> its data sets, each of which says itself to which families it belongs; only those in `mixture` are drawn from"""
    joins: Mapping[str, Portion] = field(default_factory=dict)
    """family -> share of the run that goes by before it is drawn from; 0 for those that are not here. A step about pictures is
    three times as fast as one about videos, and teaches sooner where a thing is"""
    targets_per_sample: Count = 3
    """at most this many classes or expressions of one image"""
    explanatory: Annotated[float, between(least=0, most=1, also=(-1,))] = 0.1
    """share of ReasonSeg samples with an explanation that ask for words only; -1 never uses explanations"""
    exclude_val: bool = False
    """leave images of RefCOCO/+/g val and test out of every training source"""
    pixels: Pixels = "fast"
    """`peer`: the originals' PIL filters, byte-equal; `fast`: OpenCV, within one grey level"""
    ignore: Literal["leave_out", "background"] = "leave_out"
    """ReasonSeg's ignore pixels: out of the loss, or background as in the original"""

    def families(self) -> dict[str, tuple[str, ...]]:
        """Family -> its data sets, for each of `mixture`.

        Raises ValueError for a family without data sets.
        """
        for family in self.mixture:
            if not self.sets.get(family):
                more = f"data.sets.{family}=NAME,NAME says which data sets are of it"
                raise ValueError(unknown("family in data.mixture (--dataset)", family, self.sets, more=more))
        return {family: self.sets[family] for family in self.mixture}

    def shares(self) -> dict[str, float]:
        """Family -> its weight. Raises ValueError if there are more or fewer weights than families, or no weight at all."""
        if len(self.mixture) != len(self.rates):
            raise ValueError(
                f"data.mixture (--dataset) names {len(self.mixture)} families, {', '.join(self.mixture)}; "
                f"data.rates (--sample_rates) gives {len(self.rates)} weights"
            )
        if not any(self.rates):
            raise ValueError("data.rates (--sample_rates): every weight is 0, so nothing is drawn")
        if not math.isfinite(sum(self.rates)):
            raise ValueError(
                f"data.rates (--sample_rates)={self.rates}: their sum is no number; smaller ones say the same"
            )
        if self.order != "drawn" and any(rate != int(rate) for rate in self.rates):
            raise ValueError(
                f"data.rates (--sample_rates)={self.rates}: with data.order={self.order} a rate is how often a sample is taken "
                "in a pass, a whole number"
            )
        if self.order != "drawn" and any(self.joins.values()):
            raise ValueError(
                f"data.joins={dict(self.joins)}: with data.order={self.order} every sample is taken in each pass; give "
                "data.order=drawn, or each of these families 0"
            )
        return dict(zip(self.mixture, self.rates, strict=True))


@dataclass(frozen=True)
class Optim:
    lr: Positive = 3e-4
    """peak learning rate of every trainable weight"""
    betas: tuple[Portion, Portion] = (0.9, 0.95)
    weight_decay: Weight = 0.0
    warmup_steps: CountOrNone = 100
    """optimizer steps of linear warm-up, then linear decay to zero"""
    clip: Weight = 1.0
    """largest gradient norm; 0 does not clip"""
    decoder_waits: Portion = 0.0
    """share of the run in which the mask decoder stays as it is. Until the LLM says where, the least loss that a decoder that may
    change finds is to draw all things whatever its prompt says, and from there on a prompt learns nothing"""


@dataclass(frozen=True)
class Schedule:
    epochs: Count = 10
    steps_per_epoch: Count = 500
    """optimizer steps"""
    batch_size: Count = 2
    """images in a micro-batch on one GPU"""
    grad_accumulation_steps: Count = 10
    world_size: Count = 8
    """GPUs the learning rate was chosen for; only used to warn when the effective batch is far smaller"""


@dataclass(frozen=True)
class Engine:
    zero: Literal[1, 2, 3] = 1
    precision: Precision = "bf16"
    attention: Attention = "auto"
    gradient_checkpointing: bool = True
    loss_norm: LossNorm = "global"
    share_prefix: bool = True
    row_tokens: CountOrNone = 0
    """several images share a row of at most so many tokens, which leaves less padding; 0 gives each image a row of its own"""
    workers: Annotated[int, between(least=0, most=MAX_LOADERS)] = 4
    seed: Annotated[int, between(least=0, most=MAX_SEED)] = 42
    load_in: Literal["full", "8bit", "4bit"] = "full"

    def check(self, world: World, *, to_train: bool) -> None:
        """Raises ValueError for what this machine cannot do, and ImportError for an attention that is not installed."""
        if self.precision == "fp16" and world.device.type == "cpu":
            raise ValueError("engine.precision (--precision)=fp16 needs a GPU; on a CPU use fp32 or bf16")
        if to_train and self.load_in != "full":
            raise ValueError(
                "--load_in_8bit and --load_in_4bit are for chat.py and --eval_only; training with less memory: --zero 3, "
                "engine.gradient_checkpointing=true, a smaller --batch_size with more --grad_accumulation_steps"
            )
        attention.check(self, world.device, to_train=to_train)
        if to_train and self.row_tokens and not self.share_prefix:
            raise ValueError(
                f"engine.row_tokens={self.row_tokens} puts several images into a row, and engine.share_prefix=false gives every "
                "dialogue a row of its own; set engine.row_tokens=0, or engine.share_prefix=true"
            )


@dataclass(frozen=True)
class Evaluate:
    dataset: Annotated[str, FILLED] = "ReasonSeg|val"
    protocol: Protocol = "generate"
    max_new_tokens: Count = 32
    batch_size: Count = 1
