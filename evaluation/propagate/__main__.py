"""Carries masks that you have of one frame or a few through the whole video.

python -m seglm.evaluation.propagate --video clip.mp4 --mask mask.png
python -m seglm.evaluation.propagate --video frames/ --mask 00000.png 00030.png --propagate "sam2 sam2_hiera_large.pt"

A mask is a PNG of a frame's size: 0 and 255, or a palette or grey values with a number for each object. It is of the frame that
it is called after, else of the first; --frame says otherwise. Of each object there is a folder <video>_mask_<i> with a PNG for
every frame (0 and 255), and of all together <video>_masked.mp4 and <video>_strip.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from seglm.dataset.faults import of_no_data_set
from seglm.dataset.given import sample_of_video
from seglm.dataset.readers.video import Video, open_whole
from seglm.evaluation.asking.chat_files import claimed
from seglm.evaluation.asking.chat_video import described_video, save_video
from seglm.evaluation.asking.open_model import device_named
from seglm.evaluation.propagate.answers import FramesOf, answer_of, in_order
from seglm.evaluation.propagate.choice import HELP, SAM2, check_propagator, propagator
from seglm.evaluation.propagate.objects import frames_of, read_objects
from seglm.model.propagate import Carried
from seglm.utils.answers import Spoken
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable
from seglm.utils.prediction import seen
from seglm.utils.ranges import CountOrNone, place, typed
from seglm.utils.types import Sample


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line at the top of this file."""
    given = _parser().parse_args(arguments)
    check_writable(given.out, "--out")
    check_propagator(given.propagate)
    with of_no_data_set():
        _carry(given)


def _carry(given: argparse.Namespace) -> None:
    video = open_whole(given.video, str(given.video))
    masks = frames_of(given.mask, given.frame, video.names)
    numbers, anchors = read_objects(masks, video.size)
    for frame, file in masks.items():
        print(f"{file}: frame {frame} of {video.num_frames} ({video.names[frame]})", flush=True)  # noqa: T201
    carry = propagator(given.propagate, device_named(None))
    sample = sample_of_video(video, str(given.video))
    walk = in_order(carry(FramesOf(sample), anchors))
    bar = tqdm(walk, total=video.num_frames, unit="frame", leave=False, disable=None)
    lines = _written(bar, video, sample, len(numbers), given)
    told = [f"object {number}, {line}" for number, line in zip(numbers, lines, strict=False)]
    print("\n".join([*told, *lines[len(numbers) :]]))  # noqa: T201


def _written(
    walk: Iterator[Carried], video: Video, sample: Sample, count: int, given: argparse.Namespace
) -> list[str]:
    """The files, and a line of each object."""
    spoken = Spoken("", (), "ok", ("?",) * count)
    drawn = (seen(one.frame, answer_of(spoken, [*one.masks], one.there), video.size) for one in walk)
    name = claimed(given.video, given.out)
    return described_video(save_video(drawn, video, sample.frame, name, given.out))[1:]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m seglm.evaluation.propagate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--video", type=place, required=True, help="a file, or a folder of frames")
    parser.add_argument("--mask", type=place, nargs="+", required=True, help="PNGs, one a frame")
    parser.add_argument(
        "--frame", type=typed(CountOrNone), nargs="+", help="number of each mask's frame, from 0 on"
    )
    parser.add_argument("--propagate", metavar="HOW", default=SAM2, help=HELP)
    parser.add_argument(
        "--out", type=place, default=Path("./vis_output"), help="folder for masks (default %(default)s)"
    )
    return parser


if __name__ == "__main__":
    main()
