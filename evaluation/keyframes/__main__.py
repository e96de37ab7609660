"""Key frames: what a selector of them learns from, and which frames a trained one chooses.

python -m seglm.evaluation.keyframes --predictions FOLDER --dataset_dir DATA --val_dataset "mevis|train" --out ious.json
python -m seglm.evaluation.keyframes --version SELECTOR --dataset_dir DATA --val_dataset "mevis|valid_u" --out keyframes.json
python -m seglm.evaluation.keyframes --version SELECTOR --video clip.mp4 --prompt "Please segment the dog." --out keyframes.json

The first counts how well each frame was drawn by the model whose masks lie in FOLDER (evaluation.run --inference_only), for
terms.score.targets of a training. The others write the frame with the highest score of each expression, or of the question that
will be typed; `--keyframes` of evaluation.run and chat.py reads them.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.faults import of_no_data_set
from seglm.dataset.given import sample_of_video
from seglm.dataset.readers.video import open_whole
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.keyframes.choose import Chosen, best_of, check_selector, choose, scores_of
from seglm.evaluation.keyframes.file import video_called, write_key_frames
from seglm.evaluation.keyframes.targets import rows_of
from seglm.model import frame_ious
from seglm.model.precision import Precision
from seglm.utils import dist
from seglm.utils.command import command
from seglm.utils.encoding import check_text
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable
from seglm.utils.ranges import Count, CountOrNone, place, typed
from seglm.utils.types import Target

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line at the top of this file."""
    given = _parsed(arguments)
    world = dist.start()
    logging.basicConfig(level=logging.INFO if world.is_main else logging.ERROR, format="%(message)s")
    try:
        check_writable(given.out.parent, "--out")
        if given.out.exists() and not given.overwrite:
            raise ValueError(
                f"{given.out} is there already; pass --overwrite to replace it, or another --out"
            )
        said = _count(given) if given.predictions else _choose(given, world)
        if world.is_main:
            print(said, flush=True)  # noqa: T201
    finally:
        dist.stop()


def _count(given: argparse.Namespace) -> str:
    """Writes IoUs; the first process alone."""
    chosen = benchmark(given.val_dataset)
    chosen.check_truth()
    selection = _check_videos(chosen.open(given.dataset_dir))
    if not dist.world().is_main:
        return ""
    rows = list(rows_of(given.predictions, selection, processes=given.processes))
    known = frame_ious.write(given.out, rows)
    mean = fmean(value for _, _, row in rows for value in row if value is not None) if known else 0.0
    return f"{given.out}: {known} IoUs of {len(rows)} expressions, mean {mean:.3f}"


def _choose(given: argparse.Namespace, world: dist.World) -> str:
    """Writes key frames."""
    from seglm.model.load import load

    selection = None if given.video else _check_videos(benchmark(given.val_dataset).open(given.dataset_dir))
    model, _ = load(
        given.version, recipe=given.recipe, precision=given.precision, device=str(world.device), world=world
    )
    check_selector(model)
    chosen = _of_film(model, given) if selection is None else _of_benchmark(model, selection, world)
    if world.is_main:
        write_key_frames(given.out, [(one.video, one.expression, one.name) for one in chosen])
    best = fmean(one.scores[one.frame] for one in chosen) if chosen else 0.0
    return f"{given.out}: {len(chosen)} key frames, mean score {best:.3f}"


def _of_benchmark(model: Segmenter, selection: Selection, world: dist.World) -> list[Chosen]:
    """Those of all processes, which take videos in turn, in the order of the benchmark."""
    from tqdm import tqdm

    own = range(len(selection))[world.rank :: world.size]
    bar = tqdm(own, desc=selection.name, unit="video", disable=not world.is_main, dynamic_ncols=True)
    found = [(number, list(choose(model, selection.sample(number)))) for number in bar]
    every = sorted((one for part in dist.gather(found) for one in part), key=lambda pair: pair[0])
    return [one for _, some in every for one in some]


def _of_film(model: Segmenter, given: argparse.Namespace) -> list[Chosen]:
    check_text(given.prompt, "--prompt")
    with of_no_data_set():
        video = open_whole(given.video, str(given.video))
        asked = Target((given.expression or given.prompt,), masks=_unknown, key=given.prompt)
        sample = replace(sample_of_video(video, str(given.video)), targets=(asked,))
        [scores] = scores_of(model, sample)
    frame = best_of(scores)
    return [Chosen(video_called(given.video), given.prompt, frame, video.names[frame], tuple(scores))]


def _unknown(frames: Sequence[int]) -> NDArray[np.bool_]:
    raise ValueError(f"nobody knows the true masks of a film, and those of frames {frames} were asked for")


def _check_videos(selection: Selection) -> Selection:
    if not selection.is_of_videos:
        raise ValueError(
            f"--val_dataset {selection.name} is of pictures, which have no key frame; name a benchmark of videos"
        )
    return selection


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; what has to be there depends on what is asked."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if (given.predictions is None) == (given.version is None):
        parser.error("give --predictions (to count IoUs) or --version (to choose key frames), one of them")
    of_film = given.video is not None or given.prompt is not None
    needed = ("video", "prompt") if of_film else ("dataset_dir", "val_dataset")
    if of_film and (given.predictions or given.val_dataset):
        parser.error("--video and --prompt are for --version alone, without --val_dataset")
    if missing := [f"--{name}" for name in needed if getattr(given, name) is None]:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    return given


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m seglm.evaluation.keyframes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--predictions", type=place, help="masks of a benchmark, as evaluation.offline takes them"
    )
    parser.add_argument("--version", help="a trained selector: a folder or a hub id")
    parser.add_argument("--dataset_dir", type=place, help="where the data lie, as for train_ds.py")
    parser.add_argument("--val_dataset", help='the benchmark, e.g. "mevis|train"')
    parser.add_argument("--video", type=place, help="a film, or a folder of frames")
    parser.add_argument("--prompt", help="the question about it, as it will be typed")
    parser.add_argument(
        "--expression", help="what the question asks for, in a few words; default: the question"
    )
    parser.add_argument("--out", type=place, required=True, help="the JSON file to be written")
    parser.add_argument("--overwrite", action="store_true", help="replace the file")
    parser.add_argument("--recipe", help="name of the recipe; found out from the weights if not given")
    parser.add_argument("--precision", choices=get_args(Precision), help="default: the recipe's")
    parser.add_argument(
        "--processes", type=typed(Count), help="that share the counting; default: as many as are worth it"
    )
    parser.add_argument("--local_rank", "--local-rank", type=typed(CountOrNone), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
