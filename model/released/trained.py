"""Trained weights apart from their base: our portable checkpoint, and whatever zero_to_fp32.py has made of a run.

It may be a file, shards with an index, or a *folder* called `pytorch_model.bin`; trained weights only (ZeRO-1 leaves
the frozen ones out) or all; with our canonical names, our module names, or the original LISA's. And what xtuner has saved of
Sa2VA (`sa2va_training.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.model.names import OF_TRAINING, canonical, is_canonical, names
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.config_keys import section
from seglm.model.released.errors import WeightsError, WrongNames
from seglm.model.released.files import config_of, read_tensors
from seglm.model.released.identify import manifest_of, refuse_adapter
from seglm.model.released.lisa import lisa_names, lora_rank, unwrapped
from seglm.model.released.strict import Report, listed, load_canonical
from seglm.model.settings import Lora
from seglm.utils.manifest import weights_entry
from seglm.utils.portable import is_portable, read_portable

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)
SA2VA = "grounding_encoder."
"""how Sa2VA's mask decoder begins, in a release and in a training"""


@dataclass(frozen=True)
class Trained:
    """Weights that complete a base."""

    source: str
    tensors: Mapping[str, Tensor]
    """canonical names"""
    lora_rank: int
    """0 if there are no adapters among them"""
    manifest: Mapping[str, Any]
    """empty if none lies beside the weights"""


def read_trained(path: str | Path) -> Trained:
    """Reads trained weights under any of the spellings. Raises WrongNames for names of none of them."""
    path = Path(path)
    if path.is_dir():
        refuse_adapter(path)
        if config_of(path).get("model_type") == "seglm":
            raise WeightsError(
                f"{path}: this is merged already; use it as --version (python chat.py --version {path}), it needs no base"
            )
    if path.is_dir() and is_portable(path):
        read_portable(path)  # proves that weights and manifest belong together
    raw = read_tensors(path)
    if not raw:
        raise WeightsError(
            f"{path}: no tensor in this file; was the training stopped before its first checkpoint?"
        )
    tensors = _canonical(raw, str(path))
    rank = lora_rank({name: tuple(tensor.shape) for name, tensor in tensors.items()}, source=str(path))
    return Trained(str(path), tensors, rank, manifest_of(path))


def compare_base(base: Checkpoint, trained: Trained) -> None:
    """Raises WeightsError if the base has these weights in it already: adapters added twice are a model that nobody trained.

    If the files of the base are others than those that were trained on, a warning says so: they may be the same in another form.
    """
    inside = _bases(base.manifest, base.source).get("trained")
    if inside and inside == weights_entry(trained.source)["files"]:
        raise WeightsError(
            f"{base.source} (--version) is {trained.source} (--weight) merged with its base: leave out --weight, or give the base"
        )
    known = _bases(trained.manifest, trained.source)
    now = {role: weights_entry(path)["files"] for role, path in base.bases.items()} if known else {}
    other = [role for role in now if role not in known or (known[role] and known[role] != now[role])]
    if other:
        log.warning(
            "%s were trained on other files than %s; is that their base?",
            trained.source,
            " and ".join(base.bases[role] for role in other),
        )


def on_base(trained: Trained, base: Checkpoint, lora: Lora) -> Trained:
    """Trained weights as a model on this base has them. lora: its alpha is the training's. Raises WrongNames, WrongShapes."""
    from seglm.model.released import sa2va_training  # which needs PyTorch

    tensors = sa2va_training.on_base(trained.tensors, base.llm or {}, lora, source=trained.source)
    return replace(trained, tensors=tensors)


def _bases(manifest: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Role -> name and fingerprint of its weight files, as a manifest has them."""
    bases = section(manifest, "bases", source=source)
    return {role: section(bases, role, source=source).get("files") for role in bases}


def load_trained(model: nn.Module, trained: Trained, *, required: Sequence[str]) -> Report:
    """Puts trained weights over a model that holds its base.

    required: the canonical names that training changes (the trainable table's). All of them must be there; what is
    there besides must be in the model too and is taken over; the rest keeps the base's values.
    Raises WrongNames that lists missing names, WrongRank, WrongShapes; the model is then untouched.
    """
    if absent := [name for name in required if name not in trained.tensors]:
        if all(".lora_" in name for name in absent) and not trained.lora_rank:
            hint = "They hold no adapters: they were trained with --lora_r 0, or they are a merged model (give it as --version)."
        else:
            hint = "Was another set of weights trained? Give the recipe they were trained with (--recipe, --lora_r)."
        raise WrongNames(
            f"{trained.source}: {len(absent)} of {len(required)} trained weights are not in the file:\n{listed(absent)}\n{hint}"
        )
    frozen = tuple(_exactly(name) for name in names(model) if name not in trained.tensors)
    return load_canonical(model, trained.tensors, allow_missing=frozen, place=lambda name: trained.source)


def _canonical(raw: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    own = {name.removeprefix("module."): tensor for name, tensor in raw.items()}
    bare = {name: tensor for name, tensor in own.items() if not name.startswith(OF_TRAINING)}
    if any(name.startswith("backbone.") for name in bare):
        return {canonical(name): tensor for name, tensor in bare.items()}
    if all(is_canonical(unwrapped(name)) for name in bare):
        return bare
    if any(name.startswith(SA2VA) for name in bare):
        from seglm.model.released import sa2va_training

        return sa2va_training.sa2va_training_names(bare, source=source)
    return lisa_names(raw, source=source)


def _exactly(name: str) -> str:
    return name.replace(".", r"\.")
