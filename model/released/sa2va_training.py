"""What a training of Sa2VA leaves behind, `iter_N.pth` of xtuner and mmengine: its trained weights, which belong on their base.

InternVL's names behind `mllm.model.`, in its language model behind peft's `base_model.model.` with adapters as peft calls them;
`text_hidden_fcs` and SAM-2's mask decoder as in a release (`state_dict` in projects/llava_sam2/models/llava_sam2.py of
magic-research/Sa2VA at d01bf3f, `get_peft_model_state_dict` in xtuner/model/utils.py of InternLM/xtuner at 100c31c). The version
of bytedance/Sa2VA at 9832e1a has embedding and head below `modules_to_save`. An InternLM 2 has one adapter for queries, keys and
values, and one on its head: both are only understood together with the base (`on_base`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from seglm.model.released.errors import WrongNames
from seglm.model.released.internvl import ORIGINAL, OTHER_INTERNVL, parted
from seglm.model.released.keymap import mapped
from seglm.model.released.sa2va import TRAINED, apart
from seglm.model.released.strict import listed
from seglm.model.settings import Lora

if TYPE_CHECKING:
    from torch import Tensor

PEFT = "base_model.model."
"""what peft puts before the names of the language model"""
FROZEN = ".original_module."
"""peft's untrained copy of what stands below `modules_to_save`"""
PLAIN = (
    (f"language_model.{PEFT}", "language_model."),
    (".modules_to_save.default.", "."),
    (".base_layer.", "."),
    (".lora_A.default.", ".lora_A."),
    (".lora_B.default.", ".lora_B."),
)
"""what peft says in the middle of a name -> what is left of it"""
HALVES = ("", ".lora_A", ".lora_B")
HEAD = "llm.lm_head"


def sa2va_training_names(raw: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """Trained weights under our names, an InternLM 2's fused adapters as they are. Raises WrongNames for unknown names."""
    bare = [(_plain(name), tensor) for name, tensor in raw.items() if FROZEN not in name]
    plain = dict(bare)
    if len(plain) != len(bare):
        twice = sorted({name for name, _ in bare if [one for one, _ in bare].count(name) > 1})
        raise WrongNames(
            f"{source}: {len(twice)} tensors stand twice, with and without peft's words:\n{listed(twice)}"
        )
    own, rest = apart(plain, source, partly=True)
    found: dict[str, Tensor] = {}
    for half in HALVES:
        ending = f"{half}.weight"
        part = {
            name.removesuffix(ending) + ".weight" if half else name: tensor
            for name, tensor in rest.items()
            if (name.endswith(ending) if half else ".lora_" not in name)
        }
        named = mapped(part, ORIGINAL, source=source, layout="InternVL", hint=OTHER_INTERNVL)
        found |= {
            name.removesuffix(".weight") + ending if half else name: tensor for name, tensor in named.items()
        }
    return {**own, **dict(parted(found, None, source))}


def on_base(
    tensors: Mapping[str, Tensor], text: Mapping[str, Any], lora: Lora, *, source: str
) -> dict[str, Tensor]:
    """Trained weights as our model has them: an InternLM 2's adapters taken apart, and the head's added to it.

    text: the sizes of the base's language model. lora: its alpha is the training's.
    Raises WrongNames for an adapter of a head that is not there, WrongShapes if adapters and base are not of one model.
    """
    found = dict(parted(tensors, text, source))
    down, up = (found.pop(f"{HEAD}{half}.weight", None) for half in HALVES[1:])
    if down is not None and up is not None:
        if f"{HEAD}.weight" not in found:
            raise WrongNames(
                f"{source}: adapters of the head without the head; save the whole state dict of the training"
            )
        head = found[f"{HEAD}.weight"]
        added = lora.alpha / down.shape[0] * (up.float() @ down.float())
        found[f"{HEAD}.weight"] = (head.float() + added).to(head.dtype)
    return found


def _plain(name: str) -> str:
    """A name without what the training wraps the language model in."""
    name = name.removeprefix(TRAINED)
    name = f"language_model.{name}" if name.startswith(PEFT) else name
    for before, after in PLAIN:
        name = name.replace(before, after)
    return name
