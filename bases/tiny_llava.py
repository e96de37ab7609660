"""The talking base: a tiny LLaVA of Hugging Face's own classes that talks about the toy world and has no mask.

Its vision tower is warmed up by throw-away heads that say for every patch which thing is there (colour, shape, size, material)
and where its box lies; then tower, projector and language model learn together from questions and answers.
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

from seglm.bases.attention_lessons import GAZE_HEADS, aims_of
from seglm.bases.packing import Packed
from seglm.bases.patch_lessons import LOOKS, PATCH, SPANS, patch_truths
from seglm.bases.scene_cache import FILTERS, SIDE, Drawn
from seglm.bases.vocabulary import IMAGE_TOKENS, PIECES
from seglm.dataset.toy.asking import CELLS, COLUMNS
from seglm.model.backbones.llava import CLIP_MEAN, CLIP_STD

VISION_WIDTH = 128
HEAD_WEIGHTS = {"shape": 5.0, "size": 2.0}  # shape is the slow one
KEPT = 24  # of 64 patches, when only the tower is trained
SPOKEN_WEIGHT = 0.5
FACT_LAYERS, FACT_WEIGHT = (0, 1), 0.5  # of the language model: where a fact becomes the look that it means
PLACE_SCALE, SHARPNESS = 0.3, 3.0  # of the tower's start: where a patch is counts, and attention is not flat
WAVES = (0.5, 0.8, 1.2, 1.6, 2.2, 3.0)  # radians per patch


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


class Talker(nn.Module):
    """The tiny LLaVA and the heads that only training uses."""

    words: dict[str, Tensor]

    def __init__(self, word_ids: Callable[[Sequence[str]], Sequence[int]]) -> None:
        """word_ids: the tokens of some words of the world, each of which is one piece."""
        super().__init__()
        spoken = LOOKS | {"cell": tuple(f"{column}{row + 1}" for row in range(CELLS) for column in COLUMNS)}
        self.words = {name: torch.tensor(word_ids(values)) for name, values in spoken.items()}
        self.llava = LlavaForConditionalGeneration(config())
        second = self.llava.model.multi_modal_projector.linear_2
        with torch.no_grad():  # LLaVA v1 has a single Linear
            second.weight.copy_(torch.eye(len(second.weight)))
            second.bias.zero_()
        second.requires_grad_(False)
        _start_well(self.llava.model.vision_tower)
        sizes = {name: len(values) + 1 for name, values in LOOKS.items()} | dict.fromkeys(SPANS, CELLS + 2)
        width = VISION_WIDTH
        self.dense = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})


def see(llava: Any, pictures: NDArray[np.uint8], *, kept: Tensor | None = None) -> Tensor:
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
    gazes: list[Tensor] | None = None,
    thoughts: list[Tensor] | None = None,
) -> Tensor:
    """The last hidden state of a packed row of dialogues per image: [N, T, D]; the same numbers as a dense mask gives.

    watched: layer -> int64 [G, 2] (row, position); gazes: gets, layer by layer, how these attend to
    the image: logits [G, heads, P]. thoughts: gets what each layer hands on, [N, T, D].
    """
    lm = llava.model.language_model
    hidden = lm.embed_tokens(packed.ids)
    shown = llava.model.multi_modal_projector(features)
    start = packed.image_start
    hidden = torch.cat([hidden[:, :start], shown, hidden[:, start + shown.shape[1] :]], dim=1)
    turns = lm.rotary_emb(hidden, packed.positions)
    for number, layer in enumerate(lm.layers):
        at = None if watched is None else watched.get(number)
        attended, gaze = _attend(layer.self_attn, layer.input_layernorm(hidden), turns, packed, at)
        if gaze is not None and gazes is not None:
            gazes.append(gaze)
        hidden = hidden + attended
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        if thoughts is not None:
            thoughts.append(hidden)
    return lm.norm(hidden)  # type: ignore[no-any-return]


def _attend(
    attention: Any, hidden: Tensor, turns: tuple[Tensor, Tensor], packed: Packed, watched: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Llama's self-attention, chunk by chunk: the prefix is causal, a chunk sees the prefix and its own questions.

    Returns it with the logits by which the watched states look at the image, if any are watched.
    """
    query, key, value = (
        project(hidden).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    query, key = apply_rotary_pos_emb(query, key, *turns)
    end = packed.prefix
    gaze = None
    if watched is not None:
        row, place = watched.unbind(1)
        image = key[:, :, packed.image_start : end - 1]
        gaze = (query[row, :, place][:, :, None] @ image[row].transpose(2, 3)).squeeze(2) * attention.scaling
    seen = [
        F.scaled_dot_product_attention(query[:, :, :end], key[:, :, :end], value[:, :, :end], is_causal=True)
    ]
    for (first, last), mask in zip(packed.chunks, packed.masks, strict=True):
        keys, values = (torch.cat([x[:, :, :end], x[:, :, first:last]], dim=2) for x in (key, value))
        seen.append(F.scaled_dot_product_attention(query[:, :, first:last], keys, values, attn_mask=mask))
    return attention.o_proj(torch.cat(seen, dim=2).transpose(1, 2).flatten(2)), gaze


def tower_loss(base: Talker, batch: Drawn, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
    """What the tower says of the patches that show things, once by the throw-away heads, once in words.

    In words: a projected patch is compared with the embeddings of the words of each look (and of the cell of its thing's centre),
    and with the rows of the language head, so that seeing and saying start out in one space. Ground is value 0 of every head.
    Only KEPT patches are run, things first: ground teaches nothing and is three quarters of an image.
    """
    truths = patch_truths(batch)
    kept = np.sort(
        np.argsort(1.0 * (truths["colour"] == 0) + rng.random(truths["colour"].shape), axis=1)[:, :KEPT],
        axis=1,
    )
    which = rng.integers(0, len(FILTERS), len(kept))
    features = see(
        base.llava, batch.pictures[np.arange(len(which)), which], kept=torch.from_numpy(kept)
    ).flatten(0, 1)
    total, right = torch.zeros(()), {}
    values = {
        name: torch.from_numpy(np.take_along_axis(truth, kept, axis=1)).flatten()
        for name, truth in truths.items()
    }
    seen = values["colour"] > 0
    for name in (*LOOKS, *SPANS):
        logits = base.dense[name](features)
        total = total + HEAD_WEIGHTS.get(name, 1.0) * F.cross_entropy(logits, values[name])
        right[f"dense_{name}"] = float((logits.argmax(1) == values[name])[seen].float().mean())
    spoken, said_right = _spoken_loss(
        base, features[seen], {name: value[seen] for name, value in values.items()}
    )
    return total / len(base.dense) + SPOKEN_WEIGHT * spoken, right | said_right


def _spoken_loss(
    base: Talker, features: Tensor, values: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, float]]:
    llava, total, right = base.llava, torch.zeros(()), {}
    shown = llava.model.multi_modal_projector(features)
    level = shown * torch.rsqrt(shown.square().mean(-1, keepdim=True) + 1e-5)
    for name, ids in base.words.items():
        truth = values[name] - 1
        heard = level @ llava.model.language_model.embed_tokens.weight[ids].T
        told = llava.model.language_model.norm(shown) @ llava.lm_head.weight[ids].T
        total = total + F.cross_entropy(heard, truth) + F.cross_entropy(told, truth)
        right[f"said_{name}"] = float((told.argmax(1) == truth).float().mean())
    return total / (2 * len(base.words)), right


def talk_loss(
    base: Talker, batch: Drawn, packed: Packed, *, which: NDArray[np.int64], gaze_weight: float
) -> tuple[Tensor, Mapping[str, float]]:
    """Cross entropy of the answers (mean over answer tokens), of where the model looks while it answers, and of what it makes
    of a fact.

    which: int [N], the filter by which each picture was shrunk. gaze_weight: of the second term, which only training knows.
    """
    gazes: list[Tensor] = []
    thoughts: list[Tensor] = []
    aims = aims_of(base.words, batch, packed)
    features = see(base.llava, batch.pictures[np.arange(len(which)), which])
    watched = {layer: aim[0] for layer, aim in aims.items()}
    hidden = hidden_states(base.llava, packed, features, watched=watched, gazes=gazes, thoughts=thoughts)
    row, column = packed.predicts.unbind(1)
    logits = base.llava.lm_head(hidden[row, column])
    loss = F.cross_entropy(logits, packed.answers)
    values = {
        "answer": float(loss.detach()),
        "token_right": float((logits.argmax(1) == packed.answers).float().mean()),
    }
    for (layer, (_, wanted)), gaze in zip(sorted(aims.items()), gazes, strict=True):
        missed = -(wanted[:, None] * gaze[:, :GAZE_HEADS].log_softmax(-1)).sum(-1).mean()
        loss = loss + gaze_weight / len(aims) * missed
        values[f"gaze{layer}"] = float(missed.detach())
    if packed.facts:
        meant, values["meant"] = _fact_loss(base, packed, [thoughts[layer] for layer in FACT_LAYERS])
        loss = loss + FACT_WEIGHT * meant
    return loss, values


def _fact_loss(base: Talker, packed: Packed, thoughts: Sequence[Tensor]) -> tuple[Tensor, float]:
    """Knowledge, for which nobody has to look: after the last word of a fact the first layers hold what the word for its look is.

    The state is compared with the embeddings of all words of that sort ("a lemon" with red, green, ...). So a fact that is
    never asked of a picture is looked for like one that is.
    """
    embedded, total, right = base.llava.model.language_model.embed_tokens.weight, torch.zeros(()), []
    for name in LOOKS:
        told = [(fact.value, place) for _, fact, place in packed.facts if fact.attribute == name]
        if not told:
            continue
        rows, columns = torch.tensor([place for _, place in told]).unbind(1)
        truth = torch.tensor([LOOKS[name].index(value) for value, _ in told])
        for thought in thoughts:
            state = thought[rows, columns]
            level = state * torch.rsqrt(state.square().mean(-1, keepdim=True) + 1e-5)
            logits = level @ embedded[base.words[name]].T
            total = total + F.cross_entropy(logits, truth, reduction="sum") / (
                len(thoughts) * len(packed.facts)
            )
            right.append((logits.argmax(1) == truth).float())
    return total, float(torch.cat(right).mean())


@torch.no_grad()
def _start_well(tower: Any) -> None:
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
