"""The talking base: a tiny LLaVA of Hugging Face's own classes that talks about the toy world and has no mask.

Its vision tower is warmed up by throw-away heads that say for every patch which thing is there (colour, shape, size, material) and
where its box lies; then tower, projector and language model learn together from questions and answers.
Letters: N images, P patches, T tokens of a packed row, D width.
"""

import json
from collections.abc import Mapping
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
from seglm.bases.stock import NOBODY, SIDE, Drawn
from seglm.bases.words import IMAGE_TOKENS, PIECES
from seglm.dataset.toy.asking import CELLS
from seglm.dataset.toy.scenes import COLOURS, GRID, MATERIALS, SIZES
from seglm.dataset.toy.shapes import SHAPES
from seglm.model.backbones.llava import CLIP_MEAN, CLIP_STD

PATCH = 8  # px of the 64 that the tower sees
LOOKS: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "size": SIZES,
    "material": MATERIALS,
}
SPANS = ("left", "right", "top", "bottom")  # sides of the visible box, each as one of CELLS + 1 lines of the spoken grid
HEAD_WEIGHTS = {"shape": 5.0, "size": 2.0}  # shape is the slow one
LEAST_SHARE = 0.2  # of a patch that a thing must fill to be what the patch shows
DENSE_WEIGHT, DENSE_UNTIL = 0.2, 0.4  # of the throw-away heads while the language is learnt


def config() -> LlavaConfig:
    """The sizes: 1.9 M parameters."""
    vision = CLIPVisionConfig(
        hidden_size=128,
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


class Talker(nn.Module):
    """The tiny LLaVA and the heads that only training uses."""

    def __init__(self) -> None:
        super().__init__()
        self.llava = LlavaForConditionalGeneration(config())
        second = self.llava.model.multi_modal_projector.linear_2
        with torch.no_grad():  # LLaVA v1 has a single Linear
            second.weight.copy_(torch.eye(len(second.weight)))
            second.bias.zero_()
        second.requires_grad_(False)
        sizes = {name: len(values) + 1 for name, values in LOOKS.items()} | {name: CELLS + 2 for name in SPANS}
        width = self.llava.config.vision_config.hidden_size
        self.dense = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})


def see(llava: Any, pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, I, I, 3] -> tower features [N, P, vision width] of the selected layer, with gradient."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)
    tower = llava.model.vision_tower
    hidden = tower.pre_layrnorm(tower.embeddings(pixels))
    for layer in tower.encoder.layers[: llava.config.vision_feature_layer + 1]:
        hidden = layer(hidden, None)
    return hidden[:, 1:]  # type: ignore[no-any-return]


def hidden_states(llava: Any, packed: Packed, features: Tensor) -> Tensor:
    """The last hidden state of a packed row of dialogues per image: [N, T, D]; the same numbers as a dense mask gives."""
    lm = llava.model.language_model
    hidden = lm.embed_tokens(packed.ids)
    shown = llava.model.multi_modal_projector(features)
    start = packed.image_start
    hidden = torch.cat([hidden[:, :start], shown, hidden[:, start + shown.shape[1] :]], dim=1)
    turns = lm.rotary_emb(hidden, packed.positions)
    for layer in lm.layers:
        hidden = hidden + _attend(layer.self_attn, layer.input_layernorm(hidden), turns, packed)
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return lm.norm(hidden)  # type: ignore[no-any-return]


def _attend(attention: Any, hidden: Tensor, turns: tuple[Tensor, Tensor], packed: Packed) -> Tensor:
    """Llama's self-attention, chunk by chunk: the prefix is causal, a chunk sees the prefix and its own questions."""
    query, key, value = (
        project(hidden).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    query, key = apply_rotary_pos_emb(query, key, *turns)
    end = packed.prefix
    seen = [F.scaled_dot_product_attention(query[:, :, :end], key[:, :, :end], value[:, :, :end], is_causal=True)]
    for (first, last), mask in zip(packed.chunks, packed.masks, strict=True):
        keys, values = (torch.cat([x[:, :, :end], x[:, :, first:last]], dim=2) for x in (key, value))
        seen.append(F.scaled_dot_product_attention(query[:, :, first:last], keys, values, attn_mask=mask))
    joined: Tensor = attention.o_proj(torch.cat(seen, dim=2).transpose(1, 2).flatten(2))
    return joined


def tower_loss(base: Talker, batch: Drawn, features: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of what the throw-away heads say of each patch; ground is value 0 of every head."""
    total, right = torch.zeros(()), {}
    truths = {name: torch.from_numpy(truth) for name, truth in patch_truths(batch).items()}
    for name, truth in truths.items():
        logits = base.dense[name](features).flatten(0, 1)
        total = total + HEAD_WEIGHTS.get(name, 1.0) * F.cross_entropy(logits, truth.flatten())
        seen = truth.flatten() > 0
        right[f"dense_{name}"] = float((logits.argmax(1) == truth.flatten())[seen].float().mean())
    return total / len(truths), right


def talk_loss(base: Talker, batch: Drawn, packed: Packed, *, share: float, which: NDArray[np.int64]) -> tuple[Tensor, Mapping[str, float]]:
    """Cross entropy of the answers (mean over answer tokens), with a fading share of the throw-away heads' loss.

    which: int [N], the filter by which each picture was shrunk.
    """
    features = see(base.llava, batch.pictures[np.arange(len(which)), which])
    hidden = hidden_states(base.llava, packed, features)
    row, column = packed.predicts.unbind(1)
    logits = base.llava.lm_head(hidden[row, column])
    loss = F.cross_entropy(logits, packed.answers)
    values = {"answer": float(loss.detach()), "token_right": float((logits.argmax(1) == packed.answers).float().mean())}
    if share < DENSE_UNTIL:
        dense, _ = tower_loss(base, batch, features)
        loss = loss + DENSE_WEIGHT * (1 - share / DENSE_UNTIL) * dense
    return loss, values


def patch_truths(batch: Drawn) -> dict[str, NDArray[np.int64]]:
    """What each patch shows, per head: int64 [N, P], 0 for ground."""
    side, step = SIDE // PATCH, GRID // (SIDE // PATCH)
    truths = {name: np.zeros((len(batch.scenes), side * side), dtype=np.int64) for name in (*LOOKS, *SPANS)}
    for row, (scene, owners) in enumerate(zip(batch.scenes, batch.owners, strict=True)):
        tiles = owners.reshape(side, step, side, step).transpose(0, 2, 1, 3).reshape(side * side, -1)
        filled = np.stack([(tiles == i).mean(1) for i in range(len(scene.things))], axis=1)
        owner = np.where(filled.max(1) >= LEAST_SHARE, filled.argmax(1), NOBODY)
        for i, thing in enumerate(scene.things):
            mine = owner == i
            for name, values in LOOKS.items():
                truths[name][row, mine] = values.index(getattr(thing, name)) + 1
            rows, columns = np.nonzero(owners == i)
            sides = (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1)
            for name, line in zip(SPANS, sides, strict=True):
                truths[name][row, mine] = round(float(line) * CELLS / GRID) + 1
    return truths


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
