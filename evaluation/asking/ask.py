"""Questions to a model: samples in, answers out, frame by frame. Evaluation, chat and the controls of a score go through here.

Letters: H W original pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING

from seglm.dataset.collate import collate
from seglm.dataset.pipeline import example, picture, shown, truth
from seglm.dataset.pixels import decoder_pixels
from seglm.model.recipe import Protocol, Recipe
from seglm.utils.answers import Answer, Drawn, Spoken, status_of
from seglm.utils.types import Clip, Dialogue, Example, Piece, Sample, Script, Slot, Turn, Window

if TYPE_CHECKING:
    import torch

    from seglm.model.draw import Asked
    from seglm.model.segmenter import Segmenter

Asker = Callable[[Sequence[Sample]], Iterator[Drawn]]
"""Some samples -> their frames one after the other, each with one Answer a target. A model is one, a control is another."""

MASK_WORDS = re.compile(
    r"\b(segment\w*|masks?|masked|outlin\w*|highlight\w*|locali[sz]\w*|silhouettes?|cut out|contours?)\b",
    re.IGNORECASE,
)
"""words by which a typed question is taken to ask for a mask; LISA's training questions for one have one of the first two"""
SEEN_AT_ONCE = 8
"""frames that the LLM is shown in one call; a walk that shows more takes several, so that memory does not grow with a video"""
NOTHING_SHOWN = Window((), ())
"""of a conversation in words alone"""
FORCED_END = "."
"""what follows the slot in a forced answer: LISA's validation writes "[SEG]." (utils/dataset.py:437-452 at 3cb2d43)"""


def asker(
    model: Segmenter,
    *,
    protocol: Protocol,
    max_new_tokens: int,
    sees: Callable[[Sample], Sample] = lambda sample: sample,
) -> Asker:
    """The model as a thing that is asked the questions of its recipe.

    `generate`: the model writes its answer, and a target whose answer has no slot gets no mask. `forced`: the answer is given,
    one slot, as in the released code's validation; whether the model would have written it is not measured.
    sees: what the LLM is shown instead of a sample; masks are drawn in the sample itself.
    """
    says = _given if protocol == "forced" else _open
    rejects = model.recipe.reject_token

    def ask_all(samples: Sequence[Sample]) -> Iterator[Drawn]:
        samples = _remembering(samples)
        for own in _windows(model.recipe, samples):
            asked = [says(sees(samples[number]), window, model.recipe) for number, window in own]
            said = speak(model, asked, max_new_tokens=max_new_tokens)
            by_target = [_by_target(*pair, rejects=rejects) for pair in zip(asked, said, strict=True)]
            yield from _draw(model, samples, own, by_target)

    return ask_all


def ask(
    model: Segmenter,
    sample: Sample,
    text: str,
    *,
    max_new_tokens: int,
    history: Sequence[tuple[str, str]] = (),
) -> Iterator[Drawn]:
    """One typed question about a picture or a video, or about nothing that is shown; every frame has one answer.

    history: (question, answer) of the turns before it, about the same picture or video.
    The answer's `status` tells the two ways to get no mask apart: `no_seg_token`, the question speaks of one in English and the
    model answered in words only, and `not_asked`, whether it asks for one is not known.
    """
    samples = _remembering([sample])
    for own in _windows(model.recipe, samples) if sample.num_frames else [[(0, NOTHING_SHOWN)]]:
        asked = [_typed(samples[0], window, text, history, model.recipe) for _, window in own]
        said = [spoken for [spoken] in speak(model, asked, max_new_tokens=max_new_tokens)]
        if not sample.num_frames:  # a slot without a picture is a word like any other
            said = [replace(one, tokens=(), prompts=(), keywords=(), status="no_seg_token") for one in said]
        if not asks_for_mask(text):
            said = [one if one.tokens else replace(one, status="not_asked") for one in said]
        if not sample.num_frames:
            yield Drawn(0, 0, tuple(map(Answer, said)))
        yield from _draw(model, samples, own, [[one] for one in said])


def asks_for_mask(text: str) -> bool:
    """Whether a typed question speaks of a mask: it has one of MASK_WORDS."""
    return MASK_WORDS.search(text) is not None


def speak(
    model: Segmenter, asked: Sequence[tuple[Clip, Script]], *, max_new_tokens: int
) -> list[list[Spoken]]:
    """What the model says to every dialogue about every clip, in one batch.

    Open dialogues are continued; complete ones are read. All dialogues of a call are of one sort.
    Raises ValueError if they are not, or if a question is longer than `backbone.max_length`.
    """
    from seglm.model.speak import speak, speak_forced

    is_open = {not dialogue.turns[-1].answer for _, script in asked for dialogue in script}
    if len(is_open) != 1:
        raise ValueError(
            f"{[clip.key for clip, _ in asked]}: {'open and complete dialogues in one call' if is_open else 'no dialogue'}; "
            "ask them apart"
        )
    batch = collate(
        [_example(model, *pair) for pair in asked], share_prefix=model.recipe.engine.share_prefix
    ).to(device_of(model))
    with _evaluating(model):
        flat = (
            speak(model, batch, max_new_tokens=max_new_tokens)
            if is_open.pop()
            else speak_forced(model, batch)
        )
    rest = iter(flat)
    return [[next(rest) for _ in script] for _, script in asked]


def _remembering(samples: Sequence[Sample]) -> list[Sample]:
    """The same samples; frames that were just shown to the LLM are not decoded again to be drawn in."""
    kept = max(1, SEEN_AT_ONCE // len(samples))
    return [replace(one, frame=lru_cache(kept)(one.frame)) if one.num_frames > 1 else one for one in samples]


def _windows(recipe: Recipe, samples: Sequence[Sample]) -> Iterator[list[tuple[int, Window]]]:
    """What the LLM is asked at once: (number of the sample, window).

    The first windows of all samples, and behind them their second ones and so on as long as no more than SEEN_AT_ONCE frames are
    shown; then those that follow.
    """
    lot: list[tuple[int, Window]] = []
    for windows in zip_longest(*(recipe.walk(sample.num_frames) for sample in samples)):
        fresh = [(number, window) for number, window in enumerate(windows) if window is not None]
        if lot and sum(len(window.seen) for _, window in (*lot, *fresh)) > SEEN_AT_ONCE:
            yield lot
            lot = []
        lot += fresh
    if lot:
        yield lot


def _draw(
    model: Segmenter,
    samples: Sequence[Sample],
    own: Sequence[tuple[int, Window]],
    spoken: Sequence[Sequence[Spoken]],
) -> Iterator[Drawn]:
    """The frames that these windows ask for, with what was said in each."""
    from seglm.model.draw import draw

    places = [
        (number, frame, tuple(said))
        for (number, window), said in zip(own, spoken, strict=True)
        for frame in window.asked
    ]
    frames = (_asked(model, samples[number], frame, said) for number, frame, said in places)
    with _evaluating(model):
        for (number, frame, _), answers in zip(places, draw(model, frames), strict=True):
            yield Drawn(number, frame, answers)


def _asked(model: Segmenter, sample: Sample, frame: int, spoken: tuple[Spoken, ...]) -> Asked:
    import torch

    from seglm.model.draw import Asked

    pixels, resized = decoder_pixels(
        picture(sample, frame),
        model.decoder.image_size,
        mode=model.recipe.data.pixels,
        stretched=model.recipe.decoder.stretches,
    )
    return Asked(torch.from_numpy(pixels), resized, sample.size, spoken)


def _typed(
    sample: Sample, window: Window, text: str, history: Sequence[tuple[str, str]], recipe: Recipe
) -> tuple[Clip, Script]:
    """A dialogue whose last answer is left to the model. What is shown stands before its first question, as in training."""
    first, *later = (*(question for question, _ in history), text)
    start: tuple[Piece, ...] = (first,)
    if window.seen:
        start = (*recipe.shows(len(window.seen)), recipe.chat_prompt.format(text=first))
    questions: list[tuple[Piece, ...]] = [start, *((question,) for question in later)]
    answers = (*((answer,) for _, answer in history), ())
    return shown(sample, window.seen), (Dialogue(tuple(map(Turn, questions, answers))),)


def _open(sample: Sample, window: Window, recipe: Recipe) -> tuple[Clip, Script]:
    clip = shown(sample, window.seen)
    return clip, recipe.prompt(clip, recipe)


def _given(sample: Sample, window: Window, recipe: Recipe) -> tuple[Clip, Script]:
    clip = shown(sample, window.seen)
    if recipe.forced is None:
        return clip, filled_in(recipe.prompt(clip, recipe), recipe)
    # A system whose given answer depends on what is there (GSVA) asks about one frame at a time.
    true = tuple(truth(sample, target, window.asked[:1]) for target in sample.targets)
    return clip, recipe.forced(replace(clip, masks=true), recipe)


@contextmanager
def _evaluating(model: Segmenter) -> Iterator[None]:
    """Inside, the model does not train."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def filled_in(script: Script, recipe: Recipe) -> Script:
    """The same questions with the answer filled in: one slot for each target asked for."""

    def fill(dialogue: Dialogue) -> Dialogue:
        slots = tuple(Slot(recipe.seg_token, target, ()) for target in dialogue.targets)
        last = replace(dialogue.turns[-1], answer=(*slots, FORCED_END))
        return replace(dialogue, turns=(*dialogue.turns[:-1], last))

    return tuple(fill(dialogue) for dialogue in script)


def device_of(model: Segmenter) -> torch.device:
    """Where the model's weights lie."""
    device: torch.device = model.backbone.device
    return device


def _example(model: Segmenter, clip: Clip, script: Script) -> Example:
    branches = model.encoder.encode_script(script, key=clip.key, size=clip.size)
    limit = model.encoder.max_length
    if too_long := [length for branch in branches if (length := model.encoder.length(branch)) > limit]:
        raise ValueError(
            f"{clip.key}: a question of {too_long[0]} tokens, the image included; at most {limit} fit "
            f"(--model_max_length {too_long[0]} or more)"
        )
    return example(
        clip,
        branches,
        script,
        vision_size=model.backbone.vision_size,
        decoder_size=model.decoder.image_size,
        pixels=model.recipe.data.pixels,
        stretched=model.recipe.decoder.stretches,
        look=model.recipe.look,
    )


def _by_target(asked: tuple[Clip, Script], said: Sequence[Spoken], *, rejects: str) -> list[Spoken]:
    """What was said to dialogues -> to targets. A dialogue that asks for several gives its k-th slot to the k-th."""
    clip, script = asked
    found: dict[int, Spoken] = {}
    for dialogue, spoken in zip(script, said, strict=True):
        for place, target in enumerate(dialogue.targets):
            found[target] = spoken if len(dialogue.targets) == 1 else _slot(spoken, place, rejects=rejects)
    missing = [number for number in range(len(clip.targets)) if number not in found]
    if missing:
        raise RuntimeError(f"{clip.key}: the recipe's `prompt` asks for no dialogue about targets {missing}")
    return [found[number] for number in range(len(clip.targets))]


def _slot(spoken: Spoken, place: int, *, rejects: str) -> Spoken:
    only = slice(place, place + 1)
    tokens = spoken.tokens[only]
    return replace(
        spoken,
        prompts=spoken.prompts[only],
        tokens=tokens,
        keywords=spoken.keywords[only],
        status=status_of(tokens, rejects),
    )
