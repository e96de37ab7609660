"""GLUS's own forward values, losses and gradients, at tiny size, against ours: the path that training takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from seglm.dataset.collate import collate
from seglm.model.decoders import sam2_step
from seglm.model.systems.glus import END_TO_END
from tests.conformance.checks import check_training
from tests.conformance.glus_golden import FAMILY, clips, golden, released
from tests.conformance.goldens import assert_close, cases, each
from tests.conformance.lisa_golden import original_gradients

TRAINING = cases(FAMILY, having="clip.safetensors")  # with the weights 3 MB, too large to ship


@each("case", TRAINING)
@pytest.mark.parametrize("share_prefix", [False, True])
def test_losses_and_every_gradient_are_the_original_ones(case: str, share_prefix: bool) -> None:
    said = golden()
    check_training(said, original_gradients(FAMILY, case, said), share_prefix=share_prefix, clips=clips(said))


@each("case", TRAINING)
def test_every_forward_value_is_the_original_one(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = golden()
    written: list[tuple[Tensor, Tensor]] = []
    remember = sam2_step.remember

    def noted(decoder: Any, seen: Tensor, *rest: Any, **settings: Any) -> Any:
        entry = remember(decoder, seen, *rest, **settings)
        assert entry.features is not None
        written.append((seen, entry.features))
        return entry

    monkeypatch.setattr(sam2_step, "remember", noted)
    model, batch = said.model, collate(clips(said), share_prefix=False)
    with torch.no_grad():
        states = model.backbone.hidden(batch)
        queries = model.queries(model.slot_states(states.flatten(0, 1), batch))
        low = model.draw(queries, batch, model.features(batch))
        logits = model.backbone.head(states)
    tail = said.io["out.logits_tail"].shape[1]
    got = {"out.logits_tail": logits[:, -tail:]}
    first = [batch.frame_example.index(sample) for sample in range(len(batch.keys))]
    for time, (seen, features) in enumerate(written):
        taken = 0  # objects of the samples before, which stand in one batch with this one's
        for sample, drawn in enumerate(first):
            jobs = [job for job, (_, frame) in enumerate(batch.jobs) if frame == drawn + time]
            own = slice(taken, taken := taken + len(jobs))
            here = f"frame{time}.sample{sample}"
            got[f"out.low_res.{here}"] = low[jobs]
            got[f"out.seg_embed.{here}"] = queries[[batch.jobs[job][0] for job in jobs]]
            got[f"out.image_embed.{here}"] = seen[own]
            got[f"out.maskmem.{here}"] = features[own]
    wanted = {name: value for name, value in said.io.items() if name.startswith("out.")}
    wanted = {name: value for name, value in wanted.items() if not name.endswith("loss")}
    assert set(wanted) == set(got)
    for name, value in wanted.items():
        assert_close(got[name], value, name)


@each("case", TRAINING)
def test_gradients_through_memory_change_no_loss_and_reach_earlier_frames(case: str) -> None:
    end_to_end = released()
    decoder = replace(end_to_end.decoder, training_memory=END_TO_END)  # type: ignore[call-arg]
    losses, reached = [], []
    for recipe in (released(), replace(end_to_end, decoder=decoder)):
        said = golden(recipe)
        batch = collate(clips(said))
        states = said.model.backbone.hidden(batch).flatten(0, 1)
        queries = said.model.queries(said.model.slot_states(states, batch)).detach().requires_grad_()
        low = said.model.draw(queries, batch, said.model.features(batch))
        last = [job for job, (_, frame) in enumerate(batch.jobs) if frame == 2]
        first = [batch.jobs[job][0] for job, (_, frame) in enumerate(batch.jobs) if frame == 0]
        losses.append(low.detach())
        (gradient,) = torch.autograd.grad(low[last].square().mean(), queries)
        reached.append(bool(gradient[first].any()))
    assert torch.equal(*losses)
    assert reached == [False, True]
