"""A model opened for use by a person: on the GPU where there is one, in 8 or 4 bit if wanted, by the flags of LISA's chat.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seglm.model.precision import Precision
from seglm.model.quantize import Bits, bitsandbytes, quantize
from seglm.utils.dist import World

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter


def open_model(
    version: str,
    *,
    recipe: str | None = None,
    precision: Precision | None = None,
    bits: Bits | None = None,
    vision: str | None = None,
    decoder: str | None = None,
    image_size: int | None = None,
    conv_type: str | None = None,
    image_tokens: bool | None = None,
    max_length: int | None = None,
    device: str | None = None,
    revision: str | None = None,
) -> tuple[Segmenter, str]:
    """The model, and one line that says what was opened and how.

    None always means: as the weights were trained; of `device`, the GPU where there is one. vision, decoder: for releases that
    hold no CLIP or SAM. image_tokens: False leaves out the tokens around the image, True asks for those of the weights.
    max_length: longest question in tokens, image included.
    Raises ValueError for what contradicts the weights or the machine, ImportError without bitsandbytes where it is needed, and
    what `model.load` raises.
    """
    import torch

    from seglm.model.backbones.templates import template
    from seglm.model.load import load

    # Before minutes of loading.
    written = template(conv_type) if conv_type else None
    if bits:
        bitsandbytes()
    device = device_named(device)
    model, chosen = load(
        version,
        recipe=recipe,
        precision=precision,
        device="cpu" if bits else device,
        vision=vision,
        decoder=decoder,
        revision=revision,
        world=World(device=torch.device(device)),
    )
    if image_size not in (None, chosen.decoder.image_size):
        raise ValueError(
            f"--image_size {image_size}: the weights are for {chosen.decoder.image_size}; leave the flag out"
        )
    line = f"{version}: recipe {chosen.name}, {chosen.engine.precision}, on {device}"
    if bits:
        line = f"{line}, {quantize(model, bits)}"
        model.to(device)
    if written:
        model.encoder.template = written
    if image_tokens and model.encoder.image_tokens is None:
        raise ValueError(
            f"--use_mm_start_end: recipe {chosen.name} writes no tokens around an image; leave the flag out"
        )
    if image_tokens is False:
        model.encoder.image_tokens = None
    if max_length:
        model.encoder.max_length = max_length
    return model, line


def device_named(name: str | None) -> str:
    """The device; None: the GPU where there is one. Raises ValueError for a device that this machine has not."""
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if name not in (*there, *(["cuda"] if len(there) > 1 else [])):
        raise ValueError(f"device={name!r}: this machine has {', '.join(there)}")
    return name
