"""Our own tensor names, fixed for good, and where they stand in the tree of the installed libraries.

Files carry `llm. vision. projector. decoder. project. fuse.` names; transformers and peft rename their modules from
release to release, so nothing we write depends on `named_parameters()`. One table, read in both directions; a built
model decides which of its lines apply, and `names` proves that the mapping is one to one.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


# (prefix in the module tree, our prefix); the first that fits wins. CLIP has two: transformers 5 dropped `vision_model`.
PREFIXES = (
    ("backbone.llm.lm_head", "llm.lm_head"),
    ("backbone.llm.model", "llm"),
    ("backbone.vision.vision_model", "vision"),
    ("backbone.vision", "vision"),
    ("backbone.projector.linear_1", "projector.0"),
    ("backbone.projector.linear_2", "projector.2"),
    ("backbone.projector", "projector"),
    ("decoder", "decoder"),
    ("project", "project"),
    ("fuse", "fuse"),
)
# peft puts the wrapped layer and its adapters below the layer's own name
INFIXES = ((".base_layer.", "."), (".lora_A.default.", ".lora_A."), (".lora_B.default.", ".lora_B."))
OF_TRAINING = "banks."  # of a Segmenter: it goes into checkpoints that a run goes on from, and into no others
GROUPS = ("llm", "vision", "projector", "decoder", "project", "fuse")


def canonical(module_name: str) -> str:
    """The name in our files of a tensor or module of a built model, e.g. `backbone.llm.model.norm` -> `llm.norm`.

    Raises ValueError for a name outside the table.
    """
    dotted = f"{module_name}."
    for inside, ours in PREFIXES:
        if dotted.startswith(f"{inside}."):
            dotted = ours + dotted[len(inside) :]
            break
    else:
        known = ", ".join(inside for inside, _ in PREFIXES)
        raise ValueError(
            f"{module_name!r} has no canonical name; the module tree starts with one of {known} (model/names.py)"
        )
    for inside, ours in INFIXES:
        dotted = dotted.replace(inside, ours)
    return dotted[:-1]


def names(model: nn.Module) -> dict[str, str]:
    """Our name -> module-tree name, for every tensor that `model` keeps (parameters and persistent buffers).

    What a loss remembers (OF_TRAINING) is none of them.
    Raises ValueError if two tensors would share a name: then the table is wrong for the installed libraries.
    """
    found: dict[str, str] = {}
    for inside in model.state_dict():
        if inside.startswith(OF_TRAINING):
            continue
        ours = canonical(inside)
        if ours in found:
            raise ValueError(
                f"{inside!r} and {found[ours]!r} would both be called {ours!r}; mend PREFIXES in model/names.py"
            )
        found[ours] = inside
    return found


def module_name(name: str, model: nn.Module) -> str:
    """The name in `model`'s tree of a tensor of our files. Raises ValueError that lists the nearest names."""
    known = names(model)
    if name not in known:
        raise ValueError(f"the model has no tensor {name!r}; the nearest: {nearest(name, known)}")
    return known[name]


def nearest(name: str, known: Iterable[str]) -> str:
    """Up to three names like `name`, for messages."""
    return ", ".join(get_close_matches(name, list(known), n=3, cutoff=0.5)) or "none"


def group(name: str) -> str:
    """The part of the model that a canonical name belongs to, e.g. `llm`, `llm lora`, `decoder.mask_decoder`."""
    if ".lora_" in name:
        return f"{name.split('.')[0]} lora"
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "decoder" else parts[0]


def is_canonical(name: str) -> bool:
    """True if the name starts with one of our prefixes."""
    return name.split(".")[0] in GROUPS
