"""Sa2VA as a recipe: what is shown, asked and said, what a batch trains, and folders in the layout of its release."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import interpolate

from seglm.dataset.collate import collate
from seglm.dataset.pipeline import example
from seglm.evaluation.asking.ask import ask, filled_in, speak
from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.backbones.internvl import InternVL
from seglm.model.build import assemble
from seglm.model.construct import construct
from seglm.model.decoders.sam2 import Sam2, Sam2Decoder
from seglm.model.decoders.sam2_step import step
from seglm.model.load import load
from seglm.model.merge import export
from seglm.model.names import canonical
from seglm.model.point_terms import PointDice, Points, at_points
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.released.identify import identify
from seglm.model.released.open import open_weights
from seglm.model.released.sa2va import load_sa2va, original_names, released_config, write_sa2va
from seglm.model.segmenter import Segmenter
from seglm.model.systems.sa2va import (
    CARRIED,
    OBJECTS,
    always_five,
    evenly,
    first_five,
    five_frames,
    frames_or_tiles,
    one_question_each,
    turn_by_turn,
)
from seglm.utils.types import Caption, Clip, Images, Phrase, Pointed, Region, Sample, Slot, Target, Window
from tests import tiny_internvl
from tests.tiny_sam2 import SAM2_0, SIDE, pictures, tiny_sam2, vectors

RECIPE = named("sa2va_1b")
RNG = np.random.default_rng


def target(*texts: str, is_sentence: bool = False) -> Target:
    return Target(texts, lambda frames: np.ones((len(frames), 8, 12), np.bool_), is_sentence=is_sentence)


def clip(*targets: Target, frames: int = 2, **changes: object) -> Clip:
    masks = RNG(0).random((len(targets), frames, 8, 12)) > 0.5
    made = Clip(
        key="toy|train/0",
        size=(8, 12),
        seen=RNG(0).integers(0, 256, (frames, 8, 12, 3), np.uint8),
        drawn=RNG(0).integers(0, 256, (frames, 8, 12, 3), np.uint8),
        targets=targets,
        masks=tuple(masks),
        drawn_at=tuple(range(frames)),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def tiny_recipe(*, keeps_original: bool = False) -> Recipe:
    engine = replace(
        RECIPE.engine, precision="fp32", attention="sdpa", gradient_checkpointing=False, workers=0
    )
    lora = replace(RECIPE.trainable.lora, r=2, alpha=4, dropout=0.0)
    terms = tuple(
        replace(term, points=Points(count=32)) if hasattr(term, "points") else term for term in RECIPE.terms
    )
    return replace(
        RECIPE,
        engine=engine,
        terms=terms,
        decoder=replace(RECIPE.decoder, image_size=SIDE, keeps_original=keeps_original),
        trainable=replace(RECIPE.trainable, lora=lora),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released Sa2VA, at tiny size."""
    place = tmp_path_factory.mktemp("released") / "Sa2VA-1B"
    write(place, tiny_recipe())
    return place


@pytest.fixture(scope="module")
def sam2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SAM-2 that no training has touched."""
    place = tmp_path_factory.mktemp("sam2")
    tensors = {f"decoder.{name}": value for name, value in tiny_sam2(SAM2_0).state_dict().items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, place / "model.safetensors")
    sizes = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(SAM2_0).items()}
    (place / "config.json").write_text(json.dumps(sizes))
    return place


def write(place: Path, recipe: Recipe) -> dict[str, Tensor]:
    """Random weights in the layout of the release; returns them under our names."""
    base = place.with_name(f"{place.name}-base")
    llm = InternVL(weights="").build(tiny_internvl.sizes_of(), attention="sdpa", precision="fp32")
    state = tiny_internvl.random_tensors(llm.state_dict())
    tensors = {canonical(f"backbone.{name}"): value for name, value in state.items()}
    tiny_internvl.write(base, tensors)
    checkpoint = open_weights(str(base))
    encoder = InternVL(weights="").encoder(checkpoint, recipe.vocabulary)
    wanted = len(encoder.tokenizer)
    for name in ("llm.embed_tokens.weight", "llm.lm_head.weight"):
        rows = torch.randn(wanted - len(tensors[name]), tensors[name].shape[1]) * 0.1
        tensors[name] = torch.cat([tensors[name], rows])
    sizes = replace(tiny_internvl.sizes_of(vocab_size=wanted), decoder=asdict(SAM2_0))
    model, _ = construct(recipe, sizes, encoder, lora=False)
    own = {
        canonical(name): value
        for name, value in model.state_dict().items()
        if not name.startswith("backbone.")
    }
    tensors |= tiny_internvl.random_tensors(own, seed=1)
    write_sa2va(place, tensors, recipe=recipe, sizes=sizes, tokenizer=encoder.tokenizer)
    return tensors


def trained(folder: Path) -> tuple[Segmenter, DialogueEncoder]:
    recipe = tiny_recipe()
    built = assemble(recipe, load_sa2va(folder))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in built.model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(0, 0.1, generator=generator)
    return built.model.train(), built.model.encoder


def batch_of(model: Segmenter, shown: Clip, script: tuple) -> object:  # type: ignore[type-arg]
    look, recipe = model.recipe.look, model.recipe
    branches = model.encoder.encode_script(script, key=shown.key, size=shown.size)
    made = example(
        shown,
        branches,
        script,
        vision_size=tiny_internvl.SIDE,
        decoder_size=SIDE,
        pixels="fast",
        stretched=recipe.decoder.stretches,
        look=look,
    )
    return collate([made])


# ---- what is shown and said -----------------------------------------------------------------------------------------
def test_five_frames_of_a_video_are_shown_in_order_and_drawn() -> None:
    chosen = five_frames(40, RNG(0))
    assert chosen.seen == chosen.drawn == tuple(sorted(set(chosen.seen))) and len(chosen.seen) == 5
    assert five_frames(3, RNG(0)).seen == (0, 1, 2)


@pytest.mark.parametrize(
    "walk, frames, seen, by_memory",
    [
        (evenly, 9, (0, 2, 4, 6, 8), (1, 3, 5, 7)),
        (first_five, 9, (0, 1, 2, 3, 4), (5, 6, 7, 8)),
        (evenly, 3, (0, 1, 2), ()),
        (evenly, 1, (0,), ()),
    ],
)
def test_five_frames_are_asked_for_and_the_others_drawn_by_memory(
    walk: Callable[[int], Iterator[Window]], frames: int, seen: tuple[int, ...], by_memory: tuple[int, ...]
) -> None:
    assert list(walk(frames)) == [Window(seen=seen, asked=seen, drawn=by_memory)]


def test_frames_stand_in_lines_and_a_still_in_tiles() -> None:
    assert frames_or_tiles(1) == (Images((0,), "fine"), "\n")
    assert frames_or_tiles(2) == (Images((0,)), "\n", Images((1,)))


def test_every_target_has_a_turn_of_one_dialogue_and_one_slot_for_all_frames() -> None:
    [dialogue] = turn_by_turn(clip(target("a dog"), target("a cat")), RNG(0), RECIPE)
    slots = [piece for turn in dialogue.turns for piece in turn.answer if isinstance(piece, Slot)]
    assert slots == [Slot("[SEG]", 0, (0, 1)), Slot("[SEG]", 1, (0, 1))] and dialogue.targets == (0, 1)
    assert dialogue.turns[0].question[:3] == (Images((0,)), "\n", Images((1,)))
    assert not any(isinstance(piece, Images) for piece in dialogue.turns[1].question)


def test_as_released_five_are_asked_for_whatever_there_is() -> None:
    [dialogue] = always_five(clip(target("a dog"), target("a cat")), RNG(0), RECIPE)
    assert len(dialogue.turns) == len(dialogue.targets) == OBJECTS and set(dialogue.targets) == {0, 1}


def test_a_caption_is_said_with_a_slot_behind_each_phrase() -> None:
    told = Caption("A dog sees a cat.", (Phrase(0, 5, 0), Phrase(11, 16, 1)))
    [dialogue] = turn_by_turn(clip(target("x"), target("y"), frames=1, caption=told), RNG(0), RECIPE)
    assert dialogue.turns[0].answer == (
        "<p> A dog </p> ",
        Slot("[SEG]", 0, (0,)),
        " sees <p> a cat </p> ",
        Slot("[SEG]", 1, (0,)),
        ".",
    )


def test_a_region_is_shown_by_its_own_patches(folder: Path) -> None:
    mask = np.zeros((8, 12), np.bool_)
    mask[:, 6:] = True
    dot = np.zeros_like(mask)
    dot[3, 3] = True  # holds the first pixel of no patch
    regions = (Region(lambda frames: mask[None], ("A dog.",)), Region(lambda frames: dot[None]))
    shown = clip(frames=1, regions=regions, pointed=(mask[None], dot[None]))
    [dialogue] = turn_by_turn(shown, RNG(0), RECIPE)
    assert [piece.mask.sum() for piece in dialogue.turns[0].question if isinstance(piece, Pointed)] == [48, 1]
    encoder = InternVL(weights="").encoder(load_sa2va(folder), RECIPE.vocabulary)
    [branch] = encoder.encode_script((dialogue,), key="k", size=(8, 12))
    # 2 x 2 patches: the right half, and the one in which the dot lies
    assert branch.patch[branch.frame >= 0].tolist()[-3:] == [1, 3, 0]
    text = encoder.decode(branch.ids.tolist())
    assert "There are 2 part regions in the picture: region1<vp></vp>, region2<vp></vp>.\n" in text


# ---- what is learnt -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["masks", "words", "words alone"])
def test_every_batch_touches_every_trainable_weight(kind: str, folder: Path) -> None:
    model, _ = trained(folder)
    if kind == "masks":
        shown = clip(target("a dog"), target("a cat"))
    else:
        shown = replace(clip(frames=0 if kind == "words alone" else 1), turns=(("What is it?", "A dog."),))
    output = model(batch_of(model, shown, turn_by_turn(shown, RNG(0), RECIPE)))
    output.loss.backward()
    untouched = [
        name for name, value in model.named_parameters() if value.requires_grad and value.grad is None
    ]
    assert untouched == []
    assert output.parts["bce"].count == (4 if kind == "masks" else 0)


def test_no_picture_is_encoded_for_a_batch_in_words(folder: Path) -> None:
    model, _ = trained(folder)
    seen: list[int] = []
    model.decoder.image_encoder.register_forward_hook(lambda module, given, result: seen.append(1))
    shown = replace(clip(frames=1), turns=(("What is it?", "A dog."),))
    model(batch_of(model, shown, turn_by_turn(shown, RNG(0), RECIPE)))
    assert not seen


def test_points_lie_where_the_mask_is_unsure() -> None:
    torch.manual_seed(0)
    logits = torch.full((2, 16, 16), 9.0)
    logits[:, :, 8] = 0.0  # unsure in one column
    points = Points(count=400).chosen(logits)
    assert points.shape == (2, 400, 2) and 0 <= points.min() and points.max() <= 1
    unsure = at_points(logits, points).abs() < 9
    # a tenth of the picture is near the column; three quarters of the points are the least sure third of all drawn
    assert unsure.float().mean() > 0.25


def test_dice_of_points_counts_by_hand() -> None:
    logits = torch.tensor([[20.0, 20.0, -20.0, -20.0]])
    truth = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    # one minus three fifths
    torch.testing.assert_close(PointDice(0.5).each(logits, truth, None), torch.tensor([0.4]))


def test_a_decoder_that_pads_is_refused() -> None:
    recipe = replace(RECIPE, decoder=replace(RECIPE.decoder, stretches=False))
    with pytest.raises(ValueError, match=r"terms.bce compares masks on.*decoder.stretches=true"):
        recipe.terms[1].check(recipe)


# ---- videos ---------------------------------------------------------------------------------------------------------
def test_masks_of_the_trained_decoder_are_carried_by_the_one_that_was_kept() -> None:
    decoder = Sam2(image_size=SIDE, best_of_several=True, keeps_original=True).build(asdict(SAM2_0)).eval()
    assert isinstance(decoder, Sam2Decoder)
    plain = tiny_sam2(SAM2_0)
    state = plain.state_dict()
    state |= {
        name.replace("mask_decoder.", "original_mask_decoder.", 1): value
        for name, value in plain.state_dict().items()
        if name.startswith("mask_decoder.")
    }
    decoder.load_state_dict(state)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():  # training, conv_s0 and conv_s1 of a release among it
        for parameter in decoder.mask_decoder.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    frames = [(SIDE, SIDE)] * 3
    features, own = decoder.encode(pictures(3), frames), plain.encode(pictures(3), frames)
    prompts = vectors(2).sparse
    memory, kept = decoder.remembering(CARRIED), decoder.remembering(CARRIED)
    with torch.no_grad():
        asked, memory = decoder.follow(features[:1], prompts, memory, frame=0)
        logits = asked.logits
        torch.testing.assert_close(logits, decoder.decode(features[:1].expand(2, -1, -1, -1), prompts)[0])
        masks = interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=False) > 0
        _, kept = step(plain, own[:1], kept, frame=0, masks=masks)
        for frame in (1, 2):
            got, memory = decoder.follow(features[frame : frame + 1], None, memory, frame=frame)
            want, kept = step(plain, own[frame : frame + 1], kept, frame=frame)
            torch.testing.assert_close(got.logits, want.logits)
            assert asked.score is None and got.score is not None


# ---- folders --------------------------------------------------------------------------------------------------------
def test_a_released_folder_is_known_read_and_written_to_the_byte(folder: Path, tmp_path: Path) -> None:
    found = load_sa2va(folder)
    stored = load_file(folder / "model.safetensors")
    assert {value.dtype for name, value in stored.items() if name.startswith("vision_model.")} == {
        torch.bfloat16
    }
    assert any(name.endswith("fuser.layers.0.g_weight") for name in stored)
    again = original_names(found.tensors)
    assert set(again) == set(stored)
    assert all(_same_bytes(again[name], stored[name]) for name in stored)
    assert found.decoder is not None and found.decoder["stages"] == SAM2_0.stages and found.system == "sa2va"


def test_a_released_folder_answers_and_is_written_again(folder: Path, sam2: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"decoder.keeps_original=false goes without"):
        load(str(folder), precision="fp32")
    model, recipe = load(str(folder), precision="fp32", decoder=str(sam2))
    kept = model.decoder.original_mask_decoder.state_dict()
    assert all(
        torch.equal(kept[name], value) for name, value in tiny_sam2(SAM2_0).mask_decoder.state_dict().items()
    )
    assert recipe.name == "sa2va_1b" and model.recipe.read_at == 0
    still = Sample("a|b/0", (8, 12), lambda frame: np.full((8, 12, 3), 20 * frame, np.uint8))
    for frames in (1, 7):
        shown = list(ask(model, replace(still, num_frames=frames), "Please segment it.", max_new_tokens=3))
        assert sorted(drawn.frame for drawn in shown) == list(range(frames))
    script = one_question_each(clip(target("a dog")), recipe)
    asked = [(clip(target("a dog")), filled_in(script, recipe))]
    [[spoken]] = speak(model, asked, max_new_tokens=1)
    assert spoken.prompts[0] is not None and spoken.prompts[0].shape == (1, SAM2_0.prompt_dim)
    whole = tiny_recipe(keeps_original=True)
    whole = replace(whole, decoder=whole.decoder.at(str(sam2)))
    built = assemble(whole, whole.decoder.complete(load_sa2va(folder)), lora=True)
    assert export(built, tmp_path / "again", manifest={}, kind="sa2va")
    first, second = (load_file(place / "model.safetensors") for place in (folder, tmp_path / "again"))
    assert set(first) == set(second)
    # adapters begin as nothing, so what was merged is what was there
    assert all(_same_bytes(first[name], second[name]) for name in first)


def test_the_config_tells_internlms_own_code_that_it_has_no_biases_and_how_it_turns() -> None:
    turns = {"rope_type": "default", "rope_theta": 1e6}
    sizes = tiny_internvl.sizes_of("internlm2", rope_parameters=turns)
    text = released_config(RECIPE, InternVL(weights=""), replace(sizes, decoder=asdict(SAM2_0)))["llm_config"]
    assert text["model_type"] == "internlm2" and text["bias"] is False and text["rope_theta"] == 1e6


@pytest.mark.parametrize(
    "template, want", [("qwen_chat", "sa2va_1b"), ("phi3_chat", "sa2va_4b"), ("internlm2_chat", "sa2va_8b")]
)
def test_the_recipe_of_a_release_is_told_by_its_template(
    template: str, want: str, folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "some"
    place.mkdir()
    save_file(load_file(folder / "model.safetensors"), place / "model.safetensors")
    config = (folder / "config.json").read_text().replace("qwen_chat", template)
    (place / "config.json").write_text(config)
    found = identify(place)
    assert (found.layout, found.system, found.recipe) == ("sa2va", "sa2va", want)


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)
