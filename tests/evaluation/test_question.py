"""`model.predict`: one call, the masks that evaluation scores, and a dialogue that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import seglm
from seglm.dataset.given import sample_of
from seglm.dataset.pipeline import shown
from seglm.evaluation.asking.ask import asker
from seglm.evaluation.asking.predict_forward import history_of, written
from seglm.evaluation.asking.question import MAX_NEW_TOKENS, longest, predict, predict_frames
from seglm.evaluation.scores.first_mask import mask_of
from seglm.hf import SegLMConfig, SegLMModel
from seglm.model.backbones import templates
from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.decoders.sam2 import Sam2
from seglm.model.recipes import recipe as named
from seglm.model.segmenter import Segmenter
from seglm.utils.batch import Batch
from tests.evaluation.fakes import HEIGHT, WIDTH, FakeSource
from tests.house.tree import ROOT
from tests.tiny import tiny_model, tiny_recipe
from tests.tiny_sam2 import SAM2_0, SIDE

RECIPES = ["lisa_7b", "gsva_7b", "keyseg_7b", "videolisa_3_8b", "glus_s", "sa2va_tiny", "desa2va_tiny"]
FILM = np.random.default_rng(3).integers(0, 256, (5, HEIGHT, WIDTH, 3), np.uint8)


def talkative(name: str = "lisa_7b") -> Segmenter:
    """A model that writes slots: where their logits are above 0 they are the largest."""
    of = named(name)
    recipe = tiny_recipe("lisa_7b" if name.startswith("videolisa") else name, walk=of.walk, shows=of.shows)
    if isinstance(of.decoder, Sam2):
        recipe = replace(
            recipe, backbone=tiny_recipe().backbone, decoder=replace(of.decoder, image_size=SIDE)
        )
    model = tiny_model(recipe, decoder=asdict(SAM2_0) if isinstance(of.decoder, Sam2) else None)
    with torch.no_grad():
        for token in recipe.slot_tokens:
            model.backbone.llm.lm_head.weight[model.encoder.token_id(token)] *= 30
    return model


@pytest.mark.parametrize("name", RECIPES[:3])
def test_masks_are_those_that_evaluation_scores_for_the_same_question(name: str) -> None:
    """To the bit: the same dialogue goes the same way."""
    model, sample = talkative(name), FakeSource(1).sample(0)
    sample = replace(sample, targets=sample.targets[:1])
    [drawn] = asker(model, protocol="generate", max_new_tokens=12)([sample])
    [dialogue] = model.recipe.prompt(shown(sample, (0,)), model.recipe)
    asked = dialogue.turns[-1].question[-1]
    assert isinstance(asked, str)
    text = asked.removeprefix("\n")
    answer = predict(model, sample.frame(0), text, max_new_tokens=12)
    assert (answer.text, answer.segments != ()) == (drawn.answers[0].spoken.text, True)
    np.testing.assert_array_equal(answer.masks[0], mask_of(drawn.answers[0], sample.size))
    assert answer.scores.tolist() == pytest.approx(drawn.answers[0].scores)


@pytest.mark.parametrize("name", RECIPES)
def test_a_video_and_its_frames_one_by_one_are_the_same(name: str) -> None:
    model = talkative(name)
    whole = predict(model, FILM, "Segment it.", max_new_tokens=24)
    assert whole.is_video and [one.frame for one in whole.frames] == list(range(len(FILM)))
    assert whole.masks.shape[1:] == FILM.shape[:3] and whole.masks.shape[0] == whole.scores.shape[0] > 0
    apart = list(predict_frames(model, sample_of(FILM), "Segment it.", max_new_tokens=24))
    assert apart == list(whole.frames)
    np.testing.assert_array_equal(apart[2].masks, whole.masks[: len(apart[2].segments), 2])


def test_a_system_that_is_taught_its_slots_alone_stops_behind_the_first() -> None:
    """It never learnt where an answer ends, and each slot more would be one more mask through the whole video."""
    model = talkative("glus_s")
    one = predict(model, FILM, "Segment it.", max_new_tokens=1)
    assert predict(model, FILM, "Segment it.").frames == one.frames
    assert one.frames != predict(model, FILM, "Segment it.", max_new_tokens=24).frames
    assert (longest(named("glus_s")), longest(named("glus_s"), 7)) == (1, 7)
    assert longest(named("lisa_7b")) == longest(named("videolisa_3_8b")) == MAX_NEW_TOKENS


def test_an_answer_that_the_limit_cut_off_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model = talkative()
    assert predict(model, FILM[0], "Segment it.", max_new_tokens=6).is_cut
    slots_alone = talkative("glus_s")
    assert not predict(
        slots_alone, FILM[0], "Segment it.", max_new_tokens=6
    ).is_cut  # it never ends by itself
    monkeypatch.setattr(DialogueEncoder, "is_over", lambda self, ids: len(ids) == 6)
    assert not predict(model, FILM[0], "Segment it.", max_new_tokens=6).is_cut  # just within it
    assert not predict(model, FILM[0], "Segment it.", max_new_tokens=9).is_cut


def test_a_video_of_one_frame_is_a_video_with_the_picture_s_masks() -> None:
    model = talkative()
    film = predict(model, FILM[:1], "Segment it.", max_new_tokens=6)
    still = predict(model, FILM[0], "Segment it.", max_new_tokens=6)
    assert film.masks.shape[1] == 1 and film.frames == still.frames
    np.testing.assert_array_equal(film.masks[:, 0], still.masks)


def test_frames_come_one_by_one_and_are_decoded_as_they_come() -> None:
    taken: list[int] = []

    class Noted:
        num_frames, size, rate, names = 40, (HEIGHT, WIDTH), None, tuple(map(str, range(40)))

        def frame(self, index: int) -> np.ndarray:
            taken.append(index)
            return FILM[index % 5]

    frames = SegLMModel(SegLMConfig(), talkative()).predict_frames(Noted(), "Segment it.", max_new_tokens=2)  # type: ignore[arg-type]
    assert isinstance(frames, Iterator)
    assert next(frames).frame == 0 and len(set(taken)) <= 12
    assert [one.frame for one in frames] == list(range(1, 40)) and sorted(set(taken)) == list(range(40))


def test_a_second_question_reads_the_first_and_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    model, read = talkative(), list[str]()
    hidden = type(model.backbone).hidden

    def noted(self, batch: Batch, **more):  # type: ignore[no-untyped-def]
        read.append(model.encoder.decode(batch.ids[0].tolist()))
        return hidden(self, batch, **more)

    monkeypatch.setattr(type(model.backbone), "hidden", noted)
    first = predict(model, FILM[0], "Segment the ring.", max_new_tokens=4)
    second = predict(model, FILM[0], "And the cup?", history=first.history, max_new_tokens=4)
    assert second.history == (("Segment the ring.", first.text), ("And the cup?", second.text))
    assert "USER: And the cup? ASSISTANT:" in read[1] and "Segment the ring. ASSISTANT:" in read[1]
    assert read[1].index("Segment the ring.") < read[1].index("[SEG]") < read[1].index("And the cup?")
    third = predict(model, FILM[0], "Why?", history=[list(turn) for turn in second.history], max_new_tokens=2)  # type: ignore[arg-type]
    assert len(third.history) == 3
    assert predict(model, FILM[0], "Why?", history=None, max_new_tokens=2).history[:-1] == ()
    assert history_of(None, model.encoder.template) == []
    # An answer without a word is an answer.
    assert predict(model, FILM[0], "Why?", history=[("Where?", "")], max_new_tokens=2).history[0] == (
        "Where?",
        "",
    )


@pytest.mark.parametrize(
    "history, told",
    [
        ("Where?", r"history='Where\?'; permitted are \(question, answer\) pairs"),
        (["Where?", "There."], r"history=\['Where\?', 'There\.'\]; permitted are"),
        ([("Where?",)], "permitted are"),
        ([("", "There.")], "a question of the history is empty"),
    ],
)
def test_a_history_that_is_none_is_said(history: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        predict(talkative(), FILM[0], "Why?", history=history)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "about, text, told",
    [
        (FILM[0], "", "the question is empty; write a question"),
        (FILM[0], " \n", "the question is empty"),
        (FILM[0], ["Where?", "Why?"], "the question is a list; give a text, one question at a time"),
        (FILM[0], "l\ud800g", r"the question: half a character, U\+D800"),
        (FILM[0].astype(float), "Where?", "the picture is float64"),
        (
            [FILM[0], FILM[0][:5]],
            "Where?",
            r"the video: frame 1 cannot be decoded: it is of \(5, 32\), frame 0 of",
        ),
        (ROOT / "README.md", "Where?", "README.md"),
    ],
)
def test_what_cannot_be_asked_is_one_error_that_speaks_of_no_data_set(
    about: object, text: str, told: str
) -> None:
    with pytest.raises(ValueError, match=told) as ended:
        predict(tiny_model(), about, text, max_new_tokens=2)  # type: ignore[arg-type]
    assert "dataset.check" not in str(ended.value)


def test_weights_that_were_turned_by_hand_and_no_token_are_said() -> None:
    with pytest.raises(ValueError, match=r"turned into torch\.float16; load the model again with precision="):
        predict(tiny_model().half(), FILM[0], "Where?")
    with pytest.raises(ValueError, match="max_new_tokens=0; permitted are whole numbers from 1"):
        predict(tiny_model(), FILM[0], "Where?", max_new_tokens=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (3000, 2)])
def test_a_picture_of_any_size_has_masks_of_its_size(size: tuple[int, int]) -> None:
    answer = predict(talkative(), np.zeros((*size, 3), np.uint8), "Segment it.", max_new_tokens=4)
    assert answer.masks.shape == (len(answer.segments), *size) and answer.segments


MERGED = ROOT / "tests" / "goldens" / "49f5cfb" / "merged_lisa"


def test_a_loaded_model_answers_and_so_does_transformers_own_way() -> None:
    from transformers import AutoModel

    model = seglm.load(MERGED, device="cpu", precision="fp32")
    assert isinstance(model, SegLMModel) and not model.training
    picture = Image.open(ROOT / "imgs" / "toy_ring.png")
    answer = model.predict(picture, "Please segment the ring in this image.", max_new_tokens=4)
    again = AutoModel.from_pretrained(MERGED, device_map="auto").predict(
        picture, "Please segment the ring in this image.", max_new_tokens=4
    )
    assert answer == again and answer.text
    for one in ({"": "cpu"}, torch.device("cpu")):
        assert AutoModel.from_pretrained(MERGED, device_map=one).device.type == "cpu"


@pytest.mark.parametrize(
    "path, options, error, told",
    [
        ("./nowhere", {}, FileNotFoundError, "nowhere"),
        (MERGED, {"device": "cuda:7"}, ValueError, "device='cuda:7': this machine has cpu"),
        (MERGED, {"device": "gpu"}, ValueError, "device='gpu': this machine has cpu"),
        (MERGED, {"precision": "half"}, ValueError, "half"),
    ],
)
def test_what_cannot_be_loaded_is_said(path: Path, options: dict, error: type[Exception], told: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(error, match=told):
        seglm.load(path, **options)


def test_words_alone_are_answered_without_a_mask() -> None:
    answer = predict(talkative(), None, "Is a ring round?", max_new_tokens=6)
    assert answer.text and answer.masks.shape == (0, 0, 0) and answer.status == "not_asked"
    more = predict(talkative(), None, "Why?", history=answer.history, max_new_tokens=6)
    assert len(more.history) == 2


REGION = np.zeros((2, HEIGHT, WIDTH), bool)
REGION[0, 4:20, 4:12], REGION[1, 2:9, 16:30] = True, True


def test_a_region_is_shown_where_a_system_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, read = talkative("sa2va_tiny"), list[Batch]()
    hidden = type(model.backbone).hidden
    monkeypatch.setattr(
        type(model.backbone),
        "hidden",
        lambda self, batch, **more: read.append(batch) or hidden(self, batch, **more),
    )
    plain = predict(model, FILM[0], "What is region2?", max_new_tokens=4)
    found = predict(model, FILM[0], "What is region2?", regions=REGION, max_new_tokens=6)
    told = model.encoder.decode(read[1].ids[0].tolist())
    assert "There are 2 part regions in the picture: region1 <vp>" in told and "region2 <vp>" in told
    assert len(read[1].image_at) > len(read[0].image_at) and found.history[0][0] == plain.history[0][0]
    assert (
        call(model, image=FILM[0], text="<image>What is region2?", masks=REGION)["prediction"] == found.text
    )
    with pytest.raises(ValueError, match="regions: recipe lisa_7b is not taught to read any"):
        predict(talkative(), FILM[0], "What is region1?", regions=REGION)
    for wrong, told in {
        r"regions are of \[24, 32\]; permitted is bool \[R, 24, 32\]": REGION[0],
        r"regions are of \[2, 20, 32\]": REGION[:, :20],
        "regions are uint8, 0 to 255; permitted is bool, or 0 and 1": REGION.astype(np.uint8) * 255,
        "region2 has no pixel": REGION & np.array([True, False])[:, None, None],
    }.items():
        with pytest.raises(ValueError, match=wrong):
            predict(model, FILM[0], "What is region1?", regions=told)


# ---- Sa2VA's own call -----------------------------------------------------------------------------------------------
def call(model: Segmenter, *, masks: object = None, **given: object) -> dict[str, object]:
    whole = SegLMModel(SegLMConfig(), model)
    return whole.predict_forward(max_new_tokens=6, tokenizer=None, mask_prompts=masks, **given)


def test_sa2va_s_call_gives_its_dictionary() -> None:
    model, image = talkative(), Image.fromarray(FILM[0])
    want = predict(model, FILM[0], "Segment it.", max_new_tokens=6)
    found = call(model, image=image, text="<image>Segment it.", past_text="")
    assert found["prediction"] == want.text and len(found["prediction_masks"]) == len(want.segments) > 0  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.stack(found["prediction_masks"]), want.masks[:, None])  # type: ignore[call-overload]
    below = call(model, image=image, text="<image>\nSegment it.")
    assert below["past_text"] == found["past_text"]
    frames = [Image.fromarray(frame) for frame in FILM]
    film = call(model, video=frames, text="<image>Segment it.")
    assert {mask.shape for mask in film["prediction_masks"]} == {FILM.shape[:3]}  # type: ignore[attr-defined]
    words = call(model, text="Is a ring round?")
    assert words["prediction"] and words["prediction_masks"] == []


def test_its_past_text_goes_on_with_a_dialogue() -> None:
    model = talkative()
    first = call(model, image=FILM[0], text="<image>Segment it.")
    second = call(model, image=FILM[0], text="And the cup?", past_text=first["past_text"])
    want = predict(
        model, FILM[0], "And the cup?", history=[("Segment it.", str(first["prediction"]))], max_new_tokens=6
    )
    assert second["prediction"] == want.text
    np.testing.assert_array_equal(np.stack(second["prediction_masks"]), want.masks[:, None])  # type: ignore[call-overload]
    with pytest.raises(
        ValueError, match=r"past_text: turn 1 is not written as llava_v1 writes it \(\"A chat between"
    ):
        call(model, image=FILM[0], text="And?", past_text="<|im_start|>user\nSegment it.<|im_end|>")
    with pytest.raises(ValueError, match="image and video; a question is about one of them"):
        call(model, image=FILM[0], video=FILM, text="And?")


@pytest.mark.parametrize("name", sorted(templates._TEMPLATES))
def test_a_dialogue_comes_back_from_what_a_template_writes(name: str) -> None:
    history = (("Where is it?\nThere?", "It is [SEG]."), (" And the other", ""), ("Why?", "A. B"))
    of = templates.template(name)
    for is_shown in (True, False):
        assert tuple(history_of(written(history, of, is_shown=is_shown), of)) == history
    assert history_of("", of) == []
