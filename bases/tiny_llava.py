"""A tiny LLaVA of Hugging Face's own classes, the base that talks about the toy world and has no mask: sizes, forward, files.

Letters: N images, P patches, T tokens of a packed row, D width, G watched states.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from seglm.bases.packing import Packed
from seglm.bases.patch_lessons import ATTRIBUTES, BOX_SIDES, PATCH
from seglm.bases.scene_cache import SIDE
from seglm.bases.vocabulary import IMAGE_TOKENS, PIECES
from seglm.dataset.toy.asking import CELLS, COLUMNS
from seglm.dataset.toy.watching import DEEDS
from seglm.model.backbones.projected import CLIP_MEAN, CLIP_STD
from seglm.model.systems.videolisa import WHOLE

VISION_WIDTH = 128
PLACE_SCALE, SHARPNESS = 0.3, 3.0  # of the tower's start: where a patch is counts, and attention is not flat
WAVES = (0.5, 0.8, 1.2, 1.6, 2.2, 3.0)  # radians per patch
MOVES = ("x", "y", "x before", "y before", "x change", "y change", "swell")
"""what a patch of a whole frame of a clip is taught to say of its thing, since the whole frame before"""
CHANGES = 3  # of MOVES, the last ones; a patch of the last whole frame is taught those of its thing between any two frames


def config() -> LlavaConfig:
    """The sizes: 1.9 M parameters."""
    vision = CLIPVisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=320,
        num_hidden_layers=5,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=128,
    )
    text = LlamaConfig(
        vocab_size=PIECES + len(IMAGE_TOKENS),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        rms_norm_eps=1e-5,
        initializer_range=0.05,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=PIECES + len(IMAGE_TOKENS) - 1,  # unused here: images are placed by position
        projector_hidden_act="linear",
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=(SIDE // PATCH) ** 2,
        tie_word_embeddings=False,
    )


class TinyLlava(nn.Module):
    """The tiny LLaVA and the heads that only training uses."""

    words: dict[str, Tensor]

    def __init__(self, word_ids: Callable[[Sequence[str]], Sequence[int]]) -> None:
        """word_ids: the tokens of some words of the world, each of which is one piece."""
        super().__init__()
        spoken = ATTRIBUTES | {
            "cell": tuple(f"{column}{row + 1}" for row in range(CELLS) for column in COLUMNS)
        }
        self.words = {name: torch.tensor(word_ids(values)) for name, values in spoken.items()}
        self.llava = LlavaForConditionalGeneration(config())
        second = self.llava.model.multi_modal_projector.linear_2
        with torch.no_grad():  # LLaVA v1 has a single Linear
            second.weight.copy_(torch.eye(len(second.weight)))
            second.bias.zero_()
        second.requires_grad_(False)
        _initialise_tower(self.llava.model.vision_tower)
        sizes = {name: len(values) + 1 for name, values in ATTRIBUTES.items()} | dict.fromkeys(
            BOX_SIDES, CELLS + 2
        )
        width = VISION_WIDTH
        self.dense = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})
        width = int(self.llava.lm_head.in_features)
        self.deeds = nn.Linear(width, len(DEEDS))
        self.moves = nn.Linear(width, len(MOVES))
        self.course = nn.Linear(width, CHANGES * (WHOLE - 1))
        self.place = nn.Linear(width, 3)


def vision_features(llava: Any, pictures: NDArray[np.uint8], *, kept: Tensor | None = None) -> Tensor:
    """uint8 [N, I, I, 3] -> tower features [N, P, vision width] of the selected layer, with gradient.

    kept: int64 [N, K], the patches to run; all, if not given.
    """
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)
    tower = llava.model.vision_tower
    hidden = tower.embeddings(pixels)
    if kept is not None:
        places = torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], dim=1)
        hidden = hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))
    hidden = tower.pre_layrnorm(hidden)
    for layer in tower.encoder.layers[: llava.config.vision_feature_layer + 1]:
        hidden = layer(hidden, None)
    return hidden[:, 1:]  # type: ignore[no-any-return]


def hidden_states(
    llava: Any,
    packed: Packed,
    features: Tensor,
    *,
    watched: Mapping[int, Tensor] | None = None,
    attention: list[Tensor] | None = None,
    layer_states: list[Tensor] | None = None,
    depth: int | None = None,
) -> Tensor:
    """The last hidden states that predict the answers of a packed row of dialogues per image: [A, D], in the order of
    `packed.predicts`; the same numbers as a dense mask gives.

    watched: layer -> int64 [G, 2] (row, position) of states; attention: gets, layer by layer, how these attend to the prefix
    up to the image's end, logits [G, heads, image_end]. layer_states: gets what each layer hands on, [N, T, D], but the last
    one, which thinks only about what is returned. depth: only so many layers are run; the last of these hands on everything.
    """
    lm = llava.model.language_model
    shown = llava.model.multi_modal_projector(features)
    before, behind = packed.image_start, packed.image_start + shown.shape[1]
    embedded = [lm.embed_tokens(ids) for ids in (packed.ids[:, :before], packed.ids[:, behind:])]
    hidden = torch.cat([embedded[0], shown, embedded[1]], dim=1)
    asked = packed.predicts.unbind(1)
    turns = lm.rotary_emb(hidden, packed.positions)
    for number, layer in enumerate(lm.layers[:depth]):
        at = None if watched is None else watched.get(number)
        attended, logits = _attend(layer.self_attn, layer.input_layernorm(hidden), turns, packed, at)
        if logits is not None and attention is not None:
            attention.append(logits)
        is_last = number == len(lm.layers) - 1
        if is_last:
            hidden, attended = hidden[asked], attended[asked]
        hidden = hidden + layer.self_attn.o_proj(attended)
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        if layer_states is not None and not is_last:
            layer_states.append(hidden)
    return lm.norm(hidden if hidden.ndim == 2 else hidden[asked])  # type: ignore[no-any-return]


def _attend(
    attention: Any, hidden: Tensor, turns: tuple[Tensor, Tensor], packed: Packed, watched: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Llama's self-attention before its output is projected, [N, T, D], chunk by chunk: the prefix is causal, a chunk sees
    the prefix and its own questions.

    Returns it with the logits by which the watched states attend up to the image's end, if any are watched.
    """
    # One product for all three, and pieces by `split`: the gradient of a slice is a tensor of zeros of the whole's size.
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    three = F.linear(hidden, torch.cat([project.weight for project in projections]))
    query, key, value = three.unflatten(-1, (3, -1, attention.head_dim)).permute(2, 0, 3, 1, 4).unbind()
    query, key = apply_rotary_pos_emb(query, key, *turns)
    logits = None
    if watched is not None:
        logits = _products(query, key[:, :, : packed.image_end], watched) * attention.scaling
    sizes = [packed.prefix, *(last - first for first, last in packed.chunks)]
    queries, keys, values = (x.split(sizes, dim=2) for x in (query, key, value))
    seen = [F.scaled_dot_product_attention(queries[0], keys[0], values[0], is_causal=True)]
    for own_query, own_key, own_value, mask in zip(
        queries[1:], keys[1:], values[1:], packed.masks, strict=True
    ):
        all_keys, all_values = torch.cat([keys[0], own_key], dim=2), torch.cat([values[0], own_value], dim=2)
        seen.append(F.scaled_dot_product_attention(own_query, all_keys, all_values, attn_mask=mask))
    return torch.cat(seen, dim=2).transpose(1, 2).flatten(2), logits


def _products(query: Tensor, keys: Tensor, watched: Tensor) -> Tensor:
    """query [N, heads, T, d], keys [N, heads, K, d] -> products of the watched states [G, heads, K].

    Row by row: keys gathered for every watched state would be a hundred megabytes.
    """
    order = watched[:, 0].argsort(stable=True)
    places = watched[order, 1].split(watched[:, 0].bincount(minlength=len(query)).tolist())
    products = [
        query[row][:, place] @ keys[row].transpose(1, 2) for row, place in enumerate(places) if len(place)
    ]
    return torch.cat(products, dim=1).transpose(0, 1)[order.argsort()]


@torch.no_grad()
def _initialise_tower(tower: Any) -> None:
    """Places as waves over the image, and attention that is not flat: so the tower learns its first things faster."""
    side, width = SIDE // PATCH, tower.config.hidden_size
    rows, columns = np.divmod(np.arange(side * side), side)
    waves = [wave(np.outer(place, WAVES)) for place in (rows, columns) for wave in (np.sin, np.cos)]
    spread = np.linalg.qr(np.random.default_rng(0).normal(size=(width, width)))[0][: 4 * len(WAVES)]
    table = PLACE_SCALE * np.concatenate(waves, axis=1) @ spread
    tower.embeddings.position_embedding.weight[1:] = torch.from_numpy(table).float()
    for layer in tower.encoder.layers:
        layer.self_attn.q_proj.weight.mul_(SHARPNESS)
        layer.self_attn.k_proj.weight.mul_(SHARPNESS)


def save(llava: Any, folder: Path) -> None:
    """Writes the folder in float16 as `from_pretrained` reads it; the tokenizer's files lie there already."""
    weights = {name: value.detach().half() for name, value in llava.state_dict().items()}
    llava.save_pretrained(folder, state_dict=weights)
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings["dtype"] = "float16"
    (folder / "config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="ascii")
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": SIDE},
        "do_center_crop": True,
        "crop_size": {"height": SIDE, "width": SIDE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "resample": 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=1) + "\n", encoding="ascii")


def load(folder: Path) -> Any:
    """Reads the folder as float32."""
    return LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
