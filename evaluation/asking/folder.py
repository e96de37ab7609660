"""One question about every picture and film below a folder: masks, overlays and a JSON for each, whole or not at all.

    OUT/question.json                      what was asked, and of which weights in which precision
    OUT/a/cup.jpg/answer.json              about FOLDER/a/cup.jpg: the words, the status, and of each mask its file and numbers
    OUT/a/cup.jpg/cup_mask_0.png ...       and whatever else chat writes about it (`chat_answer.py`, `chat_video.py`)
    OUT/answers.json                       all of them in one file, also what is broken and why

What is answered already is not asked again, so that a run which was stopped goes on.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.dataset.faults import Broken, blamed, of_no_data_set
from seglm.dataset.given import is_video, sample_of, sample_of_video
from seglm.dataset.readers.video import ENDINGS, FILMS, open_video
from seglm.evaluation.asking.chat_answer import write_masks
from seglm.evaluation.asking.chat_video import save_video
from seglm.evaluation.asking.question import check_question, longest, predict_frames
from seglm.model.quantize import bits_of
from seglm.utils import lock
from seglm.utils.atomic import write_atomic, write_folder
from seglm.utils.folders import check_new, check_writable
from seglm.utils.prediction import FramePrediction, Segment

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter

QUESTION, ANSWER, ALL = "question.json", "answer.json", "answers.json"
TAKEN = (*ENDINGS, *FILMS, ".tif", ".tiff")
Json = dict[str, Any]


def predict_folder(
    model: Segmenter,
    folder: Path,
    text: str,
    out: Path,
    *,
    max_new_tokens: int | None = None,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> list[Json]:
    """What `answers.json` holds: an answer for each file, in their order; one that is broken has `error` and nothing else.

    progress: goes through the files, to show a bar. max_new_tokens: see `longest`.
    Raises ValueError if `out` holds answers to another question or anything else, or another process writes it,
    FileNotFoundError for no folder; a KeyboardInterrupt says what is kept.
    """
    check_question(text)
    files = files_below(folder)
    if any(out.resolve().is_relative_to(place.resolve()) for place, _ in _walk(folder)):
        raise ValueError(f"{out} lies in {folder}, and would be asked about next time; give another folder")
    most = longest(model.recipe, max_new_tokens)
    how = {
        "recipe": model.recipe.name,
        "precision": model.recipe.engine.precision,
        "bits": bits_of(model),
    }
    check_writable(out, "the folder for answers")
    mine = out.absolute().with_name(f".{out.absolute().name}.lock")
    mine.parent.mkdir(parents=True, exist_ok=True)
    if who := lock.take(mine):
        raise ValueError(f"{out}: {who} answers into this folder; wait for its end, or give another folder")
    told: list[Json] = []
    try:
        _claim(out, {"text": text, "max_new_tokens": most, "weights": _fingerprint(model), **how})
        for file in progress(files):
            told.append(_told_about(model, folder, file, text, out, most))
        write_atomic(out / ALL, json.dumps(told, indent=1) + "\n")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{len(told)} of {len(files)} files are answered in {out}; the same command goes on"
        ) from None
    finally:
        lock.free(mine)
    return told


def files_below(folder: Path) -> list[str]:
    """Pictures and films at any depth, also behind links, as paths from the folder, sorted; what is hidden is left out.

    Raises FileNotFoundError if it is no folder, ValueError if there is none in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    files = [file for file in _below(folder) if _is_taken(file)]
    if not files:
        raise ValueError(f"{folder}: no picture and no film in it; taken are {', '.join(TAKEN)}")
    return files


def others_below(folder: Path) -> list[str]:
    """The other files, which are not asked about because of their endings."""
    return [file for file in _below(folder) if not _is_taken(file)]


def _below(folder: Path) -> list[str]:
    return sorted(
        (place / name).relative_to(folder).as_posix() for place, names in _walk(folder) for name in names
    )


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder with its files, no folder twice: a link may lead in a circle, or to what is below `folder` anyway."""
    seen, starts = set[str](), [folder]
    while starts:
        for name, folders, files in os.walk(starts.pop(0)):
            place, real = Path(name), os.path.realpath(name)
            folders[:] = [] if real in seen else sorted(one for one in folders if not one.startswith("."))
            if real not in seen:
                seen.add(real)
                starts += [place / one for one in folders if (place / one).is_symlink()]
                yield place, [one for one in files if not one.startswith(".")]


def _is_taken(file: str) -> bool:
    return Path(file).suffix.lower() in TAKEN


def _claim(out: Path, question: Json) -> None:
    """Writes down whose answers the folder holds, or compares with what stands there."""
    file = out / QUESTION
    if not file.is_file():
        check_new(out, "the folder for answers")
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(question, indent=1) + "\n")
    elif (before := _read(file)) != question:
        other = [f"{name}={before.get(name)!r}, now {value!r}" for name, value in question.items()]
        told = "; ".join(
            line for line, name in zip(other, question, strict=True) if before.get(name) != question[name]
        )
        raise ValueError(
            f"{out} holds answers to another question ({told}); give another folder, or remove it"
        )


def _fingerprint(model: Segmenter) -> str:
    """Of what every system of this kind trains: the projection."""
    import numpy as np

    weights = (value.detach().float().cpu().numpy() for value in model.project.state_dict().values())
    return f"{zlib.crc32(b''.join(np.ascontiguousarray(one).tobytes() for one in weights)):08x}"


def _told_about(model: Segmenter, folder: Path, file: str, text: str, out: Path, max_new_tokens: int) -> Json:
    """The answer that is there about the file as it is now, or a new one, or what is wrong with the file."""
    about, home = folder / file, out / file
    try:
        with of_no_data_set(), blamed(str(about), about):
            source = _source(about)
        answer = _read(home / ANSWER) if (home / ANSWER).is_file() else None
        if answer and answer["source"] == source:
            return answer
        return _answered(model, about, text, home, max_new_tokens, {"file": file, "source": source})
    except Broken as error:
        return {"file": file, "error": " ".join(str(error).split())}
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        told = f"{about}: its name is too long for those of the masks in {out}; give it a shorter one"
        return {"file": file, "error": told}


def _answered(
    model: Segmenter, about: Path, text: str, home: Path, max_new_tokens: int, answer: Json
) -> Json:
    """Asks, writes the folder `home`, and returns `answer` with all that was said. Raises Broken."""

    def fill(fresh: Path) -> None:
        with of_no_data_set():
            with blamed(str(about), about):
                film = is_video(about)
            video = open_video(about, str(about)) if film else None
            sample = sample_of(about) if video is None else sample_of_video(video, str(about))
        frames = predict_frames(model, sample, text, max_new_tokens=max_new_tokens)
        if video is None:
            [said] = frames
            names = write_masks(said, sample.frame(0), about.stem, fresh)
            answer.update(_told(said, names))
        else:
            seen: list[FramePrediction] = []
            saved = save_video(_kept(frames, seen), video, sample.frame, about.stem, fresh)
            names = [place.name for place, _ in saved.masks]
            answer["frames"] = [{"frame": video.names[one.frame], **_told(one, names)} for one in seen]
        write_atomic(fresh / ANSWER, json.dumps(answer, indent=1) + "\n")

    home.parent.mkdir(parents=True, exist_ok=True)
    write_folder(home, fill)
    return answer


def _kept(frames: Iterator[FramePrediction], seen: list[FramePrediction]) -> Iterator[FramePrediction]:
    for one in frames:
        seen.append(one)
        yield one


def _told(said: FramePrediction, names: Sequence[str]) -> Json:
    masks = [_numbers(segment, name) for segment, name in zip(said.segments, names, strict=False)]
    cut = {"is_cut": True} if said.is_cut else {}
    return {"text": said.text, "status": said.status, **cut, "size": list(said.size), "masks": masks}


def _numbers(segment: Segment, name: str) -> Json:
    more = {"is_there": segment.is_there, "phrase": segment.phrase, "keyword": segment.keyword}
    return {
        "mask": name,
        "pixels": int(segment.mask.sum()),
        "estimated_iou": round(segment.score, 4),
        "is_rejected": segment.is_rejected,
        **{key: value for key, value in more.items() if value not in (None, "")},
    }


def _source(file: Path) -> list[int]:
    """By which a file is known that was changed since."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


def _read(file: Path) -> Json:
    try:
        found: Json = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: damaged ({error}); remove it") from error
    return found
