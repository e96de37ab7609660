"""DeSa2VA's two mask decoders on one SAM-2: one is prompted by what a text means, the other by how it looks, and their masks mix.

The image encoder, the prompt encoder and all of the memory are one SAM-2's; its own mask decoder is that of the text. Where a
slot has one vector, both decoders are prompted by it.
Letters: J jobs or objects, P prompt vectors of a job (1 or 2), C channels, K masks of a decoder, g grid side, h w = 4 g.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from seglm.model.decoders.base import Followed
from seglm.model.decoders.sam2 import Candidates, Prompts, Sam2, Sam2Decoder
from seglm.model.decoders.sam2_dims import Sam2Dims, TrackerDims
from seglm.model.decoders.sam2_memory import Memory, MemoryPolicy
from seglm.model.decoders.sam2_step import step

if TYPE_CHECKING:
    from seglm.model.recipe import Recipe
    from seglm.model.released.checkpoint import Checkpoint

Mixing = Literal["dynamic", "fixed", "text", "vision"]
DRAWN, TEXT, VISION = range(3)
"""the masks of a job, in the order in which `decode` has them"""
OWN, BRANCH = "decoder.mask_decoder.", "decoder.vision_branch."
ENCODING = ("conv_s0.", "conv_s1.")
"""of a mask decoder: these run where pictures are encoded, once for both"""
WITHOUT_GRADIENT = tuple(
    f"{BRANCH}mask_decoder.{part}" for part in ("iou_prediction_head", "pred_obj_score_head")
)
LARGEST = 32.0  # logits of a mask that is given back (sam2/sam2_image_predictor.py at 2b90b9f, `_predict`)
SHARES: Mapping[str, float] = {"fixed": 0.5, "text": 1.0, "vision": 0.0}


@dataclass(frozen=True)
class TwoBranches(Sam2):
    """A SAM-2 with a second mask decoder."""

    mixing: Mixing = "dynamic"
    """share of the text's mask in the one that is drawn: `dynamic` is learnt, sigmoid(w . [text; vision] + b), and begins with
    one half; `fixed` is one half; `text` and `vision` draw by one of the two alone"""
    reprompt: bool = True
    """at inference the vision's mask is given to the text's decoder as a mask that is to be improved"""

    def check(self, recipe: Recipe, /) -> None:
        super().check(recipe)
        full, frozen = recipe.trainable.full, recipe.trainable.frozen
        if self.training_memory is not None:
            raise ValueError(
                "decoder.training_memory: the masks of both branches are taught, and drawing with a memory gives the mixed one "
                "alone; set decoder.training_memory=none"
            )
        heads = [path for path in WITHOUT_GRADIENT if path not in frozen]
        if BRANCH[:-1] in full and BRANCH[:-1] not in frozen and heads:
            raise ValueError(
                f"trainable.frozen: {', '.join(heads)} would be trained without a gradient; add "
                f"trainable.frozen+={','.join(heads)}"
            )
        idle = {"text": (BRANCH[:-1], "project.vision"), "vision": (OWN[:-1], "project.text")}
        for path in idle.get(self.mixing, ()):
            above = [one for one in full if path == one or path.startswith(f"{one}.")]
            if above and path not in frozen and (path.startswith("decoder.") or _decouples(recipe)):
                raise ValueError(
                    f"decoder.mixing={self.mixing}: {path} would be trained without a gradient; add "
                    f"trainable.frozen+={path}"
                )

    def begin(self, checkpoint: Checkpoint) -> Checkpoint:
        """A base with SAM-2's own mask decoder in both branches, or a DeSa2VA with the share that this recipe has."""
        whole = super().begin(checkpoint)
        tensors = dict(whole.tensors)
        if not whole.has(f"{BRANCH}mask_decoder."):
            own = {name.removeprefix(OWN): value for name, value in tensors.items() if name.startswith(OWN)}
            tensors |= {
                f"{BRANCH}mask_decoder.{name}": value.clone()
                for name, value in own.items()
                if not name.startswith(ENCODING)
            }
        width = Sam2Dims.of(whole.decoder or {}).prompt_dim
        share = {f"{BRANCH}share.weight": torch.zeros(1, 2 * width), f"{BRANCH}share.bias": torch.zeros(1)}
        if self.mixing == "dynamic":
            tensors = share | tensors
        else:
            tensors = {name: value for name, value in tensors.items() if name not in share}
        return replace(whole, tensors=tensors)

    def build(self, sizes: Mapping[str, Any]) -> TwoBranchDecoder:
        return TwoBranchDecoder(self._sized(sizes), self)


def _decouples(recipe: Recipe) -> bool:
    from seglm.model.decouple import Decoupled

    return isinstance(recipe.project, Decoupled)


@dataclass(frozen=True, eq=False)
class Pair(Prompts):
    """What is said of J objects to both decoders; `sparse` is for the text's."""

    looks: Tensor | None = None
    """float [J, P, C], for the vision's"""
    share: Tensor | None = None
    """float32 [J, 1], of the text's mask"""
    is_said: bool = True
    """False where objects are found by what is remembered of them"""


@dataclass(frozen=True, eq=False)
class SharedMemory(Memory):
    """The memory of a walk, with the share that each object had where something was said of it."""

    share: Tensor | None = None
    """float32 [B, 1]"""

    def of(self, objects: Sequence[int]) -> SharedMemory:
        some = super().of(objects)
        assert isinstance(some, SharedMemory)
        return replace(some, share=None if self.share is None else self.share[list(objects)])


class VisionBranch(nn.Module):
    """The second mask decoder, and the share of the first where that is learnt."""

    def __init__(self, mask_decoder: nn.Module, width: int, *, learns_share: bool) -> None:
        super().__init__()
        self.mask_decoder = deepcopy(mask_decoder)
        for name in ENCODING:
            delattr(self.mask_decoder, name[:-1])
        self.share = nn.Linear(2 * width, 1) if learns_share else None
        if self.share is not None:
            for parameter in self.share.parameters():
                nn.init.zeros_(parameter)


class TwoBranchDecoder(Sam2Decoder):
    """See `TwoBranches`."""

    def __init__(self, dims: TrackerDims, choice: TwoBranches) -> None:
        super().__init__(
            dims,
            not_points=choice.not_points,
            best_of_several=choice.best_of_several,
            keeps_original=choice.keeps_original,
        )
        self.mixing, self.reprompt = choice.mixing, choice.reprompt
        learns_share = choice.mixing == "dynamic"
        self.vision_branch = VisionBranch(self.mask_decoder, dims.prompt_dim, learns_share=learns_share)

    def decode(self, features: Tensor, prompts_JPC: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder`: of each job the mixed mask, the text's and the vision's, in the order DRAWN, TEXT, VISION."""
        with torch.autocast(features.device.type, enabled=False):
            fine, middle, coarse = self.levels(features.float())
            said = self._prompts(prompts_JPC)
            each = self._drawn_by_each((fine, middle), self.without_memory(coarse), said)
        jobs, which = self.chosen(each[DRAWN])
        logits, iou = (
            [part[jobs, which] for part in parts] for parts in zip(*map(_masks, each), strict=True)
        )
        return torch.stack(logits, dim=1), torch.stack(iou, dim=1)

    # ---- videos ------------------------------------------------------------------------------------------------------
    def remembering(
        self, policy: MemoryPolicy, *, backwards: bool = False, num_frames: int | None = None
    ) -> SharedMemory:
        return SharedMemory(policy, num_frames, backwards)

    def follow(
        self, features: Tensor, prompts_JPC: Tensor | None, memory: Memory, *, frame: int
    ) -> tuple[Followed, Memory]:
        """See `Remembers`; an object of which nothing is said is drawn by both decoders, with the share that it had."""
        assert isinstance(memory, SharedMemory), "`remembering` made it"
        if memory.policy.by_mask or (prompts_JPC is None and memory.share is None):
            return super().follow(features, prompts_JPC, memory, frame=frame)
        conditioning = None
        if prompts_JPC is not None:
            said = self._prompts(prompts_JPC)
        else:
            assert memory.share is not None
            nothing = self.no_points(len(memory.share))
            said = Pair(nothing, looks=nothing, share=memory.share, is_said=False)
            conditioning = False
        drawn, walked = step(self, features, memory, frame=frame, prompts=said, conditioning=conditioning)
        assert isinstance(walked, SharedMemory), "what is written keeps its kind"
        return drawn.followed(memory.policy), replace(walked, share=said.share)

    # ---- masks -------------------------------------------------------------------------------------------------------
    def candidates(
        self, fine: tuple[Tensor, Tensor], conditioned: Tensor, prompts: Prompts, *, by: Any = None
    ) -> Candidates:
        """See `Sam2Decoder`; of a pair the mixed masks."""
        if isinstance(prompts, Pair):
            return self._drawn_by_each(fine, conditioned, prompts)[DRAWN]
        return super().candidates(fine, conditioned, prompts, by=by)

    def _prompts(self, vectors_JPC: Tensor) -> Pair:
        text, looks = vectors_JPC[:, :1].float(), vectors_JPC[:, -1:].float()
        learnt = self.vision_branch.share
        if learnt is not None:
            share = learnt(torch.cat([text, looks], dim=2))[:, 0].sigmoid()
        else:
            share = text.new_full((len(text), 1), SHARES[self.mixing])
        own = super()._prompts
        return Pair(own(text).sparse, looks=own(looks).sparse, share=share)

    def _drawn_by_each(
        self, fine: tuple[Tensor, Tensor], conditioned: Tensor, said: Pair
    ) -> tuple[Candidates, Candidates, Candidates]:
        """The mixed masks, the text's and the vision's; a decoder that has no part in the mixed ones does not run."""
        draw = super().candidates
        assert said.looks is not None and said.share is not None, "`_prompts` and `follow` give both"
        looks = Prompts(said.looks)
        if self.mixing == "text":
            text = draw(fine, conditioned, Prompts(said.sparse))
            return text, text, text
        vision = draw(fine, conditioned, looks, by=self.vision_branch.mask_decoder)
        if self.mixing == "vision":
            return vision, vision, vision
        dense = self._given_back(vision) if self.reprompt and said.is_said and not self.training else None
        text = draw(fine, conditioned, Prompts(said.sparse, dense))
        return _mixed(text, vision, said.share), text, vision

    def _given_back(self, vision: Candidates) -> Tensor:
        """The vision's mask as the prompt that asks to improve it, float [J, C, g, g]."""
        jobs, which = self.chosen(vision)
        return self.dense(vision.logits[jobs, which][:, None].clamp(-LARGEST, LARGEST))


def _masks(found: Candidates) -> tuple[Tensor, Tensor]:
    return found.logits, found.iou


def _mixed(text: Candidates, vision: Candidates, share_J1: Tensor) -> Candidates:
    """share * text + (1 - share) * vision, mask by mask; also what else the decoders say of them."""

    def mix(one: Tensor, other: Tensor) -> Tensor:
        share = share_J1.view(-1, *(1,) * (one.dim() - 1))
        return share * one + (1 - share) * other

    return Candidates(
        logits=mix(text.logits, vision.logits),
        iou=mix(text.iou, vision.iou),
        tokens=mix(text.tokens, vision.tokens),
        score=mix(text.score, vision.score),
    )
