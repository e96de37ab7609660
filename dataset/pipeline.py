"""From a data set to what a model is fed: sample -> clip -> script -> example."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.faults import blamed
from seglm.dataset.mixture import LOOK, Order, rng_of
from seglm.dataset.pixels import Mode, decoder_pixels, vision_cells, vision_pixels, vision_tiles
from seglm.dataset.subjects import subjects
from seglm.utils.tiles import first_rows, grid_of, grids, shapes, views
from seglm.utils.types import (
    PLAIN,
    Branch,
    Clip,
    Example,
    Frames,
    Look,
    Pictures,
    Region,
    Sample,
    Script,
    Target,
)

ATTEMPTS = 1000  # draws in a row that hold nothing to ask for before it is an error: the data cannot be right


class Source(Protocol):
    """One data set and split. Samples are cheap; what is heavy is decoded when it is asked for."""

    @property
    def name(self) -> str:
        """data set and split, `refcoco|unc|train`; every sample's key begins with it"""
        ...

    @property
    def family(self) -> str:
        """under which it is drawn: sem_seg, refer_seg, vqa, reason_seg"""
        ...

    def __len__(self) -> int: ...

    def keys(self) -> Iterator[str]:
        """The key of every sample, in order."""
        ...

    def sample(self, index: int) -> Sample:
        """The sample of that index. Raises Fault with its key if a file is missing or malformed."""
        ...

    def length(self, index: int) -> int:
        """See `mixture.Measured`."""
        ...


FramesFn = Callable[[int, np.random.Generator], Frames]
ScriptFn = Callable[[Clip, np.random.Generator], Script]


class EncodeFn(Protocol):
    def __call__(self, script: Script, *, key: str, size: tuple[int, int]) -> tuple[Branch, ...]: ...


def each_text(target: Target) -> tuple[Target, ...]:
    """One target for each text, with the text's own kind and key (`<key>.<number>` where it has none); the masks stay shared."""
    keys = target.keys or _numbered(target)
    kinds = target.kinds or (target.kind,) * len(target.texts)
    return tuple(
        replace(target, texts=(text,), kinds=(), keys=(), kind=kind, key=key)
        for text, kind, key in zip(target.texts, kinds, keys, strict=True)
    )


def asks(sample: Sample) -> bool:
    """Whether anything can be said or asked about it."""
    return bool(sample.targets or sample.turns or any(region.captions for region in sample.regions))


def choose(sample: Sample, limit: int, rng: np.random.Generator) -> Sample:
    """The sample with at most `limit` of what can be asked for, drawn without replacement.

    Where texts are expressions of their own (sentences about a thing), they are drawn for themselves, as in LISA. What a caption
    speaks of stays together: an answer whose phrases are partly masked would teach to leave masks out.
    """
    if sample.caption is not None:
        return sample
    pool = [
        one for target in sample.targets for one in (each_text(target) if target.asked_apart else (target,))
    ]
    if len(pool) > limit:
        pool = [pool[number] for number in rng.permutation(len(pool))[:limit].tolist()]
    return replace(sample, targets=tuple(pool))


def clip(sample: Sample, *, frames: Frames, targets: Sequence[int] | None = None) -> Clip:
    """Decodes the chosen frame, and the masks of the chosen targets (all of them by default); of several frames each is decoded
    when it is taken from the clip. A choice of targets leaves the caption out, which speaks of all of them.

    Raises Fault if a file is missing or malformed, or a mask of another size than the frames.
    """
    chosen = [
        sample.targets[number] for number in (range(len(sample.targets)) if targets is None else targets)
    ]
    pictures = _pictures(sample, dict.fromkeys((*frames.seen, *frames.drawn)))
    masks: dict[int, NDArray[np.bool_]] = {}  # texts about one thing share its mask: decoded once
    for target in chosen:
        if id(target.masks) not in masks:
            masks[id(target.masks)] = truth(sample, target, frames.drawn)
    return Clip(
        key=sample.key,
        size=sample.size,
        seen=pictures(frames.seen),
        drawn=pictures(frames.drawn),
        targets=tuple(chosen),
        masks=tuple(masks[id(target.masks)] for target in chosen),
        ignore=ignored(sample, frames.drawn),
        turns=sample.turns,
        caption=sample.caption if targets is None else None,
        regions=sample.regions,
        pointed=tuple(pointed(sample, region, frames.seen) for region in sample.regions),
        drawn_at=tuple(frames.seen.index(number) if number in frames.seen else -1 for number in frames.drawn),
        frames=frames.drawn,
    )


def shown(sample: Sample, seen: Sequence[int]) -> Clip:
    """What an LLM gets to see of a sample, with everything that is asked about it and no truth. Raises Fault."""
    return Clip(
        key=sample.key,
        size=sample.size,
        seen=_pictures(sample, seen)(seen),
        drawn=(),
        targets=sample.targets,
        regions=sample.regions,
        pointed=tuple(pointed(sample, region, seen) for region in sample.regions),
    )


def _pictures(sample: Sample, numbers: Iterable[int]) -> Callable[[Sequence[int]], Pictures]:
    """What makes the pictures of some of these frames."""
    if len(held := tuple(numbers)) > 1:
        return partial(_Later, sample)
    decoded = {number: picture(sample, number) for number in held}
    return lambda wanted: tuple(decoded[number] for number in wanted)


@dataclass(frozen=True)
class _Later:
    """Frames of a video, so that a clip never lies in memory as a whole: that is slow, and much."""

    sample: Sample
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> NDArray[np.uint8]:
        return picture(self.sample, self.numbers[place])


def picture(sample: Sample, number: int) -> NDArray[np.uint8]:
    """A frame of the sample, uint8 [H, W, 3], RGB. Raises Fault."""
    with blamed(sample.key, sample.path, f"frame {number} cannot be decoded"):
        return sample.frame(number)


def truth(sample: Sample, target: Target, frames: Sequence[int]) -> NDArray[np.bool_]:
    """The target's masks in these frames, bool [T, H, W]. Raises Fault, also for masks of another size."""
    with blamed(sample.key, sample.path, "its masks cannot be decoded"):
        masks = target.masks(frames)
        _check_size("masks", masks, sample, frames)
    return masks


def pointed(sample: Sample, region: Region, frames: Sequence[int]) -> NDArray[np.bool_]:
    """Where a region is in these frames, bool [T, H, W]. Raises Fault, also for masks of another size."""
    with blamed(sample.key, sample.path, "its regions cannot be decoded"):
        masks = region.masks(frames)
        _check_size("a region", masks, sample, frames)
    return masks


def ignored(sample: Sample, frames: Sequence[int]) -> NDArray[np.bool_] | None:
    """Where neither loss nor metric may look in these frames, bool [T, H, W]; None where everything counts. Raises Fault."""
    if sample.ignore is None:
        return None
    with blamed(sample.key, sample.path, "its ignored pixels cannot be decoded"):
        masks = sample.ignore(frames)
        _check_size("ignored pixels", masks, sample, frames)
    return masks


def _check_size(what: str, masks: NDArray[np.bool_], sample: Sample, frames: Sequence[int]) -> None:
    if masks.shape != (expected := (len(frames), *sample.size)):
        raise ValueError(f"{what} of shape {masks.shape}, expected is {expected} (frames, H, W)")


def example(
    clip: Clip,
    branches: tuple[Branch, ...],
    script: Script,
    *,
    vision_size: int,
    decoder_size: int,
    pixels: Mode,
    stretched: bool = False,
    look: Look = PLAIN,
) -> Example:
    """The clip in the sizes that the encoders see, with its encoded script; stretched: see `decoder_pixels`."""
    counts = views(script, len(clip.seen), clip.size, look=look, side=vision_size)
    cells = shapes(script, len(clip.seen), clip.size, look=look, side=vision_size)
    rows = first_rows(counts)
    vision = np.empty((sum(counts), 3, vision_size, vision_size), dtype=np.uint8)
    drawn: dict[int, tuple[NDArray[np.uint8], tuple[int, int]]] = {}

    def draw(number: int, frame: NDArray[np.uint8]) -> None:
        drawn[number] = decoder_pixels(frame, decoder_size, mode=pixels, stretched=stretched)

    for place in range(len(clip.seen)):
        frame = clip.seen[place]
        if look.fit == "cells":
            vision[rows[place] : rows[place] + counts[place]] = vision_cells(
                frame, vision_size, cells[place], mode=pixels
            )
        elif counts[place] == 1:
            vision[rows[place]] = vision_pixels(frame, vision_size, mode=pixels, fit=look.fit)
        else:
            grid = grid_of(clip.size, most=look.tiles, side=vision_size)
            vision[rows[place] : rows[place] + counts[place]] = vision_tiles(
                frame, vision_size, grid, mode=pixels
            )
        for number in (number for number, at in enumerate(clip.drawn_at) if at == place):
            draw(number, frame)
    for number in range(len(clip.drawn)):
        if number not in drawn:
            draw(number, clip.drawn[number])
    masks = np.empty((len(clip.targets), len(clip.drawn), *clip.size), dtype=np.bool_)
    for number, mask in enumerate(clip.masks):
        masks[number] = mask
    return Example(
        key=clip.key,
        branches=branches,
        vision=vision,
        drawn=_stack([drawn[number][0] for number in sorted(drawn)])
        if drawn
        else np.zeros((0, 3, 1, 1), np.uint8),
        resized=drawn[0][1] if drawn else (1, 1),
        size=clip.size,
        masks=masks,
        ignore=clip.ignore,
        asked=tuple(dialogue.targets for dialogue in script),
        kinds=tuple(target.kind for target in clip.targets),
        frames=clip.frames,
        subjects=subjects(clip.targets),
        grids=grids(script, cells),
    )


@dataclass(frozen=True)
class TrainingSet:
    """Examples by global sample number: each is a pure function of (seed, number), whoever asks for it and when.

    Its functions are module-level ones or partials of them, so that it can be sent to a worker process.
    """

    mixture: Order
    sources: Sequence[Source]
    frames: FramesFn
    script: ScriptFn
    encode: EncodeFn
    targets_per_sample: int
    vision_size: int
    decoder_size: int
    pixels: Mode
    leave_out_ignored: bool = True
    """False makes ignored pixels background, as in the original"""
    stretched: bool = False
    """a picture fills the mask decoder's square"""
    look: Look = PLAIN

    def __getitem__(self, number: int) -> Example:
        """Raises Fault if the sample's files are missing or malformed; another sample never takes its place."""
        sample = self.sample(number)
        rng = rng_of(self.mixture.seed, number, LOOK)
        chosen = choose(sample, self.targets_per_sample, rng)
        is_shown = sample.num_frames > 0  # a conversation may be about nothing that is seen
        shown = clip(chosen, frames=self.frames(sample.num_frames, rng) if is_shown else Frames((), ()))
        if not self.leave_out_ignored:
            shown = replace(shown, ignore=None)
        script = self.script(shown, rng)
        branches = self.encode(script, key=sample.key, size=sample.size)
        return example(
            shown,
            branches,
            script,
            vision_size=self.vision_size,
            decoder_size=self.decoder_size,
            pixels=self.pixels,
            stretched=self.stretched,
            look=self.look,
        )

    def sample(self, number: int) -> Sample:
        """What a global sample number draws.

        An image in which nothing can be asked for (all of it unlabelled) is no error and no sample: the next draw of the same
        number takes its place, as in LISA, which draws from the images that have a class.
        """
        for attempt in range(ATTEMPTS):
            source, index = self.mixture.draw(number, attempt)
            sample = self.sources[source].sample(index)
            if asks(sample):
                return sample
        raise RuntimeError(
            f"sample {number}: {ATTEMPTS} draws in a row hold nothing to ask for; the last was {sample.key}"
        )


def _stack(frames: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """uint8 [N, ...]; a single frame is not copied."""
    return frames[0][None] if len(frames) == 1 else np.stack(frames)


def _numbered(target: Target) -> tuple[str, ...]:
    if len(target.texts) == 1:
        return (target.key,)
    return tuple(
        f"{target.key}.{number}" if target.key else str(number) for number in range(len(target.texts))
    )
