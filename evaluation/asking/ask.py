"""Questions to a model: samples in, answers out, frame by frame. Evaluation, chat and the controls of a score go through here.

Letters: H W original pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from seglm.dataset.collate import collate
from seglm.dataset.pipeline import example, shown, truth
from seglm.evaluation.asking.sight import SEEN, Seeing, Sight
from seglm.evaluation.asking.turns import Answered, Seat, Walk, lots, told
from seglm.evaluation.asking.walks import evaluating, walked
from seglm.model.recipe import Recipe
from seglm.model.settings import Protocol
from seglm.utils.answers import Answer, Drawn, Spoken, Status, status_of
from seglm.utils.types import Clip, Dialogue, Example, Sample, Script, Slot, Turn, Window

if TYPE_CHECKING:
    import torch

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
FORCED_END = "."
"""what follows the slot in a forced answer: LISA's validation writes "[SEG]." (utils/dataset.py:437-452 at 3cb2d43)"""


def asker(
    model: Segmenter,
    *,
    protocol: Protocol,
    max_new_tokens: int,
    sees: Callable[[Sample], Sample] = lambda sample: sample,
    walk: Walk | None = None,
) -> Asker:
    """The model as a thing that is asked the questions of its recipe.

    `generate`: the model writes its answer, and a target whose answer has no slot gets no mask. `forced`: the answer is given,
    one slot, as in the released code's validation; whether the model would have written it is not measured.
    sees: what the LLM is shown instead of a sample; masks are drawn in the sample itself. walk: None takes the recipe's.
    """
    says = _given if protocol == "forced" else _open
    rejects = model.recipe.reject_token

    def ask_all(samples: Sequence[Sample]) -> Iterator[Drawn]:
        samples, goes = _remembering(samples), walk or model.recipe.walk
        sight = Sight(model, samples, goes)

        def say(seats: Sequence[tuple[Seat, Answered]]) -> list[list[Spoken]]:
            asked = [
                says(sees(samples[seat.sample]), seat.window, before, model.recipe) for seat, before in seats
            ]
            said = speak(model, asked, max_new_tokens=max_new_tokens, sight=sight.on(seats))
            return [_by_target(*pair, rejects=rejects) for pair in zip(asked, said, strict=True)]

        yield from walked(model, samples, told(lots(goes, samples, most=SEEN_AT_ONCE), say))

    return ask_all


def ask(
    model: Segmenter,
    sample: Sample,
    text: str,
    *,
    max_new_tokens: int,
    history: Sequence[tuple[str, str]] = (),
    walk: Walk | None = None,
) -> Iterator[Drawn]:
    """One typed question about a picture or a video, or about nothing that is shown; every frame has one answer.

    history: (question, answer) of the turns before it, about the same picture or video. walk: None takes the recipe's.
    The answer's `status` tells the two ways to get no mask apart: `no_seg_token`, the question speaks of one in English and the
    model answered in words only, and `not_asked`, whether it asks for one is not known.
    """
    if not sample.num_frames:
        yield Drawn(0, 0, (_in_words(model, sample, text, history, max_new_tokens),))
        return
    samples, goes = _remembering([sample]), walk or model.recipe.walk
    sight = Sight(model, samples, goes)

    def say(seats: Sequence[tuple[Seat, Answered]]) -> list[list[Spoken]]:
        asked = [
            _typed(samples[0], seat.window, before, text, history, model.recipe) for seat, before in seats
        ]
        said = speak(model, asked, max_new_tokens=max_new_tokens, sight=sight.on(seats))
        if asks_for_mask(text):
            return said
        return [[one if one.tokens else replace(one, status="not_asked")] for [one] in said]

    yield from walked(model, samples, told(lots(goes, samples, most=SEEN_AT_ONCE), say))


def _in_words(
    model: Segmenter, sample: Sample, text: str, history: Sequence[tuple[str, str]], max_new_tokens: int
) -> Answer:
    """A conversation about nothing that is shown; a slot is a word like any other."""
    turns = (*(Turn((question,), (answer,)) for question, answer in history), Turn((text,)))
    clip = Clip(sample.key, sample.size, (), ())
    [[said]] = speak(model, [(clip, (Dialogue(turns),))], max_new_tokens=max_new_tokens)
    status: Status = "no_seg_token" if asks_for_mask(text) else "not_asked"
    return Answer(replace(said, tokens=(), prompts=(), keywords=(), status=status))


def asks_for_mask(text: str) -> bool:
    """Whether a typed question speaks of a mask: it has one of MASK_WORDS."""
    return MASK_WORDS.search(text) is not None


def speak(
    model: Segmenter,
    asked: Sequence[tuple[Clip, Script]],
    *,
    max_new_tokens: int,
    sight: Seeing | None = None,
) -> list[list[Spoken]]:
    """What the model says to every dialogue about every clip, in one batch.

    Open dialogues are continued; complete ones are read. All dialogues of a call are of one sort.
    sight: gives what the vision tower makes of the clips' frames, where it has seen some of them before.
    Raises ValueError if they are not, or if a question is longer than `backbone.max_length`.
    """
    from seglm.model.speak import speak, speak_forced

    is_open = {not dialogue.turns[-1].answer for _, script in asked for dialogue in script}
    if len(is_open) != 1:
        raise ValueError(
            f"{[clip.key for clip, _ in asked]}: {'open and complete dialogues in one call' if is_open else 'no dialogue'}; "
            "ask them apart"
        )
    clips = [clip for clip, _ in asked]
    examples = [_example(model, *pair, is_seen=sight is not None) for pair in asked]
    batch = collate(examples, share_prefix=model.recipe.engine.share_prefix).to(device_of(model))
    with evaluating(model):
        if sight is not None:
            batch = replace(batch, vision=sight(clips))
        flat = (
            speak(model, batch, max_new_tokens=max_new_tokens)
            if is_open.pop()
            else speak_forced(model, batch)
        )
    rest = iter(flat)
    return [[_whole(next(rest), dialogue) for dialogue in script] for _, script in asked]


def _remembering(samples: Sequence[Sample]) -> list[Sample]:
    """The same samples; frames that were just shown to the LLM are not decoded again to be drawn in."""
    kept = max(1, SEEN_AT_ONCE // len(samples))
    return [replace(one, frame=lru_cache(kept)(one.frame)) if one.num_frames > 1 else one for one in samples]


def _whole(spoken: Spoken, dialogue: Dialogue) -> Spoken:
    """With what was put into the model's mouth."""
    return replace(spoken, text=dialogue.begun + spoken.text) if dialogue.begun else spoken


def _shown(sample: Sample, window: Window, before: Answered) -> Clip:
    return replace(shown(sample, window.seen), answered=before)


def _typed(
    sample: Sample,
    window: Window,
    before: Answered,
    text: str,
    history: Sequence[tuple[str, str]],
    recipe: Recipe,
) -> tuple[Clip, Script]:
    clip = _shown(sample, window, before)
    return clip, (recipe.typed(clip, text, history, recipe),)


def _open(sample: Sample, window: Window, before: Answered, recipe: Recipe) -> tuple[Clip, Script]:
    clip = _shown(sample, window, before)
    return clip, recipe.prompt(clip, recipe)


def _given(sample: Sample, window: Window, before: Answered, recipe: Recipe) -> tuple[Clip, Script]:
    clip = _shown(sample, window, before)
    if recipe.forced is None:
        return clip, filled_in(recipe.prompt(clip, recipe), recipe)
    # A system whose given answer depends on what is there (GSVA) asks about one frame at a time.
    true = tuple(truth(sample, target, window.asked[:1]) for target in sample.targets)
    return clip, recipe.forced(replace(clip, masks=true), recipe)


def filled_in(script: Script, recipe: Recipe) -> Script:
    """The same questions with the answer filled in: one slot for each target asked for."""

    def fill(dialogue: Dialogue) -> Dialogue:
        token = recipe.score_token or recipe.seg_token
        slots = tuple(Slot(token, target, ()) for target in dialogue.targets)
        last = replace(dialogue.turns[-1], answer=(*slots, FORCED_END))
        return replace(dialogue, turns=(*dialogue.turns[:-1], last))

    return tuple(fill(dialogue) for dialogue in script)


def device_of(model: Segmenter) -> torch.device:
    """Where the model's weights lie."""
    device: torch.device = model.backbone.device
    return device


def _example(model: Segmenter, clip: Clip, script: Script, *, is_seen: bool = False) -> Example:
    """is_seen: the vision tower needs no pixels of it."""
    branches = model.encoder.encode_script(script, key=clip.key, size=clip.size)
    limit = model.encoder.max_length
    if too_long := [length for branch in branches if (length := model.encoder.length(branch)) > limit]:
        raise ValueError(
            f"{clip.key}: a question of {too_long[0]} tokens, the image included; at most {limit} fit "
            f"(--model_max_length {too_long[0]} or more of chat.py, max_length of seglm.load)"
        )
    return example(
        replace(clip, seen=(SEEN,) * len(clip.seen)) if is_seen else clip,
        branches,
        script,
        vision_size=len(SEEN) if is_seen else model.backbone.vision_size,
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
        values=spoken.values[only],
        status=status_of(tokens, rejects),
    )
