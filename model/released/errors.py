"""Every way in which weights can be wrong, each with a type of its own; all are ValueErrors that name the next step."""

from __future__ import annotations

from seglm.utils.containers import WeightsError as WeightsError


class DeltaWeights(WeightsError):
    """LLaVA's published difference to LLaMA, offered as a model."""


class AdapterOnly(WeightsError):
    """Adapters or trained weights alone, offered as a full model."""


class WrongRank(WeightsError):
    """Adapters whose rank differs from the model's."""


class WrongNames(WeightsError):
    """Missing, unused or renamed tensors."""


class WrongShapes(WeightsError):
    """Tensors whose shapes differ from the model's."""


class OldLayout(WeightsError):
    """A layout that only an old commit of the original repository reads."""


class Ambiguous(WeightsError):
    """Weights that several recipes fit, or that none fits."""


class NotFinite(WeightsError):
    """Tensors with NaN or infinity among their values."""
