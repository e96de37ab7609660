"""The committed bases: they load through the real classes, are small, and do what their manifests say."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from seglm.bases import scene_cache, tiny_llava, tiny_sam, vocabulary
from seglm.bases.packing import Packer
from seglm.bases.patch_lessons import ATTRIBUTES, PATCH
from seglm.bases.scene_cache import DrawnScenes
from seglm.dataset.toy.language import Question, questions
from seglm.dataset.toy.scenes import make_scene
from seglm.model.backbones.projected import CLIP_MEAN, CLIP_STD
from seglm.model.backbones.tokenizer import load_tokenizer
from seglm.model.decoders.sam_package import load_sam_package

BASES = Path(scene_cache.__file__).resolve().parent
LLAVA, SAM = BASES / "llava", BASES / "sam"
MAX_BYTES = 12_000_000  # both bases, as committed
PATCHES = (scene_cache.SIDE // PATCH) ** 2


@pytest.fixture(scope="module")
def packer() -> Packer:
    return Packer(load_tokenizer(LLAVA, tokens=(), image_tokens=vocabulary.IMAGE_TOKENS), patches=PATCHES)


@pytest.fixture(scope="module")
def scenes() -> DrawnScenes:
    made = tuple(make_scene(seed, split="val") for seed in range(4))
    return DrawnScenes(
        made,
        np.stack([scene_cache.shrunk(s) for s in made]),
        np.stack([scene_cache.owner_map(s) for s in made]),
    )


def test_both_bases_together_are_below_twelve_megabytes() -> None:
    files = [path for folder in (LLAVA, SAM) for path in folder.iterdir()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES


def test_the_tiny_llava_is_a_llava_with_a_single_linear_projector() -> None:
    llava = tiny_llava.load(LLAVA)
    assert type(llava).__name__ == "LlavaForConditionalGeneration"
    assert sum(p.numel() for p in llava.parameters()) < 2_600_000
    second = llava.model.multi_modal_projector.linear_2
    assert torch.equal(second.weight, torch.eye(len(second.weight))) and not second.bias.any()
    assert llava.config.projector_hidden_act == "linear" and llava.config.vision_feature_layer == -2


def test_every_word_of_the_world_is_one_piece(packer: Packer) -> None:
    spoken = [word for values in ATTRIBUTES.values() for word in values]
    assert (
        len(set(packer.word_ids([*spoken, "f7", "p16", "USER", "ASSISTANT", "segment"]))) == len(spoken) + 5
    )
    with pytest.raises(ValueError, match="the tokenizer splits hippopotamus; make it anew"):
        packer.word_ids(["hippopotamus"])


def test_image_tokens_follow_the_pieces_and_llava_has_a_row_for_each() -> None:
    tokenizer = load_tokenizer(LLAVA, tokens=(), image_tokens=vocabulary.IMAGE_TOKENS)
    ids = tokenizer.convert_tokens_to_ids(list(vocabulary.IMAGE_TOKENS))
    assert ids == [len(tokenizer) - 2, len(tokenizer) - 1]
    assert tiny_llava.load(LLAVA).get_input_embeddings().weight.shape[0] == len(tokenizer)


@torch.no_grad()
def test_packed_questions_give_the_states_that_each_gives_alone(packer: Packer, scenes: DrawnScenes) -> None:
    llava = tiny_llava.load(LLAVA).eval()
    rows = [
        questions(scene, np.random.default_rng(i), split="val", draw=True)[:6]
        for i, scene in enumerate(scenes.scenes)
    ]
    features = tiny_llava.vision_features(llava, scenes.pictures[:, 0])
    packed = packer.pack(rows)
    states = tiny_llava.hidden_states(llava, packed, features)
    question, start, end = packed.spans[7]
    row = next(i for i, asked in enumerate(rows) if question in asked)
    alone = _state_alone(llava, packer, question, features[row : row + 1])
    assert torch.allclose(states[start:end], alone[-(end - start) - 1 : -1], atol=1e-4)


@torch.no_grad()
def test_the_towers_features_are_those_that_transformers_selects(scenes: DrawnScenes) -> None:
    llava = tiny_llava.load(LLAVA).eval()
    pixels = torch.from_numpy(scenes.pictures[:, 0]).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (CLIP_MEAN, CLIP_STD))
    shown = llava.get_image_features(pixel_values=(pixels - mean) / std)
    shown = getattr(shown, "pooler_output", shown)
    own = llava.model.multi_modal_projector(tiny_llava.vision_features(llava, scenes.pictures[:, 0]))
    assert torch.allclose(torch.stack(tuple(shown)), own, atol=1e-4)


def test_the_tiny_sam_is_a_segment_anything_model_by_name_and_shape() -> None:
    sam = tiny_sam.load(SAM)
    assert sum(p.numel() for p in sam.parameters()) < 1_500_000
    assert {name.split(".")[0] for name in sam.state_dict()} == {
        "image_encoder",
        "prompt_encoder",
        "mask_decoder",
    }
    assert isinstance(sam.mask_decoder, load_sam_package().MaskDecoder)


def test_the_tiny_sam_finds_things_from_boxes_and_points(scenes: DrawnScenes) -> None:
    found = tiny_sam.scores(tiny_sam.load(SAM), scenes)
    assert found["box"] > 0.75 and found["centre"] > 0.7


def test_manifests_say_how_the_bases_were_made_and_what_they_score() -> None:
    for folder in (LLAVA, SAM):
        manifest = json.loads((folder / "manifest.json").read_text(encoding="ascii"))
        assert {"made_by", "steps", "cpu_minutes", "scores", "curve"} <= set(manifest)
        assert "/" not in manifest["made_by"]


@pytest.mark.parametrize(
    "members, want", [([True, False], "#..."), ([True, True], "##.."), ([False, False], "....")]
)
def test_a_mask_covers_what_is_seen_of_its_members(members: list[bool], want: str) -> None:
    owners = torch.tensor([[[0, 1, scene_cache.NOBODY, scene_cache.NOBODY]]], dtype=torch.uint8)
    covered = tiny_sam.covered(owners, torch.tensor([[members + [False] * 6]]))
    assert "".join("#" if value else "." for value in covered[0, 0, 0]) == want


def _state_alone(
    llava: torch.nn.Module, packer: Packer, question: Question, features: torch.Tensor
) -> torch.Tensor:
    _, ids, _ = packer.encode(question)
    model = llava.model  # type: ignore[union-attr]
    embeds = model.language_model.embed_tokens(torch.tensor([[*packer.prefix, *ids]]))
    embeds[:, packer.image_start : packer.image_start + PATCHES] = model.multi_modal_projector(features)
    return model.language_model(inputs_embeds=embeds).last_hidden_state[0]  # type: ignore[no-any-return]
