"""InternVL as a backbone: transformers' own forward, the release's layout, its tiles, and its dialogues."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

from seglm.dataset.collate import collate
from seglm.dataset.pixels import vision_tiles
from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.backbones.internvl import InternVL, InternVLBackbone
from seglm.model.names import canonical
from seglm.model.released.dims import LLAMA, QWEN2, QWEN3, Family, family_of
from seglm.model.released.errors import WrongNames
from seglm.model.released.identify import layout_of
from seglm.model.released.internvl import internvl_names, load_internvl, original_names
from seglm.model.released.open import open_weights
from seglm.utils.tiles import grid_of, squares
from seglm.utils.types import Dialogue, Example, Images, Slot, Turn
from tests.tiny_internvl import KINDS, LLM, SIDE, VISION, random_tensors, sizes_of, tokenizer, write

CONFIGS = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "llama": LlamaConfig}
SLOT = Slot("[SEG]", 0, (0,))
QUESTION = "\nPlease segment the red ring in this image."


def backbone(kind: str = "qwen2") -> InternVLBackbone:
    made = InternVL(weights="").build(sizes_of(kind), attention="sdpa", precision="fp32").eval()
    made.load_state_dict(random_tensors(made.state_dict()))
    return made


def ours(made: InternVLBackbone) -> dict[str, Tensor]:
    """Its tensors under our names."""
    return {canonical(f"backbone.{name}"): tensor for name, tensor in made.state_dict().items()}


def encoder(folder: Path, **changes: object) -> DialogueEncoder:
    choice = InternVL(weights=str(folder), **changes)  # type: ignore[arg-type]
    return choice.encoder(load_internvl(folder), ("[SEG]",))


def theirs(kind: str, tensors: dict[str, Tensor]) -> InternVLForConditionalGeneration:
    """transformers' whole model with the same tensors."""
    llm = {key: value for key, value in sizes_of(kind).llm.items() if key != "model_type"}
    config = InternVLConfig(
        vision_config=dict(VISION),
        text_config=CONFIGS[KINDS[kind]](**llm),
        image_token_id=tokenizer().convert_tokens_to_ids("<IMG_CONTEXT>"),
        tie_word_embeddings=False,
    )
    model = InternVLForConditionalGeneration(config).eval()
    places = {"llm.lm_head": "lm_head", "llm": "model.language_model", "vision": "model.vision_tower"}
    places |= {"projector.0": "model.multi_modal_projector.layer_norm"}
    places |= {f"projector.{n}": f"model.multi_modal_projector.linear_{m}" for n, m in ((1, 1), (3, 2))}
    named = {}
    for name, tensor in tensors.items():
        part = next(part for part in places if name.startswith(part + "."))
        named[places[part] + name[len(part) :]] = tensor
    model.load_state_dict(named)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_states_and_logits_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    made = backbone(kind)
    write(tmp_path / "base", ours(made), kind=kind)
    said = encoder(tmp_path / "base")
    dialogue = Dialogue((Turn((Images((0,), "fine"), QUESTION), ("Sure, ", SLOT, ".")),), targets=(0,))
    [branch] = said.encode_script((dialogue,), key="k", size=(2 * SIDE, 3 * SIDE))
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (7, 3, SIDE, SIDE), np.uint8)
    example = Example(
        key="k",
        branches=(branch,),
        vision=tiles,
        drawn=np.zeros((1, 3, 4, 4), np.uint8),
        resized=(4, 4),
        size=(4, 4),
        masks=np.zeros((1, 1, 4, 4), np.bool_),
    )
    batch = collate([example])
    made.llm.resize_token_embeddings(len(said.tokenizer))
    model = theirs(kind, ours(backbone(kind)))
    model.resize_token_embeddings(len(said.tokenizer))
    with torch.no_grad():
        made.llm.get_input_embeddings().weight.copy_(model.get_input_embeddings().weight)
        made.llm.lm_head.weight.copy_(model.lm_head.weight)
        states = made.hidden(batch)
        ids = batch.ids.where(batch.ids >= 0, model.config.image_token_id)
        pixels = made.normalised(batch.vision)
        want = model.model(input_ids=ids, pixel_values=pixels).last_hidden_state
        logits = model(input_ids=ids, pixel_values=pixels).logits
        torch.testing.assert_close(states, want, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(made.head(states), logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_release_is_read_strictly_and_written_as_it_was(kind: str, tmp_path: Path) -> None:
    made = backbone(kind)
    folder = write(tmp_path / "base", ours(made), kind=kind)
    found = load_internvl(folder)
    assert layout_of(folder) == "internvl"
    assert found.llm is not None and found.llm["model_type"] == KINDS[kind]
    assert {key: found.llm[key] for key in LLM} == LLM and found.vision == {**VISION, "attention_bias": True}
    want = ours(made)
    assert set(found.tensors) == set(want)
    assert all(torch.equal(found.tensors[name], want[name]) for name in want)
    again = original_names(found.tensors, is_internlm=kind == "internlm2", groups=2)
    from safetensors.torch import load_file

    stored = load_file(folder / "model.safetensors")
    assert set(again) == set(stored) and all(torch.equal(again[name], stored[name]) for name in stored)


def test_wqkv_of_internlm_holds_for_each_head_of_keys_its_queries_its_keys_and_its_values() -> None:
    # two heads of keys, each with two of queries; four channels a head, told by hand
    rows = "q0 q1 k0 v0 q2 q3 k1 v1".split()
    wqkv = torch.arange(len(rows)).repeat_interleave(4)[:, None].float()
    config = {"num_attention_heads": 4, "num_key_value_heads": 2}
    name = "language_model.model.layers.0.attention.wqkv.weight"
    # the vision tower's name tells the layout
    raw = {name: wqkv, "vision_model.embeddings.class_embedding": torch.zeros(1, 1, 1)}
    found = internvl_names(raw, config, source="here")
    heads = {
        part: found[f"llm.layers.0.self_attn.{part}_proj.weight"][::4, 0].int().tolist() for part in "qkv"
    }
    assert {part: [rows[row] for row in own] for part, own in heads.items()} == {
        "q": ["q0", "q1", "q2", "q3"],
        "k": ["k0", "k1"],
        "v": ["v0", "v1"],
    }


def test_the_layout_of_transformers_is_read_alike(tmp_path: Path) -> None:
    made = backbone()
    theirs("qwen2", ours(made)).save_pretrained(tmp_path / "hf")
    tokenizer().save_pretrained(tmp_path / "hf")
    found = open_weights(str(tmp_path / "hf"))
    want = ours(made)
    assert set(found.tensors) == set(want)
    assert all(torch.equal(found.tensors[name], want[name]) for name in want)


def test_a_base_is_known_and_what_is_none_is_refused(tmp_path: Path) -> None:
    assert layout_of(write(tmp_path / "InternVL2_5-1B", ours(backbone()))) == "internvl"
    with pytest.raises(WrongNames, match=r"(?s)1 names that the InternVL layout does not have:.*resampler"):
        internvl_names(
            {"vision_model.embeddings.class_embedding": torch.zeros(1), "resampler": torch.zeros(1)},
            {},
            source="here",
        )


@pytest.mark.parametrize(
    "names, want",
    [
        (("llm.layers.0.self_attn.q_proj.bias",), QWEN2),
        (("llm.layers.0.self_attn.q_proj.bias", "llm.layers.0.self_attn.o_proj.bias"), LLAMA),
        (("vision.encoder.layers.0.self_attn.q_proj.bias",), LLAMA),  # CLIP's, beside a Llama without any
        (("llm.layers.0.self_attn.q_proj.bias", "llm.layers.0.self_attn.q_norm.weight"), QWEN3),
    ],
)
def test_a_language_model_is_known_by_its_own_biases(names: tuple[str, ...], want: Family) -> None:
    assert family_of(names) is want


# ---- tiles ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "size, want",  # (H, W) -> (rows, columns)
    [
        ((448, 448), (1, 1)),
        ((960, 960), (3, 3)),  # of 1 x 1, 2 x 2 and 3 x 3 the largest of which it has half the pixels
        ((600, 600), (1, 1)),  # 360,000 pixels, half of 2 x 2 is 401,408
        ((640, 640), (2, 2)),
        ((480, 640), (3, 4)),
        ((720, 1280), (2, 4)),  # 16:9 is nearer to 2:1 than to 3:2; 4 x 2 has the shape of 2 x 1
        ((100, 5000), (1, 12)),
    ],
)
def test_the_grid_has_the_shape_of_the_picture(size: tuple[int, int], want: tuple[int, int]) -> None:
    assert grid_of(size, most=12, side=448) == want


def test_a_picture_is_cut_row_by_row_with_the_whole_of_it_last() -> None:
    rows, columns = np.mgrid[0:2, 0:3]
    picture = (
        np.kron(10 * rows + columns, np.ones((SIDE, SIDE), np.int64))[..., None].repeat(3, 2).astype(np.uint8)
    )
    grid = grid_of(picture.shape[:2], most=12, side=SIDE)
    made = vision_tiles(picture, SIDE, grid, mode="peer")
    assert [int(tile.mean().round()) for tile in made[:-1]] == [0, 1, 2, 10, 11, 12]
    assert len(made) == squares(grid) == 7 and made[-1].shape == (3, SIDE, SIDE)
    assert len(vision_tiles(picture[:SIDE, :SIDE], SIDE, (1, 1), mode="peer")) == 1


def test_a_frame_is_its_tiles_and_then_the_whole_or_the_whole_alone(tmp_path: Path) -> None:
    said = encoder(write(tmp_path / "base", ours(backbone())))
    fine, plain = (
        Dialogue((Turn((Images((0,), "fine"), "a", Images((1,)), QUESTION), ("Sure.",)),)),
        Dialogue((Turn((Images((0,)), "a", Images((1,)), QUESTION), ("Sure.",)),)),
    )
    cut, whole = said.encode_script((fine, plain), key="k", size=(SIDE, 2 * SIDE))
    # two tiles of frame 0, the whole of it, then frame 1; of each four tokens
    assert cut.frame[cut.frame >= 0].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert whole.frame[whole.frame >= 0].tolist() == [2] * 4 + [3] * 4
    assert cut.patch[cut.frame >= 0].tolist() == [0, 1, 2, 3] * 4


# ---- dialogues ------------------------------------------------------------------------------------------------------
TURNS = (
    Turn((Images((0,)), QUESTION), ("Sure, ", SLOT, ".")),
    Turn(("It is?",), ("It is.",)),
)


@pytest.mark.parametrize(
    "template, user, closes, reply",
    [
        ("qwen_chat", "<|im_start|>user\n", "<|im_end|>", "\n<|im_start|>assistant\n"),
        ("phi3_chat", "<|user|>\n", "<|end|>", "\n<|assistant|>\n"),  # on a Qwen `<|end|>` is text
    ],
)
def test_a_dialogue_is_made_into_tokens_as_xtuner_does_it(
    template: str, user: str, closes: str, reply: str, tmp_path: Path
) -> None:
    said = encoder(write(tmp_path / "base", ours(backbone())), template=template)

    def ids(text: str) -> list[int]:
        return said.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids  # type: ignore[no-any-return]

    shown = "<img>" + "<IMG_CONTEXT>" * 4 + "</img>"
    want: list[int] = []
    trained: list[int] = []
    for question, answer in ((shown + QUESTION, "Sure, [SEG]."), ("It is?", "It is.")):
        for text in ("\n" if want else "", user + question + closes + reply):
            want += ids(text)
        want += ids(answer + closes)
        trained += ids(answer + closes)
    branch = said.encode(Dialogue(TURNS, targets=(0,)))
    context = said.tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    assert branch.ids.tolist() == [-200 if number == context else number for number in want]
    assert branch.labels[branch.labels >= 0].tolist() == trained
    assert said.decode(ids("Sure, [SEG]." + closes)) == "Sure, [SEG]."
    written = ids("It is." + closes)
    assert [said.is_over(written[: n + 1]) for n in range(len(written))] == [False] * (len(written) - 1) + [
        True
    ]
