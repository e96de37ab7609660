"""One question about every picture and film of a folder: masks, overlays and a JSON.

python -m seglm.predict --version runs/lisa_tiny/merged --folder imgs --text "Please segment the ring in this image."

For FOLDER/a/cup.jpg there is a folder OUT/a/cup.jpg with the masks (PNG, 0 and 255), the picture under each, and answer.json;
OUT/answers.json is all of them. A film has its masks frame by frame, and a film and a strip that show them. What is answered is
not asked again: a command that was stopped goes on. Files that cannot be read are named at the end; the exit status is 1 then.
What is neither a picture nor a film by its ending is left out, and said.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from seglm.evaluation.asking.folder import ALL, files_below, others_below, predict_folder
from seglm.evaluation.asking.open_model import open_model
from seglm.evaluation.asking.question import LONGEST
from seglm.model.precision import PRECISIONS
from seglm.utils.command import command
from seglm.utils.encoding import check_text
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable
from seglm.utils.ranges import Count, place, typed

TOLD = 5  # files that are left out and named


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    given = _parser().parse_args(arguments)
    check_text(given.text, "--text")
    check_writable(given.out, "--out")
    files_below(given.folder)
    model, line = open_model(
        given.version, device=given.device, precision=given.precision, bits=given.bits, recipe=given.recipe
    )
    sys.stdout.write(f"{line}\n")
    told = predict_folder(
        model, given.folder, given.text, given.out, max_new_tokens=given.max_new_tokens, progress=_with_a_bar
    )
    broken = [answer for answer in told if "error" in answer]
    sys.stdout.write(f"{len(told) - len(broken)} of {len(told)} files answered: {given.out / ALL}\n")
    if others := others_below(given.folder):
        more = ", ..." if len(others) > TOLD else ""
        sys.stdout.write(f"left out by their ending: {len(others)} ({', '.join(others[:TOLD])}{more})\n")
    for answer in broken:
        sys.stderr.write(f"broken: {answer['error']}\n")
    return 1 if broken else 0


def _with_a_bar(files: Sequence[str]) -> Iterable[str]:
    from tqdm import tqdm

    bar: Iterable[str] = tqdm(files, unit="file", disable=None)
    return bar


def _parser() -> argparse.ArgumentParser:
    text = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="python -m seglm.predict", description=__doc__, formatter_class=text)
    parser.add_argument("--version", required=True, help="the model: a folder or hub id")
    parser.add_argument("--folder", type=place, required=True, help="pictures and films, at any depth")
    parser.add_argument("--text", required=True, help="the question")
    parser.add_argument("--out", type=place, default=Path("answers"), help="default %(default)s")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default: the GPU where there is one")
    parser.add_argument("--precision", choices=PRECISIONS, help="default: as the weights were trained")
    parser.add_argument("--bits", choices=("8bit", "4bit"), help="the LLM in 8 or 4 bit, by bitsandbytes")
    parser.add_argument("--recipe", help="name of the recipe; default: as the weights were trained")
    parser.add_argument("--max_new_tokens", type=typed(Count), help=LONGEST)
    return parser


if __name__ == "__main__":
    sys.exit(main())
