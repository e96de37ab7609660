"""Who carries masks, as a flag names it."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from seglm.evaluation.keyframes.file import read_key_frames
from seglm.evaluation.propagate.anchors import Anchors
from seglm.evaluation.propagate.answers import Propagation
from seglm.model.propagate import ByProgram, Propagator, check_program
from seglm.utils.ranges import place
from seglm.utils.resolve import resolve

if TYPE_CHECKING:
    from seglm.model.decoders.sam2 import Sam2, Sam2Decoder

SAM2, SAM3, PROGRAM = "sam2", "sam3", "program"
FORMS = f'"{SAM2}", "{SAM3}", "{SAM2} WEIGHTS", "{SAM3} WEIGHTS" or "{PROGRAM} COMMAND"'
DEFAULT: Anchors = "uniform"
KEYFRAME: Anchors = "keyframe"
HELP = (
    f"{FORMS}: SAM-2, or the tracker of SAM-3, with weights that no training has touched (default: those of SAM-2.1 large, "
    "facebook/sam3), or a program of yours"
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """`--propagate`, `--anchors` and `--keyframes`."""
    parser.add_argument(
        "--propagate",
        metavar="HOW",
        help=f"videos: the model draws a few frames, and their masks are carried through the others by {HELP}",
    )
    parser.add_argument(
        "--anchors",
        choices=get_args(Anchors),
        help=f"with --propagate: the frames that the model draws (default {DEFAULT}); see docs/video_data.md",
    )
    parser.add_argument(
        "--keyframes",
        type=place,
        metavar="FILE",
        help="videos: key frames that `seglm.evaluation.keyframes` has chosen, from which GLUS draws in both directions, or with "
        "--propagate and --anchors keyframe SAM-2 carries the model's mask",
    )


def check_flags(given: argparse.Namespace) -> None:
    """Raises ValueError or FileNotFoundError for flags that name nobody, before anything is loaded."""
    if given.keyframes is not None:
        read_key_frames(given.keyframes)
        if given.propagate and given.anchors != KEYFRAME:
            raise ValueError(
                f"--keyframes with --propagate: a mask is carried from the key frame alone; give --anchors {KEYFRAME}, not "
                f"{given.anchors or DEFAULT}"
            )
    if given.propagate is None:
        if given.anchors:
            raise ValueError(
                f"--anchors {given.anchors}: without --propagate the model draws every frame; give both"
            )
        return
    check_propagator(given.propagate)


def check_propagator(text: str) -> None:
    """The same for the value of `--propagate` alone."""
    _parts(text)


def named(given: argparse.Namespace) -> str:
    """What the flags add to the name of a folder: `_sam2-uniform`, `_keyframes`, or nothing."""
    frames = "keyframes" if given.keyframes else given.anchors or DEFAULT
    if given.propagate:
        return f"_{_parts(given.propagate)[0]}-{frames}"
    return f"_{frames}" if given.keyframes else ""


def propagation(given: argparse.Namespace, device: str) -> Propagation | None:
    """What the flags name, loaded; None without --propagate."""
    if given.propagate is None:
        return None
    return Propagation(propagator(given.propagate, device), given.anchors or DEFAULT)


def propagator(named: str, device: str) -> Propagator:
    """The propagator of a flag. Raises as `check_flags` and for weights that are no SAM-2's."""
    kind, rest = _parts(named)
    if kind == PROGRAM:
        return ByProgram(rest)
    from seglm.model.decoders.sam2_memory import PREDICTING
    from seglm.model.decoders.sam2_propagate import BySam2
    from seglm.model.decoders.sam3_tracker import SAM3_PREDICTING

    decoder = open_decoder(_weighted(kind, rest)).to(device)
    return BySam2(decoder, SAM3_PREDICTING if kind == SAM3 else PREDICTING)


def open_decoder(choice: Sam2) -> Sam2Decoder:
    """A mask decoder with a memory and its weights, in float32."""
    from seglm.model.released.checkpoint import Checkpoint

    checkpoint = choice.complete(Checkpoint(choice.weights, {}))
    sizes = checkpoint.decoder or {}
    decoder = replace(choice, image_size=int(sizes["image_size"])).build(sizes)
    decoder.load_state_dict(
        {name.removeprefix("decoder."): tensor.float() for name, tensor in checkpoint.tensors.items()}
    )
    return decoder.eval()


def _weighted(kind: str, weights: str) -> Sam2:
    """The choice of a decoder, with these weights, or with its own where they are empty."""
    from seglm.model.decoders.sam2 import Sam2
    from seglm.model.decoders.sam3_tracker import Sam3Tracker

    chosen = Sam3Tracker() if kind == SAM3 else Sam2()
    return replace(chosen, weights=weights) if weights else chosen


def _parts(text: str) -> tuple[str, str]:
    """(kind, weights or command)."""
    kind, _, rest = text.strip().partition(" ")
    if kind in (SAM2, SAM3):
        resolve(_weighted(kind, rest.strip()).weights, what=f"the weights of --propagate {kind}")
        return kind, rest.strip()
    if kind == PROGRAM and rest.strip():
        check_program(shlex.split(rest)[0])
        return kind, rest.strip()
    raise ValueError(f"--propagate {text!r}: permitted are {FORMS}")
