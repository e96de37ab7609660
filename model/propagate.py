"""Masks of a few frames carried through the rest of a video, by a memory or by a program of its own.

Whoever drew the anchors and whatever they show, a propagator is given pictures and masks, and gives masks. The one that stands
here asks a program through files, as VideoLISA asks XMem++ (xmem2_example/ at 0f14b22); a mask decoder with a memory is another.
Letters: N things, H W original pixels.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from seglm.utils.types import Pictures

Direction = Literal["forwards", "backwards"]
BOTH_WAYS: tuple[Direction, ...] = ("forwards", "backwards")

FRAMES, ANCHORS, OUT = "frames", "anchors", "masks"
"""folders that a program finds, and the one that it fills"""
MODES = ("1", "L", "P")  # of masks that are read, Pillow's
TOLD = 2000  # characters of what a program said last


@dataclass(frozen=True, eq=False)
class Carried:
    """What was found of N things in one frame."""

    frame: int
    masks: NDArray[np.bool_]
    """bool [N, H, W]"""
    there: tuple[float, ...] = ()
    """for each thing the logit that it can be seen in this frame: above 0 it can; empty where the propagator does not say"""


class Propagator(Protocol):
    """Carries masks through a video."""

    def __call__(
        self,
        frames: Pictures,
        anchors: Mapping[int, NDArray[np.bool_]],
        /,
        *,
        directions: Sequence[Direction] = BOTH_WAYS,
    ) -> Iterator[Carried]:
        """Every frame that is reached, each once, in any order; an anchor's masks come back as they are.

        frames: of the whole video. anchors: at least one frame with its masks, bool [N, H, W]; N is the same in all, and a mask
        may be empty. directions: ways to go from the anchors; forwards alone reaches nothing before the first of them.
        Raises ValueError for anchors that are none of the video's or differ in shape.
        """
        ...


def reached(num_frames: int, anchors: Sequence[int], directions: Sequence[Direction]) -> range:
    """The frames that are reached from these anchors: all but those before the first, or behind the last, one way only."""
    first = 0 if "backwards" in directions else min(anchors)
    return range(first, num_frames if "forwards" in directions else max(anchors) + 1)


def check_anchors(num_frames: int, anchors: Mapping[int, NDArray[np.bool_]]) -> tuple[int, int, int]:
    """(N, H, W) of all of them. Raises ValueError."""
    if not anchors:
        raise ValueError("no frame with masks to begin from; give one or more")
    if strange := [frame for frame in anchors if not 0 <= frame < num_frames]:
        raise ValueError(f"masks are given for frames {strange}; the video has 0 to {num_frames - 1}")
    shapes = {frame: masks.shape for frame, masks in anchors.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 3 for shape in shapes.values()):
        raise ValueError(
            f"masks by frame are of shapes {shapes}; each is [N, H, W], with the same things in the same order"
        )
    count, height, width = next(iter(shapes.values()))
    return count, height, width


@dataclass(frozen=True)
class ByProgram:
    """Asks a program through files; it is started once for a video, with a folder of its own behind its arguments.

    In the folder are `frames/00000.png` and so on, RGB, and for each thing `anchors/0/00012.png` in the frames that have one, 255
    on the thing and 0 elsewhere. The program writes `masks/0/00000.png` in the same way for every other frame that is reached;
    what is not 0 is the thing. Which way to go is its first argument: `forwards`, `backwards`, or both with a comma between them.
    """

    command: str
    """`python carry.py --model cutie`, taken apart as a shell does; no shell sees it"""

    def __call__(
        self,
        frames: Pictures,
        anchors: Mapping[int, NDArray[np.bool_]],
        /,
        *,
        directions: Sequence[Direction] = BOTH_WAYS,
    ) -> Iterator[Carried]:
        """See Propagator. Frames come in order.

        Raises ChildProcessError with what the program said last if it fails, FileNotFoundError for a mask that it did not write,
        and ValueError for one of another size.
        """
        count, *size = check_anchors(len(frames), anchors)
        with tempfile.TemporaryDirectory(prefix="seglm_propagate_") as place:
            folder = Path(place)
            _write(folder, frames, anchors)
            self._run([*shlex.split(self.command), ",".join(directions), place])
            for frame in reached(len(frames), list(anchors), directions):
                if frame in anchors:
                    yield Carried(frame, anchors[frame])
                    continue
                masks = [_read(folder / OUT / str(thing) / _name(frame), size) for thing in range(count)]
                yield Carried(frame, np.stack(masks) if masks else np.zeros((0, *size), np.bool_))

    def _run(self, line: Sequence[str]) -> None:
        check_program(line[0])
        done = subprocess.run(line, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise ChildProcessError(
                f"{shlex.join(line)} ended with {done.returncode}; it said last:\n{done.stderr[-TOLD:]}"
            )


def check_program(name: str) -> None:
    """Raises FileNotFoundError if nothing of this name can be started."""
    if shutil.which(name) is None:
        raise FileNotFoundError(f"{name}: there is no such program; give its path, or the python before it")


def _name(frame: int) -> str:
    return f"{frame:05d}.png"


def _write(folder: Path, frames: Pictures, anchors: Mapping[int, NDArray[np.bool_]]) -> None:
    from PIL import Image

    (folder / FRAMES).mkdir()
    for number in range(len(frames)):
        Image.fromarray(frames[number]).save(folder / FRAMES / _name(number), compress_level=1)
    for number, masks in anchors.items():
        for thing, mask in enumerate(masks):
            (home := folder / ANCHORS / str(thing)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask.astype(np.uint8) * 255).save(home / _name(number))


def _read(file: Path, size: Sequence[int]) -> NDArray[np.bool_]:
    """bool [H, W]"""
    from PIL import Image

    if not file.is_file():
        raise FileNotFoundError(f"{file.relative_to(file.parents[2])}: the program did not write this mask")
    name = file.relative_to(file.parents[2])
    with Image.open(file) as image:
        if image.mode not in MODES:
            raise ValueError(
                f"{name} is of mode {image.mode}; permitted are {', '.join(MODES)}: one number a pixel"
            )
        if (image.height, image.width) != tuple(size):
            told = f"{image.height} x {image.width}, the video's masks are {size[0]} x {size[1]} (H x W)"
            raise ValueError(f"{name} is {told}")
        found: NDArray[np.bool_] = np.array(image) != 0
    return found
