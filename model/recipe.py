"""A run is one frozen value: what is built, what it is fed, what is trained and how it is scored.

A recipe is made by a function in `model/systems`; a variant is `dataclasses.replace(parent(), ...)`. Every field can be set on
the command line by its dotted path (`optim.lr=1e-4`). No flag changes the meaning of another.
What a system may choose is a class with only its own fields, and builds itself: `backbone`, `decoder`, `project`, `fusion`, each
of `terms`. Such a class may stand in the system's own file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np

from seglm.model.backbones.base import BackboneChoice
from seglm.model.decoders.base import DecoderChoice
from seglm.model.fusion import Fusion, Identity
from seglm.model.phrases import PHRASE
from seglm.model.project import Project, TwoLayers
from seglm.model.settings import Data, Engine, Evaluate, Optim, Schedule, Trainable
from seglm.model.terms import Bce, Dice, Language, Term
from seglm.model.walk import each_frame, one_picture, typed_once
from seglm.utils.cli import with_flag
from seglm.utils.dist import World
from seglm.utils.ranges import FILLED, Rule, verify
from seglm.utils.types import Clip, Dialogue, Frames, Look, Piece, Script, Window

Role = Literal["draws", "rejects", "names", "scores", "marks"]
WITH_TEXT = Rule(
    "texts with one {text} and no other braces",
    lambda text: text.count("{text}") == 1 and not {"{", "}"} & set(text.replace("{text}", "")),
)


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
    trainable: Trainable = field(default_factory=Trainable)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)
    schedule: Schedule = field(default_factory=Schedule)
    engine: Engine = field(default_factory=Engine)
    evaluate: Evaluate = field(default_factory=Evaluate)
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
