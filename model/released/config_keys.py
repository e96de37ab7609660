"""What a `config.json` says, read by type and range; and its keys that change the forward and that nothing here follows.

A key of the second kind is refused unless it has the one value that the forward has anyway: weights that were trained
with another one would load completely and answer worse, which nobody could see. What LISA itself does not follow is said.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from seglm.model.released.errors import WeightsError

log = logging.getLogger(__name__)

OURS: Mapping[str, tuple[object, ...]] = {
    "mm_vision_select_feature": ("patch",),
    "vision_feature_select_strategy": ("default",),
    "mm_patch_merge_type": ("flat",),
    "image_aspect_ratio": ("square", "pad"),
    "mm_projector_type": ("linear", "mlp2x_gelu"),
    "projector_hidden_act": ("gelu", "linear"),
    "mm_resampler_type": (),
    "s2": (False,),
    "quantization_config": (),
    "sliding_window": (),
    "use_sliding_window": (False,),
    "partial_rotary_factor": (1.0,),
    "logits_scaling": (1.0,),
    "logit_scale": (1.0,),
    "embedding_multiplier": (1.0,),
    "residual_multiplier": (1.0,),
    "attention_multiplier": (),
    "attn_logit_softcapping": (),
    "final_logit_softcapping": (),
    "query_pre_attn_scalar": (),
    "clip_qkv": (),
    "use_qk_norm": (False,),
    "is_causal": (True,),
    "num_local_experts": (),
    "num_experts": (),
}
"""key -> the values that mean what our forward does; a key that is absent or null says nothing"""
SAID: Mapping[tuple[str, object], str] = {
    (
        "image_aspect_ratio",
        "pad",
    ): "LLaVA pads a picture to a square; here, as in LISA, the LLM sees the picture's middle square",
}
"""keys and values that the original systems do not follow either, and what happens instead"""
VISION_TOWERS = ("clip", "clip_vision_model")
Number = type[int] | type[float]


def followed(
    config: Mapping[str, Any], *, source: str, kinds: tuple[str, ...], also: tuple[str, ...] = ()
) -> None:
    """Raises WeightsError for a config of another kind of model, or with a key that our forward does not follow.

    kinds: what `model_type` may be. also: keys that the forward of this kind does follow.
    """
    for key, allowed in {**OURS, "model_type": kinds}.items():
        value = None if key in also else config.get(key)
        if value is not None and (isinstance(value, list | dict) or value not in allowed):
            wanted = " or ".join(map(repr, allowed)) or "nothing"
            raise WeightsError(
                f"{source}: config.json says {key} {_short(value)}, and SegLM knows only {wanted}; it would compute another "
                "thing with these weights. Give weights that were trained without it"
            )
    for (key, value), instead in SAID.items():
        if config.get(key) == value:
            log.info("%s: config.json says %s %r: %s", source, key, value, instead)


def section(config: Mapping[str, Any], key: str, *, source: str) -> Mapping[str, Any]:
    """A part of the config, empty if it is not there. Raises WeightsError if it is no object."""
    value = config.get(key)
    if value is not None and not isinstance(value, dict):
        raise WeightsError(f"{source}: config.json says {key} {_short(value)}, expected an object")
    return value or {}


def number(config: Mapping[str, Any], key: str, kind: Number, *, source: str, least: float = 1) -> Any:
    """A number of the config, None if it is absent. Raises WeightsError for another type and for values below `least`."""
    value = config.get(key)
    if value is None:
        return None
    fitting = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if not fitting or not math.isfinite(value) or value < least:
        what = "a whole number" if kind is int else "a number"
        raise WeightsError(
            f"{source}: config.json says {key} {_short(value)}, expected {what} of at least {least}"
        )
    return kind(value)


def flag(config: Mapping[str, Any], key: str, *, source: str) -> bool:
    """A yes or no of the config, no if it is absent."""
    return bool(chosen(config, key, (True, False), source=source))


def chosen(config: Mapping[str, Any], key: str, known: tuple[Any, ...], *, source: str) -> Any:
    """One of a few values, None if it is absent. Raises WeightsError for any other."""
    value = config.get(key)
    if value is None or any(type(value) is type(one) and value == one for one in known):
        return value
    raise WeightsError(
        f"{source}: config.json says {key} {_short(value)}, known are {', '.join(map(repr, known))}"
    )


def place(config: Mapping[str, Any], *keys: str, source: str) -> str | None:
    """The first of these keys that names a path or hub id. Raises WeightsError for one that is no text."""
    for key in keys:
        value = config.get(key)
        if value is not None and not isinstance(value, str):
            raise WeightsError(
                f"{source}: config.json says {key} {_short(value)}, expected a path or a hub id"
            )
        if value:
            return value
    return None


def select_layer(config: Mapping[str, Any], *, source: str) -> int:
    """Which hidden state of the vision tower the language model sees, as LLaVA counts; -2 if nothing says it."""
    for key in ("mm_vision_select_layer", "vision_feature_layer"):
        value = config.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise WeightsError(
                f"{source}: config.json says {key} {_short(value)}; one layer of the vision tower is supported, a whole number"
            )
        if value is not None:
            return value
    return -2


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
