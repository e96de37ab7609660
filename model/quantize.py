"""The LLM's linear layers in 8 or 4 bit, by bitsandbytes. Vision tower, projector, head and mask decoder stay as they are.

LISA's chat.py quantises the same layers (nf4 with double quantisation, fp16 compute; `visual_model` skipped), and then breaks on
the modules that were not meant to be touched; here they are chosen by where they lie, not by what is skipped.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from seglm.model.precision import computed_in

if TYPE_CHECKING:
    import torch
    from torch import nn

    from seglm.model.segmenter import Segmenter

Bits = Literal["8bit", "4bit"]
BLOCK = 64  # nf4 keeps one scale for 64 weights; bitsandbytes' CPU kernel needs whole blocks in a row
INT8_THRESHOLD = 6.0  # LLM.int8(): activations above this are multiplied in half precision


def quantize(model: Segmenter, bits: Bits) -> str:
    """Replaces the linear layers of the LLM's blocks in place; weights shrink when the model is moved to its device.

    Returns what was done, in words. In 4 bit a layer whose rows are no multiple of BLOCK stays as it is; no released LLM has one.
    Raises ImportError with the install line if bitsandbytes is not there, ValueError for a model whose adapters are not merged.
    """
    library = bitsandbytes()
    compute = computed_in(model.recipe.engine.precision)
    blocks = model.backbone.llm.model.layers
    found = list(_linears(blocks))
    if not found or any(hasattr(module, "base_layer") for module in blocks.modules()):
        raise ValueError("the LLM has adapters or is quantised already; 8 and 4 bit are for a merged model")
    fitting = [one for one in found if bits == "8bit" or one[2].in_features % BLOCK == 0]
    for parent, name, layer in fitting:
        setattr(parent, name, _small(library, layer, bits, compute))
    return f"{len(fitting)} of {len(found)} linear layers of the LLM in {bits.removesuffix('bit')} bit"


def bits_of(model: nn.Module) -> Bits | None:
    """What `quantize` made of a model; None if nothing."""
    kinds = {type(module).__name__ for module in model.modules()}
    return "8bit" if "Linear8bitLt" in kinds else "4bit" if "Linear4bit" in kinds else None


def bitsandbytes() -> ModuleType:
    """The library. Raises ImportError that says how to get it."""
    try:
        return importlib.import_module("bitsandbytes")
    except ImportError as error:
        raise ImportError(
            "--load_in_8bit and --load_in_4bit need bitsandbytes, which is not installed: pip install bitsandbytes "
            f"(or leave the flag out and use --precision bf16). Its own message: {error}"
        ) from error


def _small(library: ModuleType, layer: nn.Linear, bits: Bits, compute: torch.dtype) -> nn.Module:
    shape = (layer.in_features, layer.out_features)
    if bits == "8bit":
        small = library.nn.Linear8bitLt(
            *shape, bias=layer.bias is not None, has_fp16_weights=False, threshold=INT8_THRESHOLD
        )
        small.weight = library.nn.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
    else:
        small = library.nn.Linear4bit(
            *shape, bias=layer.bias is not None, compute_dtype=compute, quant_type="nf4"
        )
        small.weight = library.nn.Params4bit(
            layer.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4"
        )
    if layer.bias is not None:
        small.bias = layer.bias
    result: nn.Module = small
    return result


def _linears(blocks: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """(parent, name, layer) of every layer that is exactly nn.Linear."""
    from torch import nn

    for parent in blocks.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                yield parent, name, child
