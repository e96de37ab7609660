"""How a fresh projection begins: next to nothing, as LISA's, or at what the decoder knows as a point."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from seglm.bases import tiny_sam, tiny_sam2
from seglm.model.build import build
from seglm.model.decouple import Decoupled
from seglm.model.project import TwoLayers
from seglm.model.recipes import recipe as named
from seglm.model.toy import BASES


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_a_point_is_its_position_and_one_vector(kind: str) -> None:
    corners = torch.tensor([[[20.5, 30.5]] * 2, [[90.5, 7.5]] * 2])
    with torch.no_grad():
        if kind == "sam":
            sam = tiny_sam.load(BASES / "sam")
            said = tiny_sam.Prompts(
                torch.tensor([0, 0]), torch.tensor([False, False]), corners, torch.ones(2, 1, 8).bool()
            )
            vectors = tiny_sam.embed(sam, said, padded=False)[:, 0]
            scaled = corners[:, :1] * (sam.image_size / 128)
            where = sam.prompt_encoder.pe_layer.forward_with_coords(scaled, (sam.image_size, sam.image_size))[
                :, 0
            ]
            point = sam.a_point()
        else:
            sam2 = tiny_sam2.load(BASES / "sam2")
            vectors = tiny_sam2.embed(sam2, corners, box=False)[:, 0]
            where = sam2.prompt_encoder.shared_embedding(corners[:, None, :1], (128, 128))[:, 0, 0]
            point = sam2.a_point()
    assert torch.allclose(vectors - where, point.expand(2, -1), atol=1e-5)
    assert not torch.allclose(where[0], where[1], atol=0.1)


@pytest.mark.parametrize("name", ["lisa_tiny", "sa2va_tiny", "desa2va_tiny"])
def test_a_fresh_projection_of_the_toy_world_says_a_point_of_everything(name: str) -> None:
    recipe = named(name)
    assert isinstance(recipe.project, TwoLayers | Decoupled)
    states = 0.3 * torch.randn(5, 128)
    for project in (recipe.project, replace(recipe.project, as_point=False)):
        model = build(replace(recipe, project=project)).model
        begun = model.decoder.a_point() if project.as_point else torch.zeros(())
        said = model.project(states)
        assert (said - begun).norm(dim=-1).max() < 0.5 * model.decoder.a_point().norm()


def test_a_decoder_without_points_is_named() -> None:
    project = TwoLayers(as_point=True)
    with pytest.raises(ValueError, match="an? Identity has no vector for points.*project.as_point=false"):
        project.start(project.build(hidden=4, width=2), torch.nn.Identity())  # type: ignore[arg-type]
