"""What a person gets to see of an answer about a video: the words, masks frame by frame, a film with them, and a strip."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from seglm.dataset.readers.video import Video
from seglm.evaluation.asking.chat_answer import NO_SEG, NOT_ASKED, REJECTED, shown_words
from seglm.evaluation.asking.chat_files import replacing
from seglm.evaluation.pictures.masks import MASK_COLOURS, Picture, overlay
from seglm.evaluation.pictures.strip import spread, strip
from seglm.utils.film import film
from seglm.utils.prediction import FramePrediction


@dataclass
class _Told:
    """One slot through the video."""

    frames: int = 0
    """in which it has a pixel"""
    share: float = 0.0
    """of the picture, summed over these frames"""
    rejected: int = 0
    """frames in which the model says that it is not there"""
    hidden: int = 0
    """frames in which the mask decoder says that it cannot be seen"""


@dataclass(frozen=True)
class VideoAnswer:
    """What was written, and what it shows."""

    first: FramePrediction
    """the first frame"""
    num_words: int
    """different texts over the frames: a recipe that sees every frame for itself may have many"""
    masks: tuple[tuple[Path, _Told], ...]
    """for each slot its folder of PNGs"""
    film: Path | None
    strip: Path | None
    num_frames: int


def save_video(
    drawn: Iterable[FramePrediction], video: Video, frame: Callable[[int], Picture], name: str, folder: Path
) -> VideoAnswer:
    """Writes `<name>_mask_<i>/<frame>.png` (0 and 255) for every slot, `<name>_masked.mp4` and `<name>_strip.png`.

    drawn: the frames in their order. frame: of the video, by number, uint8 [H, W, 3], RGB.
    They replace those of an earlier answer about the same video; an answer in words only writes nothing and leaves them alone.
    """
    told: list[_Told] = []
    words: dict[str, FramePrediction] = {}
    shown, wanted = list[tuple[str, Picture]](), set(spread(video.num_frames))
    with replacing(folder, name) as fresh:
        path = fresh / f"{name}_masked.mp4"
        with film(path, rate=video.rate) as add:
            for one in drawn:
                words.setdefault(one.text, one)
                picture = frame(one.frame)
                for number, segment in enumerate(one.segments):
                    if number == len(told):
                        told.append(_Told())
                    place = fresh / f"{name}_mask_{number}"
                    place.mkdir(exist_ok=True)
                    (place / f"{video.names[one.frame]}.png").write_bytes(segment.png())
                    mask = segment.mask
                    told[number].frames += bool(mask.any())
                    told[number].share += float(mask.mean())
                    told[number].rejected += segment.is_rejected
                    told[number].hidden += segment.is_there is False
                    picture = overlay(picture, mask, MASK_COLOURS[number % len(MASK_COLOURS)])
                add(picture)
                if one.frame in wanted:
                    shown.append((f"frame {one.frame}", picture))
        if not told:
            path.unlink()
        else:
            strip(fresh / f"{name}_strip.png", shown)
    return VideoAnswer(
        first=next(iter(words.values())),
        num_words=len(words),
        masks=tuple((folder / f"{name}_mask_{number}", one) for number, one in enumerate(told)),
        film=folder / path.name if told else None,
        strip=folder / f"{name}_strip.png" if told else None,
        num_frames=video.num_frames,
    )


def described_video(answer: VideoAnswer) -> list[str]:
    """The lines a person reads: the model's words first, then a line for each slot, or why there is none, then the files."""
    more = f" (frame 0; {answer.num_words} different answers over the frames)" if answer.num_words > 1 else ""
    lines = [f"text_output: {shown_words(answer.first)}{more}"]
    if not answer.masks:
        return [*lines, NOT_ASKED if answer.first.status == "not_asked" else NO_SEG]
    for number, (folder, one) in enumerate(answer.masks):
        if one.frames:
            share = 100 * one.share / one.frames
            found = f"in {one.frames} of {answer.num_frames} frames, {share:.1f} % of the picture there"
            found += f", out of sight in {one.hidden}" if one.hidden else ""
        elif one.rejected:
            found = REJECTED
        elif one.hidden == answer.num_frames:
            found = "absent: the mask decoder says that it is in no frame"
        else:
            found = "empty: the model drew nothing in any frame"
        lines.append(f"mask {number}: {found}: {folder}")
    return [*lines, f"film: {answer.film}", f"strip: {answer.strip}"]
