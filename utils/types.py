"""The data that crosses module borders. Every border type is a frozen dataclass, every field says shape, dtype and frame.

What a micro-batch is made of stands in `utils/batch.py`. Axis letters: T frames asked for, L tokens of a dialogue, N frames shown
to the LLM, M frames in which masks are drawn, H W original pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seglm.utils.grounding import Caption as Caption
from seglm.utils.grounding import Phrase as Phrase
from seglm.utils.grounding import Region as Region
from seglm.utils.look import PLAIN as PLAIN
from seglm.utils.look import Fidelity as Fidelity
from seglm.utils.look import Grid as Grid
from seglm.utils.look import Look as Look

IMAGE_POSITION = -200
"""The value that stands in `ids` where a visual feature is written: a sentinel, never a vocabulary id."""
IGNORE_LABEL = -100
"""The label of a token that is not trained; PyTorch's own convention."""


# ---- what a data set holds ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Target:
    """One thing that can be asked for in a sample."""

    texts: tuple[str, ...]
    """equally true wordings, at least one; a script draws one of them"""
    masks: Callable[[Sequence[int]], NDArray[np.bool_]]
    """frames (indices into the sample) -> bool [T, H, W], original pixels; decoded when called"""
    is_sentence: bool = False
    """True for a whole instruction, False for a phrase that a template has to wrap"""
    kind: str = ""
    """label by which scores are split, e.g. `attribute`; empty if the data set has none"""
    keyword: str | None = None
    """what the target is in one or two words, where the data set says so"""
    explanation: str | None = None
    """the answer in words that belongs to the mask, where the data set has one"""
    key: str = ""
    """names the target inside its sample, e.g. the sentence id"""
    asked_apart: bool = False
    """True: each text is an expression of its own and training draws among texts; False: texts are wordings of one expression"""
    kinds: tuple[str, ...] = ()
    """aligned with `texts` where the data set labels each of them; empty if `kind` says it all"""
    keys: tuple[str, ...] = ()
    """aligned with `texts` where the data set names each of them (RefCOCO's sentence ids, by which predictions are paired)"""
    known_frames: tuple[int, ...] | None = None
    """frames of a video whose mask is published, None for all; `masks` of another raises, and no metric looks there"""
    objects: tuple[str, ...] = ()
    """the things in the video whose union the mask is, as the data set calls them; empty if nothing is meant, by which scores of
    videos tell N-acc from T-acc, and of a picture also if the data set names none"""

    def is_known(self, frame: int) -> bool:
        """Whether the mask in a frame is published, so that it may be asked for and a metric looks there."""
        return self.known_frames is None or frame in self.known_frames


@dataclass(frozen=True)
class Sample:
    """One image or video with everything that can be asked about it; nothing heavy is decoded yet."""

    key: str
    """unique and stable: `source|split/identifier`"""
    size: tuple[int, int]
    """(H, W) of the original frames, pixels"""
    frame: Callable[[int], NDArray[np.uint8]]
    """index -> uint8 [H, W, 3], RGB; decoded when called"""
    num_frames: int = 1
    """0 for a conversation about nothing that is shown; `size` is (0, 0) then"""
    targets: tuple[Target, ...] = ()
    turns: tuple[tuple[str, str], ...] = ()
    """(question, answer) pairs in words only, for visual question answering"""
    turn_kinds: tuple[str, ...] = ()
    """aligned with `turns` where the data set says of what kind each question is"""
    caption: Caption | None = None
    """speaks of `targets`, which then belong together: none of them is drawn without the others"""
    regions: tuple[Region, ...] = ()
    """what turns, or the regions' own captions, are about"""
    ignore: Callable[[Sequence[int]], NDArray[np.bool_]] | None = None
    """frames -> bool [T, H, W], True where neither loss nor metric may look"""
    path: str = ""
    """the image file, or the folder of a video's frames, for messages"""
    frame_names: tuple[str, ...] = ()
    """for each frame of a video the name that files about it bear, without an ending: `00005`"""


@dataclass(frozen=True)
class Frames:
    """Which frames of a sample are used, as indices into it."""

    seen: tuple[int, ...]
    """shown to the LLM, in this order"""
    drawn: tuple[int, ...]
    """in which masks are drawn, in this order"""


@dataclass(frozen=True)
class Window:
    """One step of a walk through a video at inference: frames as indices into the sample."""

    seen: tuple[int, ...]
    """shown to the LLM, in this order"""
    asked: tuple[int, ...]
    """in which the slots of this window are drawn, in this order"""
    drawn: tuple[int, ...] = ()
    """in which they are drawn behind these by what the mask decoder remembers, in this order; where numbers begin to fall the
    walk turns, and looks back on the asked frames alone"""
    repeats: int = 0
    """how many of the windows right before this one its questions repeat, with what was answered there"""
    begins: bool = False
    """a walk sets out here, from the first of `asked`: what was drawn before is not remembered, and frames are counted from this
    one on, whichever way. A frame that the walk before set out from, too, keeps what was drawn there"""


class Pictures(Protocol):
    """Pictures by their places, each uint8 [H, W, 3], RGB; those of a video are decoded whenever they are taken."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Clip:
    """A part of a sample: chosen frames, chosen targets, still at the original size.

    At inference only what the LLM sees is decoded here: `drawn` is empty, frames are drawn one after the other later.
    """

    key: str
    size: tuple[int, int]
    """(H, W), original pixels"""
    seen: Pictures
    """N frames for the LLM"""
    drawn: Pictures
    """M frames for the mask decoder"""
    targets: tuple[Target, ...] = ()
    masks: tuple[NDArray[np.bool_], ...] = ()
    """bool [M, H, W] a target, aligned with `targets`; empty where nobody may look at the truth"""
    ignore: NDArray[np.bool_] | None = None
    """bool [M, H, W]"""
    turns: tuple[tuple[str, str], ...] = ()
    caption: Caption | None = None
    regions: tuple[Region, ...] = ()
    pointed: tuple[NDArray[np.bool_], ...] = ()
    """bool [N, H, W] for each of `regions`: where it is in the frames that are seen"""
    drawn_at: tuple[int, ...] = ()
    """where in `seen` each frame of `drawn` stands, -1 for one that is not shown; empty if nobody asks"""
    frames: tuple[int, ...] = ()
    """which frame of the sample each of `drawn` is; empty if nobody asks"""
    answered: tuple[tuple[str, ...], ...] = ()
    """for each target what was answered in the windows that are repeated (`Window.repeats`), oldest first"""


# ---- what is said about it ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Images:
    """A place in a dialogue where frames are shown."""

    frames: tuple[int, ...]
    """positions in `Clip.seen`"""
    fidelity: Fidelity = "full"


@dataclass(frozen=True)
class Slot:
    """A `[SEG]`-like token in a dialogue: it speaks of one target and segments some frames."""

    token: str
    target: int
    """position in `Clip.targets`"""
    frames: tuple[int, ...]
    """positions in `Clip.drawn`; empty for a token that draws nothing"""
    word: str = ""
    """what the slot is taught to stand for, in a word or two (KeySeg's `[KEY]`)"""
    value: float | None = None
    """what a slot that scores is taught to say, 0 to 1 (`[SCORE]` of GLUS' key-frame selector); None teaches nothing"""


@dataclass(frozen=True, eq=False)
class Pointed:
    """A place in a dialogue where those patches of a frame are shown again that lie under a mask."""

    frame: int
    """position in `Clip.seen`"""
    mask: NDArray[np.bool_]
    """bool [H, W], original pixels"""


Piece = str | Images | Slot | Pointed


@dataclass(frozen=True)
class Turn:
    question: tuple[Piece, ...]
    answer: tuple[Piece, ...] = ()
    """empty only in the last turn of a dialogue that the model shall continue"""


@dataclass(frozen=True)
class Dialogue:
    """One conversation; the chat template of the backbone is put around it when it is encoded."""

    turns: tuple[Turn, ...]
    targets: tuple[int, ...] = ()
    """positions in `Clip.targets` that the dialogue asks for, in order; also where the answer is still open"""
    begun: str = ""
    """how an answer that is still open begins; the model writes what follows"""


Script = tuple[Dialogue, ...]
"""All dialogues about one clip; they become branches behind the prefix they share."""


# ---- token level ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Placed:
    slot: Slot
    place: int
    """index of the slot's own token in `Branch.ids`"""
    word_id: int = 0
    """first token of `slot.word`; 0, which is padding in every vocabulary here, if it has none"""


@dataclass(frozen=True)
class Branch:
    """One encoded dialogue, image placeholders expanded. All arrays are int64 [L]."""

    ids: NDArray[np.int64]
    """token ids; IMAGE_POSITION where a visual feature stands"""
    labels: NDArray[np.int64]
    """the id AT this position where it is trained (answers and their end token), else IGNORE_LABEL"""
    frame: NDArray[np.int64]
    """position in `Example.vision` of the visual feature (that of `Clip.seen`, where nothing is cut into tiles), -1 for text"""
    patch: NDArray[np.int64]
    """which patch of that frame, row-major; P (one past the last) means the mean of all; -1 for text"""
    slots: tuple[Placed, ...] = ()
    rotary: NDArray[np.int64] | None = None
    """int64 [3, L], see `Batch.rotary`; None: counted one after the other"""


@dataclass(frozen=True)
class Example:
    """One clip, ready to be batched."""

    key: str
    branches: tuple[Branch, ...]
    vision: NDArray[np.uint8]
    """uint8 [N, 3, v, v], RGB, resized for the vision tower, not normalised: each frame, or its tiles and the whole of it, or its
    cells, row by row"""
    drawn: NDArray[np.uint8]
    """uint8 [M, 3, h, w], RGB, not normalised: of size `resized`, or smaller and to be enlarged to it by the model"""
    resized: tuple[int, int]
    """(height, width) of the picture in the mask decoder's square, pixels; the longest side is the square's"""
    size: tuple[int, int]
    """(H, W), original pixels"""
    masks: NDArray[np.bool_]
    """bool [targets, M, H, W]"""
    ignore: NDArray[np.bool_] | None = None
    """bool [M, H, W]"""
    asked: tuple[tuple[int, ...], ...] = ()
    """for each branch the targets it asks for (`Dialogue.targets`)"""
    kinds: tuple[str, ...] = ()
    """for each target its `kind`"""
    frames: tuple[int, ...] = ()
    """which frame of the sample each of `drawn` is; empty if nobody asks"""
    subjects: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    """int64 [targets, 3]: expression, things and a bit for each thing, as numbers; empty if nobody asks"""
    grids: tuple[Grid, ...] = ()
    """how the cells of `vision` lie together, one after the other; empty where each of them is a picture for itself"""
