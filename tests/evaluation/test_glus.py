"""GLUS on a video: every frame is asked in turn; nothing differs from one expression, one frame, one call after the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from seglm.dataset.collate import collate
from seglm.dataset.pipeline import example, shown
from seglm.evaluation.asking import ask as asking
from seglm.evaluation.asking.ask import ask, asker
from seglm.model.decoders.sam2 import Sam2
from seglm.model.recipes import recipe as named
from seglm.model.segmenter import Segmenter
from seglm.model.speak import speak
from seglm.model.systems.glus import AT_INFERENCE, BEGUN, DRAWN, NOT_DRAWN, frame_by_frame, newest_frame
from seglm.utils.types import Sample, Window
from tests.model.test_draw import SIZE, VIDEO
from tests.tiny import tiny_model, tiny_recipe
from tests.tiny_sam2 import SAM2_0, SIDE

LONG = replace(VIDEO, num_frames=9)


@cache
def model_of(seed: int = 0) -> Segmenter:
    base, glus = tiny_recipe(), named("glus_s")
    assert isinstance(glus.decoder, Sam2)
    recipe = replace(
        glus,
        backbone=replace(glus.backbone, pool="none"),  # type: ignore[call-arg]
        engine=base.engine,
        decoder=replace(glus.decoder, image_size=SIDE, memory=replace(AT_INFERENCE, stride=2)),
        trainable=replace(glus.trainable, lora=base.trainable.lora),
    )
    return tiny_model(recipe, seed=seed, decoder=asdict(SAM2_0))


def one_after_the_other(model: Segmenter, sample: Sample, number: int) -> list[tuple[str, Tensor | None]]:
    """The released order of work: for one expression each window is encoded, asked and drawn as if nothing were known of others
    but their words and the memory."""
    recipe, decoder = model.recipe, model.decoder
    one = replace(sample, targets=(sample.targets[number],))
    memory = decoder.remembering(recipe.decoder.memory)  # type: ignore[attr-defined]
    said: list[str] = []
    found: list[tuple[str, Tensor | None]] = []
    for window in recipe.walk(sample.num_frames):
        [at] = window.asked
        before = (tuple(said[at - window.repeats : at]),) if window.repeats else ()
        clip = replace(shown(one, window.seen), answered=before)
        script = recipe.prompt(clip, recipe)
        branches = model.encoder.encode_script(script, key="one")
        whole = example(
            clip, branches, script, vision_size=model.backbone.vision_size, decoder_size=SIDE, pixels="fast"
        )
        [spoken] = speak(model, collate([whole], share_prefix=False), max_new_tokens=1)
        said.append(BEGUN + spoken.text)
        mask = None
        if spoken.prompts:
            prompt = spoken.prompts[0]
            assert prompt is not None
            pixels = torch.from_numpy(np.ascontiguousarray(sample.frame(at))).permute(2, 0, 1)
            with torch.inference_mode():
                features = decoder.encode([pixels], [(SIDE, SIDE)])
                seen, memory = decoder.follow(features, prompt[None], memory, frame=at)  # type: ignore[attr-defined]
                low = seen.logits
                mask = model.restored(low, resized=(SIDE, SIDE), size=SIZE)[0, 0]
        found.append((said[-1], mask))
    return found


def writing(model: Segmenter, silent: frozenset[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The random model is made to write `[SEG]`, but in dialogues whose number of tokens modulo 7 is among `silent`."""
    slot, other = model.encoder.token_id("[SEG]"), 5
    real = model.backbone.hidden

    def hidden(batch, *, cache=None):  # type: ignore[no-untyped-def]
        states = real(batch, cache=cache)
        lengths = [int(batch.positions[laid.row, laid.last]) + 1 for laid in batch.laid]
        chosen.append(torch.tensor([other if length % 7 in silent else slot for length in lengths]))
        return states

    chosen: list[Tensor] = []

    def head(states: Tensor) -> Tensor:
        logits = torch.zeros(len(states), len(model.encoder.tokenizer))
        return logits.index_put((torch.arange(len(states)), chosen[-1][: len(states)]), torch.tensor(1.0))

    monkeypatch.setattr(model.backbone, "hidden", hidden)
    monkeypatch.setattr(model.backbone, "head", head)


@pytest.mark.parametrize(
    "silent", [(), (0, 3), range(7)], ids=["always drawn", "now and then", "never drawn"]
)
def test_all_expressions_at_once_are_each_alone(
    silent: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of()
    writing(model, frozenset(silent), monkeypatch)
    together = list(asker(model, protocol="generate", max_new_tokens=1)([LONG]))
    assert [one.frame for one in together] == list(range(LONG.num_frames))
    drew = 0
    for number in range(len(LONG.targets)):
        alone = one_after_the_other(model, LONG, number)
        for drawn, (text, mask) in zip(together, alone, strict=True):
            answer = drawn.answers[number]
            assert answer.spoken.text == text
            assert [own is None for own in answer.masks] == ([] if mask is None else [False])
            if mask is not None and answer.masks[0] is not None:
                drew += 1
                torch.testing.assert_close(answer.masks[0], mask, atol=1e-3, rtol=1e-3)
    most = LONG.num_frames * len(LONG.targets)
    assert drew == most if not silent else drew < most


def test_windows_are_asked_before_the_answers_they_repeat_and_every_frame_is_encoded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of()
    writing(model, frozenset(), monkeypatch)
    seen: Counter[str] = Counter()
    calls: list[int] = []
    speak_all, layer, encode = asking.speak, model.backbone.vision.embeddings, model.decoder.encode

    def counted(model: object, asked: object, **settings: object) -> object:
        calls.append(len(asked))  # type: ignore[arg-type]
        return speak_all(model, asked, **settings)  # type: ignore[arg-type]

    def encoded(frames: list[Tensor], resized: object) -> Tensor:
        seen["masks"] += len(frames)
        return encode(frames, resized)  # type: ignore[arg-type]

    monkeypatch.setattr(asking, "speak", counted)
    monkeypatch.setattr(model.decoder, "encode", encoded)
    handle = layer.register_forward_hook(lambda module, given, result: seen.update(words=len(result)))
    assert len(list(asker(model, protocol="generate", max_new_tokens=1)([LONG]))) == 9
    handle.remove()
    assert calls == [
        1,
        1,
        4,
        3,
    ]  # the first alone, for its answer is the next one's guess; two dialogues a window, eight at once
    assert seen["masks"] == 9
    context = {frame for window in frame_by_frame(9) for frame in window.seen[:4]}
    assert 9 <= seen["words"] <= 9 + len(context)  # a context frame before it is a query


@pytest.mark.parametrize("protocol", ["forced", "generate"])
def test_forced_answers_and_typed_questions_go_through_the_same_walk(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of()
    if protocol == "generate":
        writing(model, frozenset(), monkeypatch)
        drawn = list(ask(model, LONG, "Segment the ring.", max_new_tokens=1))
    else:
        drawn = list(asker(model, protocol="forced", max_new_tokens=1)([LONG]))
    assert [one.frame for one in drawn] == list(range(9))
    assert all(answer.masks[0] is not None for one in drawn for answer in one.answers)
    first = [one.answers[0].masks[0] for one in drawn]
    assert not any(torch.equal(left, right) for left, right in zip(first, first[1:], strict=False))  # type: ignore[arg-type]


def test_a_picture_is_a_video_of_one_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    writing(model, frozenset(), monkeypatch)
    [drawn] = asker(model, protocol="generate", max_new_tokens=1)([replace(VIDEO, num_frames=1)])
    assert [answer.masks[0] is not None for answer in drawn.answers] == [True, True]


def test_what_a_question_repeats_is_what_was_answered() -> None:
    recipe = named("glus_s")
    clip = replace(
        shown(LONG, range(7)),
        targets=LONG.targets[:1],
        answered=((DRAWN.removesuffix("."), f"{BEGUN}the"),),
    )
    [dialogue] = newest_frame(clip, recipe)
    assert [turn.answer for turn in dialogue.turns] == [(DRAWN,), (NOT_DRAWN,), ()]
    text = model_of().encoder.rendered(dialogue)
    assert text.count("<image>") == 7
    assert text.endswith("in this frame? ASSISTANT: Sure, the segmentation result is ")
    assert "<im_end>\nPlease finished the following tasks on the context frames above.\n<im_start>" in text


@pytest.mark.parametrize(
    ("num_frames", "context", "last"),
    [
        (1, (), (0,)),  # a picture, of which it knows nothing
        (4, (0, 1, 2, 3), (0, 1, 2, 3)),
        (9, (1, 3, 5, 7), (5, 6, 7, 8)),  # edges 0 2 4 6 9, the middle is ceil(9 / 4) // 2 behind each
        (40, (5, 15, 25, 35), (36, 37, 38, 39)),
    ],
)
def test_the_walk_is_the_originals(num_frames: int, context: tuple[int, ...], last: tuple[int, ...]) -> None:
    windows = list(frame_by_frame(num_frames))
    assert [window.asked for window in windows] == [(frame,) for frame in range(num_frames)]
    assert windows[-1] == Window((*context, *last), (num_frames - 1,), repeats=len(last) - 1)
    assert all(window.seen[: len(context)] == context for window in windows)
