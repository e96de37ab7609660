"""Talk to a model about a picture or a video and get masks: python chat.py --version MODEL

Asks for a prompt and a picture (or a video) until you press Ctrl-D, or answers once with --prompt and --image or --video.
Every mask goes to --vis_save_path as <picture>_mask_<i>.png (0 and 255, lossless) and, laid over the picture, as
<picture>_masked_img_<i>.jpg; masks of two pictures of one name do not meet: the second's are <picture>_2_mask_<i>.png, and
pictures.json says whose are whose. The files of an answer replace those of an earlier one about the same picture; an answer
without masks leaves them. Of a video there is a folder <video>_mask_<i> with a PNG for each frame, <video>_masked.mp4
and <video>_strip.png.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from seglm.dataset.faults import of_no_data_set
from seglm.dataset.frames import read_frame
from seglm.dataset.given import sample_of, sample_of_video
from seglm.dataset.readers.video import Video, is_picture, open_video, open_whole
from seglm.evaluation.asking.chat_answer import described, save
from seglm.evaluation.asking.chat_files import claimed, earlier
from seglm.evaluation.asking.open_model import open_model
from seglm.evaluation.asking.question import LONGEST, predict_frames
from seglm.evaluation.keyframes.file import read_key_frames, video_called
from seglm.evaluation.keyframes.outwards import check_outwards, walk_from
from seglm.evaluation.propagate.anchors import asking_anchors
from seglm.evaluation.propagate.answers import Propagation, carried
from seglm.evaluation.propagate.choice import add_flags, check_flags, propagation
from seglm.model.precision import PRECISIONS
from seglm.model.settings import Lora
from seglm.utils.command import command
from seglm.utils.command import said as in_words
from seglm.utils.encoding import check_text
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable
from seglm.utils.ranges import Count, CountOrNone, hints_of, place, typed

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter

PROMPT, IMAGE = "Please input your prompt: ", "Please input the image path: "
WEIGHTS_DECIDE = "; default: as the weights were trained"


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Loads the model, then answers once or until the input ends."""
    given = _parser().parse_args(arguments)
    if given.image is not None and given.video is not None:
        raise ValueError("--image and --video: a question is about one of them")
    about = given.image or given.video
    if (given.prompt is None) != (about is None):
        raise ValueError(
            "--prompt and --image (or --video) belong together: give both for one answer, none to be asked"
        )
    if about is not None and not _is_there(about):
        raise FileNotFoundError(f"File not found: {about}")
    if given.prompt is not None:
        check_text(given.prompt, "--prompt")
    check_writable(given.vis_save_path, "--vis_save_path")
    check_flags(given)
    if about is not None:
        look_at(about, "--image" if given.image else "--video")
        flag = "--propagate" if given.propagate else "--keyframes" if given.keyframes else ""
        if flag and is_picture(about):
            raise ValueError(f"{flag}: {about} is a picture; leave the flag out, or give a video")
        if given.keyframes:
            _key_frame(given.keyframes, about, given.prompt, open_video(about, str(about)))
    _escape_what_is_no_utf8()
    model = _open(given)
    how = propagation(given, str(model.backbone.device))
    if given.keyframes and how is None:
        check_outwards(model.recipe)
    if how is not None and not given.keyframes:
        model.recipe = asking_anchors(model.recipe, how.anchors)
    if given.prompt is not None:
        answer(model, about, given.prompt, given, how)
        return
    with suppress(EOFError, KeyboardInterrupt):
        talk(lambda about, prompt: answer(model, about, prompt, given, how))
    print()


def answer(
    model: Segmenter, about: Path, prompt: str, given: argparse.Namespace, how: Propagation | None = None
) -> None:
    """One question about one picture or video: prints what the model says and writes its masks.

    how: its masks of a video are carried; then the model's recipe asks for the anchors only, or sets out from a key frame.
    """
    check_text(prompt, "the prompt")
    before = earlier(about, given.vis_save_path)
    with of_no_data_set():
        answered = _about_picture if is_picture(about) else partial(_about_video, how=how)
        lines, is_drawn = answered(model, about, prompt, given)
    if before:
        fate = "replaced" if is_drawn else "kept, and are not of this answer"
        lines.append(f"{given.vis_save_path}: {', '.join(before)} of an earlier answer are {fate}")
    for line in lines:
        print(line, flush=True)


def look_at(about: Path, flag: str) -> None:
    """Says what it is where the flag tells otherwise. Raises ValueError if it is broken, before a model is loaded."""
    with of_no_data_set():
        if is_picture(about):
            read_frame(about, str(about))
            what = "picture"
        else:
            num_frames = open_whole(about, str(about)).num_frames
            what = f"video of {num_frames} frame{'s' if num_frames != 1 else ''}"
    if not what.startswith("picture" if flag == "--image" else "video"):
        print(f"{flag} {about}: it is a {what}, and answered as one", flush=True)


def _about_picture(
    model: Segmenter, about: Path, prompt: str, given: argparse.Namespace
) -> tuple[list[str], bool]:
    """What a person reads, and whether there are masks."""
    asked = sample_of(about)
    [said] = predict_frames(model, asked, prompt, max_new_tokens=given.max_new_tokens)
    paths = save(said, asked.frame(0), about, given.vis_save_path)
    return described(said, paths), bool(paths)


def _about_video(
    model: Segmenter, about: Path, prompt: str, given: argparse.Namespace, *, how: Propagation | None
) -> tuple[list[str], bool]:
    """What a person reads, and whether there are masks."""
    from tqdm import tqdm

    from seglm.evaluation.asking.chat_video import described_video, save_video

    video = open_whole(about, str(about))
    asked = sample_of_video(video, str(about))
    walk = None
    if given.keyframes:
        key = _key_frame(given.keyframes, about, prompt, video)
        walk = walk_from(model.recipe, key, how)
        how = None if how is None else replace(how, anchors=key)
    carry = None if how is None else partial(carried, how=how)
    drawn = predict_frames(model, asked, prompt, max_new_tokens=given.max_new_tokens, carry=carry, walk=walk)
    bar = tqdm(drawn, total=video.num_frames, unit="frame", leave=False, disable=None)
    name = claimed(about, given.vis_save_path)
    found = save_video(bar, video, asked.frame, name, given.vis_save_path)
    return described_video(found), bool(found.masks)


def _key_frame(file: Path, about: Path, prompt: str, video: Video) -> int:
    """The number of a question's key frame. Raises ValueError if the file has none."""
    return read_key_frames(file).frame(video_called(about), prompt, video.names)


def talk(reply: Callable[[Path, str], None], read: Callable[[str], str] = input) -> None:
    """Asks for prompts and pictures or videos until `read` raises EOFError; an empty path means the one of before."""
    # The arrow keys then edit the line and bring back earlier ones; Windows has no readline and does without.
    with suppress(ImportError):
        import readline  # noqa: F401
    about: Path | None = None
    while True:
        prompt = read(PROMPT).strip()
        if not prompt:
            continue
        about = _ask_for_path(read, about)
        try:
            reply(about, prompt)
        except (ValueError, OSError) as error:
            # A broken picture, a prompt that is too long, a full disk: said, and asked again.
            print(f"error: {in_words(error)}")


def _ask_for_path(read: Callable[[str], str], before: Path | None) -> Path:
    while True:
        text = read(IMAGE if before is None else f"{IMAGE}[{before}] ").strip().strip("'\"")
        path = Path(os.path.expanduser(text)) if text else before
        if path is not None and _is_there(path):
            return path
        if "://" in text:
            print(f"{text}: an address; download it first and give the file")
        else:
            print(f"File not found: {path}" if path else "A picture or a video is needed.")


def _is_there(path: Path) -> bool:
    """A file, or a folder of frames. Path.is_file raises for a name that is too long."""
    return os.path.isfile(path) or os.path.isdir(path)


def _escape_what_is_no_utf8() -> None:
    """What is typed in another encoding is then one wrong prompt, not the end; what the terminal cannot show is shown escaped."""
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _open(given: argparse.Namespace) -> Segmenter:
    if given.lora_r is not None:
        print("--lora_r has no effect here: merged weights have no adapters")
    model, line = open_model(
        given.version,
        recipe=given.recipe,
        precision=given.precision,
        bits="8bit" if given.load_in_8bit else "4bit" if given.load_in_4bit else None,
        vision=given.vision_tower,
        decoder=given.vision_pretrained,
        image_size=given.image_size,
        conv_type=given.conv_type,
        image_tokens=given.use_mm_start_end,
        max_length=given.model_max_length,
    )
    print(line)
    return model


def _parser() -> argparse.ArgumentParser:
    text = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="chat.py", description=__doc__, formatter_class=text)
    parser.add_argument(
        "--version", default="xinlai/LISA-13B-llama2-v1", help="a folder or hub id (default %(default)s)"
    )
    parser.add_argument("--prompt", help="one question, with --image or --video; then the program ends")
    parser.add_argument("--image", type=place, help="the picture it is about")
    parser.add_argument("--video", type=place, help="the video it is about: a file, or a folder of frames")
    parser.add_argument(
        "--vis_save_path",
        type=place,
        default=Path("./vis_output"),
        help="folder for masks (default %(default)s)",
    )
    parser.add_argument("--precision", choices=PRECISIONS, help="default: the recipe's")
    parser.add_argument("--load_in_8bit", action="store_true", help="the LLM in 8 bit, by bitsandbytes")
    parser.add_argument("--load_in_4bit", action="store_true", help="the LLM in 4 bit, by bitsandbytes")
    parser.add_argument("--max_new_tokens", type=typed(Count), help=LONGEST)
    add_flags(parser)
    parser.add_argument("--recipe", help="name of the recipe" + WEIGHTS_DECIDE)
    parser.add_argument("--conv_type", help="chat template, e.g. llava_v1, llava_llama_2" + WEIGHTS_DECIDE)
    parser.add_argument(
        "--use_mm_start_end",
        action=argparse.BooleanOptionalAction,
        help="tokens around the image" + WEIGHTS_DECIDE,
    )
    parser.add_argument(
        "--image_size", type=typed(Count), help="side of the mask decoder's input" + WEIGHTS_DECIDE
    )
    parser.add_argument(
        "--model_max_length",
        type=typed(Count),
        help="longest question in tokens, image included" + WEIGHTS_DECIDE,
    )
    parser.add_argument("--vision-tower", "--vision_tower", help="CLIP, for releases that do not hold it")
    parser.add_argument("--vision_pretrained", help="SAM's .pth, for releases that do not hold it")
    parser.add_argument(
        "--lora_r",
        type=typed(hints_of(Lora)["r"]),
        help="accepted as in the original, without effect: merged weights have no adapters",
    )
    parser.add_argument("--local-rank", "--local_rank", type=typed(CountOrNone), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
