"""A run is one frozen value: what is built, what it is fed, what is trained and how it is scored.

A recipe is made by a function in `model/systems`; a variant is `dataclasses.replace(parent(), ...)`. Every field can be set on
the command line by its dotted path (`optim.lr=1e-4`). No flag changes the meaning of another.
What a system may choose is a class with only its own fields, and builds itself: `backbone`, `decoder`, `project`, `fusion`, each
of `terms`. Such a class may stand in the system's own file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np

from seglm.model import attention
from seglm.model.backbones.base import BackboneChoice
from seglm.model.decoders.base import DecoderChoice
from seglm.model.fusion import Fusion, Identity
from seglm.model.phrases import PHRASE
from seglm.model.precision import Precision
from seglm.model.project import Project, TwoLayers
from seglm.model.terms import Bce, Dice, Language, Term
from seglm.model.walk import each_frame, one_picture, typed_once
from seglm.utils.cli import with_flag
from seglm.utils.did_you_mean import unknown
from seglm.utils.dist import World
from seglm.utils.ranges import (
    FILLED,
    LARGEST,
    Count,
    CountOrNone,
    Names,
    Place,
    Positive,
    Rule,
    Weight,
    between,
    verify,
)
from seglm.utils.types import Clip, Dialogue, Frames, Look, Piece, Script, Window

Attention = Literal["auto", "sdpa", "prefix", "flash_attention_2", "flex", "eager"]
LossNorm = Literal["global", "peer"]
Protocol = Literal["generate", "forced"]
Pixels = Literal["fast", "peer"]
Role = Literal["draws", "rejects", "names", "scores", "marks"]
Portion = Annotated[float, between(least=0, below=1)]
MAX_LOADERS = 200  # processes of one GPU; more are a slip
WITH_TEXT = Rule(
    "texts with one {text} and no other braces",
    lambda text: text.count("{text}") == 1 and not {"{", "}"} & set(text.replace("{text}", "")),
)
MAX_SEED = 2**32 - 1  # the largest that NumPy takes


@dataclass(frozen=True)
class Token:
    """A token that a system adds to the vocabulary, and reads as a slot if it does not merely mark."""

    name: Annotated[str, FILLED]
    """as it is written, `[SEG]`"""
    role: Role
    """`draws` a mask; `rejects`: says that its target is not there, and draws nothing; `names`: stands behind one that draws and
    before the word for it; `scores`: a number is read there, how well its target can be drawn in a frame; `marks`: is a word like
    any other and no slot, such as those around a phrase"""


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
                raise ValueError(unknown("family in data.mixture (--dataset)", family, self.sets))
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


@dataclass(frozen=True)
class Recipe:
    name: Annotated[str, FILLED]
    system: Annotated[str, FILLED]
    """file in `model/systems` that this recipe belongs to"""
    backbone: BackboneChoice
    """the multimodal LLM"""
    decoder: DecoderChoice
    """the frozen image encoder with the trained mask decoder behind it"""
    tokens: Annotated[tuple[Token, ...], FILLED]
    """the slots' tokens, added to the vocabulary; the first is the one that draws"""
    frames: Callable[[int, np.random.Generator], Frames]
    """number of frames of a sample, rng -> which to use in training"""
    script: Callable[[Clip, np.random.Generator, Recipe], Script]
    """what is said about a clip in training"""
    prompt: Callable[[Clip, Recipe], Script]
    """what is asked in evaluation: one open dialogue for each target"""
    forced: Callable[[Clip, Recipe], Script] | None = None
    """the same with the answers filled in, for `evaluate.protocol=forced`; None gives every question one slot and a full stop"""
    walk: Callable[[int], Iterator[Window]] = each_frame
    """number of frames of a sample -> how it is gone through in evaluation and chat; a picture is a video of one frame"""
    outwards: Callable[[int, int], Iterator[Window]] | None = None
    """number of frames, key frame -> the same from that frame on, in both directions; None: it does not matter where this system
    begins, or it cannot begin elsewhere"""
    shows: Callable[[int], tuple[Piece, ...]] = one_picture
    """how many frames a window shows -> what a typed question begins with"""
    typed: Callable[[Clip, str, Sequence[tuple[str, str]], Recipe], Dialogue] = typed_once
    """what somebody typed, and the questions and answers before it -> what is asked about a window"""
    points: Callable[[Clip], tuple[Piece, ...]] | None = None
    """how a typed question points at the regions of a clip, behind what `shows` gives; None for a system that cannot"""
    parent: str = ""
    """name of the recipe this one was derived from; a run prints the difference"""
    read_at: Literal[-1, 0, "phrase"] = -1
    """which state of a slot is read: 0 at the token, -1 the one that predicts it; `phrase`: the mean of the embeddings between
    the `<p>` and `</p>` before it, for which no LLM runs"""
    after: str = ""
    """name of a recipe of the same system whose trained weights this one may begin with (--init_from); what that one did not
    train begins as in the base"""
    project: Project = field(default_factory=TwoLayers)
    """what makes a slot's vector, or several of them, of its state"""
    fusion: Fusion = field(default_factory=Identity)
    """what becomes of the slots' vectors between the projection and the mask decoder"""
    terms: tuple[Term, ...] = (Language(1.0), Bce(2.0), Dice(0.5))
    trainable: Trainable = Trainable()
    data: Data = Data()
    optim: Optim = Optim()
    schedule: Schedule = Schedule()
    engine: Engine = Engine()
    evaluate: Evaluate = Evaluate()
    chat_prompt: Annotated[str, WITH_TEXT] = "{text}"
    """how chat.py wraps what the user typed"""
    notes: tuple[str, ...] = field(default=())
    """deviations from the released code, printed with the recipe"""

    def check(self, world: World, *, to_train: bool = True) -> None:
        """What the values mean together and on this machine; asked before anything is loaded.

        to_train: False for a model that is only to be used.
        Raises ValueError, and ImportError for an attention that is not installed.
        """
        if len({token.name for token in self.tokens}) < len(self.tokens) or not self.seg_token:
            raise ValueError(
                f"recipe {self.name}: tokens are {self.vocabulary}; each once, and one that draws"
            )
        if len({term.name for term in self.terms}) < len(self.terms):
            raise ValueError(
                f"terms: {', '.join(term.name for term in self.terms)}; a name may be there once"
            )
        self.engine.check(world, to_train=to_train)
        for part in (self.backbone, self.decoder, self.project, self.fusion, *self.terms):
            part.check(self)
        if self.read_at == "phrase":
            self._check_phrases()
        if to_train:
            self.data.families()
            self.data.shares()
            self._check_trains()

    def _check_phrases(self) -> None:
        """Raises ValueError if phrases are to be read that are not marked, or that a language model would have to write."""
        if unmarked := set(PHRASE) - set(self.vocabulary):
            raise ValueError(
                f"read_at=phrase: recipe {self.name} has no token {' and no '.join(sorted(unmarked))}; it has "
                f"{', '.join(self.vocabulary)}"
            )
        if self.evaluate.protocol != "forced":
            raise ValueError(
                f"read_at=phrase: no language model runs, so evaluate.protocol={self.evaluate.protocol} has no answer; permitted "
                "is forced"
            )

    def _check_trains(self) -> None:
        """Raises ValueError if nothing would be learnt."""
        if not any(term.weight for term in self.terms):
            raise ValueError(
                f"terms: no term of recipe {self.name} has a weight above 0, so nothing is learnt"
            )
        if not self.trainable.full and not self.trainable.lora.r:
            raise ValueError("trainable: nothing is trained with trainable.full empty and --lora_r 0")
        for seen_by in ("decoder.image_encoder", *(() if self.backbone.trains_tower else ("vision",))):
            nested = [
                path
                for path in self.trainable.full
                if f"{seen_by}.".startswith(f"{path}.") or path.startswith(f"{seen_by}.")
            ]
            if nested and seen_by not in self.trainable.frozen:
                raise ValueError(
                    f"trainable.full: of {nested[0]} something would be trained without a gradient, as pictures are "
                    f"encoded without one; take it out, or add trainable.frozen+={seen_by}"
                )
        decoder_alone = all(path.startswith("decoder.") for path in self.trainable.full)
        if self.optim.decoder_waits and decoder_alone and not self.trainable.lora.r:
            raise ValueError(
                f"optim.decoder_waits={self.optim.decoder_waits:g}: nothing but the mask decoder is trained, so it cannot wait; "
                "set optim.decoder_waits=0"
            )

    def __post_init__(self) -> None:
        """Every value in its range, whether a command, code or a manifest gave it. Raises ValueError."""
        verify(self, said=with_flag)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The added tokens, in the order of their ids."""
        return tuple(token.name for token in self.tokens)

    @property
    def slot_tokens(self) -> tuple[str, ...]:
        """Those of them that are read as slots."""
        return tuple(token.name for token in self.tokens if token.role != "marks")

    @property
    def look(self) -> Look:
        """How pictures come into the squares of the vision tower."""
        return self.backbone.look

    @property
    def seg_token(self) -> str:
        """The token that draws."""
        return self._token("draws")

    @property
    def reject_token(self) -> str:
        """The token that says that a target is not there; empty for a system that always draws."""
        return self._token("rejects")

    @property
    def key_token(self) -> str:
        """The token that a word for the target follows; empty for a system without one."""
        return self._token("names")

    @property
    def says_slots_alone(self) -> bool:
        """In language it is taught its slots only, and so never learns where an answer ends."""
        return any(isinstance(term, Language) and term.slots_only for term in self.terms)

    @property
    def score_token(self) -> str:
        """The token at which a number is read; empty for a system that scores nothing."""
        return self._token("scores")

    def check_draws(self) -> None:
        """Raises ValueError for a recipe whose answers are numbers, where masks are asked for."""
        if self.score_token:
            raise ValueError(
                f"recipe {self.name} scores frames by {self.score_token} and draws no mask; it is asked by python -m "
                "seglm.evaluation.keyframes (and trained with --no_eval)"
            )

    def _token(self, role: Role) -> str:
        return next((token.name for token in self.tokens if token.role == role), "")
