"""A run is one frozen value: what is built, what it is fed, what is trained and how it is scored.

A recipe is made by a function in `model/systems`; a variant is `dataclasses.replace(parent(), ...)`. Every field can be set on
the command line by its dotted path (`optim.lr=1e-4`). No flag changes the meaning of another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from seglm.utils.did_you_mean import unknown
from seglm.utils.types import Clip, Frames, Script

Precision = Literal["fp32", "bf16", "fp16"]
Attention = Literal["auto", "sdpa", "flash_attention_2", "flex", "eager"]
LossNorm = Literal["global", "peer"]
Protocol = Literal["generate", "forced"]
Pixels = Literal["fast", "peer"]


@dataclass(frozen=True)
class Backbone:
    """The multimodal LLM."""

    weights: str
    """folder or hub id of the language model with its projector and tokenizer"""
    vision: str = "openai/clip-vit-large-patch14"
    """folder or hub id of the vision tower; not read where `weights` holds one"""
    template: str = "llava_v1"
    """chat template, a name in `model/backbones/templates.py`"""
    image_tokens: tuple[str, str] | None = ("<im_start>", "<im_end>")
    """tokens written around every image, or None"""
    max_length: int = 512
    """longest dialogue in training, in tokens after images are expanded; a longer one is cut or, if it loses a slot, an error"""
    revision: str | None = None
    """hub revision of `weights`"""


@dataclass(frozen=True)
class MaskDecoder:
    """The frozen image encoder with the trained mask decoder behind it."""

    weights: str = "sam_vit_h_4b8939.pth"
    """SAM's .pth, or a folder with config.json and model.safetensors"""
    kind: Literal["sam"] = "sam"
    image_size: int = 1024
    """side of the padded square that the encoder sees, pixels"""
    restart: bool = False
    """start from `weights` and a new projection even where the LLM's folder holds trained ones (KeySeg's released script)"""


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters on the LLM (peft)."""

    r: int = 8
    """rank; 0 leaves the LLM's layers frozen, below 0 they are trained in full (GSVA's rule)"""
    alpha: int = 16
    dropout: float = 0.05
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    """linear layers inside each decoder layer of the LLM, by their last name"""


@dataclass(frozen=True)
class Trainable:
    lora: Lora = Lora()
    full: tuple[str, ...] = ("llm.embed_tokens", "llm.lm_head", "decoder.mask_decoder", "project")
    """canonical module paths trained in full; everything else is frozen"""
    frozen: tuple[str, ...] = ("decoder.mask_decoder.iou_prediction_head",)
    """paths inside `full` that stay frozen: LISA never uses SAM's IoU estimate, so its head gets no gradient"""


@dataclass(frozen=True)
class Fusion:
    """What becomes of the slots' vectors between the projection and the mask decoder (model/fusion.py)."""

    kind: Literal["identity", "paper", "faithful"] = "identity"
    """`identity`: LISA; `paper`, `faithful`: KeySeg's fusion of `[SEG]` with its `[KEY]`, as drawn and as released"""
    hidden: int = 256
    """width of the attention of `[SEG]` over `[KEY]`"""
    rows: int = 12
    """`faithful`: rows to which the `[SEG]` vectors of an image are interpolated"""
    temperature: float = 0.07
    """of the keyword alignment loss"""


@dataclass(frozen=True)
class Term:
    """One loss term, by name in `model/terms.py`."""

    name: str
    weight: float


@dataclass(frozen=True)
class Data:
    dataset_dir: str = "./data"
    mixture: tuple[str, ...] = ("sem_seg", "refer_seg", "vqa", "reason_seg")
    """families to draw from"""
    rates: tuple[float, ...] = (9.0, 3.0, 3.0, 1.0)
    """weight of each family"""
    sem_seg: tuple[str, ...] = ("ade20k", "cocostuff", "pascal_part", "paco_lvis", "mapillary")
    refer_seg: tuple[str, ...] = ("refclef", "refcoco", "refcoco+", "refcocog")
    vqa: tuple[str, ...] = ("llava_instruct_150k",)
    reason_seg: tuple[str, ...] = ("ReasonSeg|train",)
    targets_per_sample: int = 3
    """at most this many classes or expressions of one image"""
    explanatory: float = 0.1
    """share of ReasonSeg samples with an explanation that ask for words only; -1 never uses explanations"""
    exclude_val: bool = False
    """leave images of RefCOCO/+/g val and test out of every training source"""
    pixels: Pixels = "fast"
    """`peer`: the originals' PIL filters, byte-equal; `fast`: OpenCV, within one grey level"""
    ignore: Literal["leave_out", "background"] = "leave_out"
    """ReasonSeg's ignore pixels: out of the loss, or background as in the original"""

    def families(self) -> dict[str, tuple[str, ...]]:
        """Family -> its data sets, for each of `mixture`. Raises ValueError for a family that does not exist."""
        known = {
            "sem_seg": self.sem_seg,
            "refer_seg": self.refer_seg,
            "vqa": self.vqa,
            "reason_seg": self.reason_seg,
        }
        for family in self.mixture:
            if family not in known:
                raise ValueError(unknown("family in data.mixture (--dataset)", family, known))
        return {family: known[family] for family in self.mixture}

    def shares(self) -> dict[str, float]:
        """Family -> its weight. Raises ValueError if there are more or fewer weights than families."""
        if len(self.mixture) != len(self.rates):
            raise ValueError(
                f"data.mixture (--dataset) names {len(self.mixture)} families, {', '.join(self.mixture)}; "
                f"data.rates (--sample_rates) gives {len(self.rates)} weights"
            )
        return dict(zip(self.mixture, self.rates, strict=True))


@dataclass(frozen=True)
class Optim:
    lr: float = 3e-4
    """peak learning rate of every trainable weight"""
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    warmup_steps: int = 100
    """optimizer steps of linear warm-up, then linear decay to zero"""
    clip: float = 1.0
    """largest gradient norm"""


@dataclass(frozen=True)
class Schedule:
    epochs: int = 10
    steps_per_epoch: int = 500
    """optimizer steps"""
    batch_size: int = 2
    """images in a micro-batch on one GPU"""
    grad_accumulation_steps: int = 10
    world_size: int = 8
    """GPUs the learning rate was chosen for; only used to warn when the effective batch is far smaller"""


@dataclass(frozen=True)
class Engine:
    zero: Literal[1, 2, 3] = 1
    precision: Precision = "bf16"
    attention: Attention = "auto"
    gradient_checkpointing: bool = True
    loss_norm: LossNorm = "global"
    share_prefix: bool = True
    rejected_masks: Literal["leave_out", "peer"] = "leave_out"
    """rejected slots in the mask losses: not there, or GSVA's constants (an all-zero logit against an empty mask)"""
    workers: int = 4
    seed: int = 42
    load_in: Literal["full", "8bit", "4bit"] = "full"


@dataclass(frozen=True)
class Evaluate:
    dataset: str = "ReasonSeg|val"
    protocol: Protocol = "generate"
    max_new_tokens: int = 32
    batch_size: int = 1


@dataclass(frozen=True)
class Recipe:
    name: str
    system: str
    """file in `model/systems` that this recipe belongs to"""
    backbone: Backbone
    decoder: MaskDecoder
    tokens: tuple[str, ...]
    """tokens added to the vocabulary; the first is the one that draws, the roles of others are named below"""
    frames: Callable[[int, np.random.Generator], Frames]
    """number of frames of a sample, rng -> which to use"""
    script: Callable[[Clip, np.random.Generator, Recipe], Script]
    """what is said about a clip in training"""
    prompt: Callable[[Clip, Recipe], Script]
    """what is asked in evaluation: one open dialogue for each target"""
    forced: Callable[[Clip, Recipe], Script] | None = None
    """the same with the answers filled in, for `evaluate.protocol=forced`; None gives every question one slot and a full stop"""
    reject_token: str = ""
    """answers that a target is not there, and draws nothing; empty for systems that always draw"""
    key_token: str = ""
    """stands behind a slot that draws and before the word for it (KeySeg); empty for systems without one"""
    parent: str = ""
    """name of the recipe this one was derived from; a run prints the difference"""
    read_at: int = -1
    """which state of a slot is read: 0 at the token, -1 the one that predicts it"""
    fusion: Fusion = Fusion()
    terms: tuple[Term, ...] = (Term("language", 1.0), Term("bce", 2.0), Term("dice", 0.5))
    trainable: Trainable = Trainable()
    data: Data = Data()
    optim: Optim = Optim()
    schedule: Schedule = Schedule()
    engine: Engine = Engine()
    evaluate: Evaluate = Evaluate()
    chat_prompt: str = "{text}"
    """how chat.py wraps what the user typed"""
    notes: tuple[str, ...] = field(default=())
    """deviations from the released code, printed with the recipe"""
