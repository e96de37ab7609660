"""What the vision tower made of frames that are shown again in the windows that follow: each is decoded and encoded once.

Letters: N frames, P patches, D channels of the tower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np

from seglm.dataset.pixels import vision_pixels
from seglm.evaluation.asking.turns import Answered, Seat, Walk
from seglm.utils.types import Clip, Sample

if TYPE_CHECKING:
    from torch import Tensor

    from seglm.model.segmenter import Segmenter

Seeing = Callable[[Sequence[Clip]], "Tensor"]
"""clips -> the features of all their frames in order, [N, P, D]"""
SEEN = np.zeros((1, 1, 3), np.uint8)  # stands for a picture whose features are known


class Sight:
    """Remembers the frames of the last windows of some samples, if their walks come back to any."""

    def __init__(self, model: Segmenter, samples: Sequence[Sample], walk: Walk) -> None:
        self.model = model
        self._held: dict[tuple[int, int], Tensor] = {}
        # A cell is seen among all of its picture's, and their number is no tower's own: they are encoded each time.
        self._comes_back = model.recipe.look.fit != "cells" and any(
            not set(window.seen).isdisjoint(following.seen)
            for sample in samples
            for window, following in pairwise(islice(walk(sample.num_frames), 2))
        )

    def on(self, seats: Sequence[tuple[Seat, Answered]]) -> Seeing | None:
        """A look at these windows; None where every frame is shown once."""
        places = [[(seat.sample, frame) for frame in seat.window.seen] for seat, _ in seats]
        return partial(self._features, places) if self._comes_back else None

    def _features(self, places: Sequence[Sequence[tuple[int, int]]], clips: Sequence[Clip]) -> Tensor:
        import torch

        model = self.model
        backbone, mode, fit = model.backbone, model.recipe.data.pixels, model.recipe.look.fit
        assert fit != "cells", "cells are never remembered"
        wanted = dict.fromkeys(place for own in places for place in own)
        new: dict[tuple[int, int], Tensor] = {}
        for own, clip in zip(places, clips, strict=True):
            for number, place in enumerate(own):
                if place not in self._held and place not in new:
                    pixels = vision_pixels(clip.seen[number], backbone.vision_size, mode=mode, fit=fit)
                    new[place] = torch.from_numpy(pixels)
        held = {place: features for place, features in self._held.items() if place in wanted}
        if new:
            with torch.inference_mode(), model.autocast():
                features = backbone.see(torch.stack(list(new.values())).to(backbone.device))
            held |= dict(zip(new, features.unbind(), strict=True))
        self._held = held
        return torch.stack([held[place] for own in places for place in own])
