"""LISA's own forward values, losses, gradients, generated ids and masks, at tiny size, against ours."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor

from seglm.dataset.collate import collate
from seglm.model.answer import answer, forced
from seglm.model.generate import generate
from seglm.model.names import module_name
from seglm.model.released.lisa import lisa_names
from seglm.utils.types import Batch, Example
from tests.conformance.goldens import GRADIENT_RELATIVE, LOSS_RELATIVE, assert_close, cases, facts, tensors
from tests.conformance.lisa_golden import Golden, examples, load, original_gradients
from tests.conformance.lost_head import restore_head

FAMILY = "lisa"
CASES = cases(FAMILY)
TRAINING = [case for case in CASES if (facts(FAMILY, case, "io.json").get("losses"))]
GENERATED = [case for case in CASES if "max_new_tokens" in facts(FAMILY, case, "io.json")]
FORCED = [case for case in CASES if case not in TRAINING and case not in GENERATED]
TERM = {"language": "ce_loss", "bce": "mask_bce_loss", "dice": "mask_dice_loss"}


@cache
def golden(case: str) -> Golden:
    said = load(FAMILY, case, facts(FAMILY, case, "io.json"))
    if case in TRAINING:
        batch = collate(examples(said), share_prefix=False)
        restore_head(said.model, batch, said.io["out.logits_tail"], original_gradients(FAMILY, case, said))
    return said


@pytest.mark.parametrize("case", TRAINING)
@pytest.mark.parametrize("share_prefix", [False, True])
def test_losses_and_every_gradient_are_the_original_ones(case: str, share_prefix: bool) -> None:
    said = golden(case)
    model = said.model.train()
    model.zero_grad()
    output = model(collate(examples(said), share_prefix=share_prefix))
    output.loss.backward()
    weights = {term.name: term.weight for term in model.recipe.terms}
    for name, part in output.parts.items():
        got = weights[name] * part.sum.item() / part.count
        assert got == pytest.approx(said.about["losses"][TERM[name]], rel=LOSS_RELATIVE), name
    assert output.loss.item() == pytest.approx(said.about["losses"]["loss"], rel=LOSS_RELATIVE)
    wanted = original_gradients(FAMILY, case, said)
    for name, parameter in model.named_parameters():
        if name not in wanted:
            assert not parameter.requires_grad or parameter.grad is None or not parameter.grad.any(), (
                f"{name} is trained here only"
            )
            continue
        got_grad = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        assert_close(got_grad, wanted.pop(name), f"gradient of {name}", rtol=GRADIENT_RELATIVE)
    assert not wanted, f"the original trains {sorted(wanted)}, we have no such parameter"


@pytest.mark.parametrize("case", TRAINING + FORCED)
def test_every_forward_value_is_the_original_one(case: str) -> None:
    said = golden(case)
    batch = collate(examples(said), share_prefix=False)
    with torch.no_grad():
        got = forward_values(said, batch, examples(said))
    compared = 0
    for name, want in said.io.items():
        if name in got:
            assert_close(got[name], want, f"{case} {name}")
            compared += 1
    known = {name for name in said.io if name.startswith("out.") and not name.endswith("loss")}
    assert known <= set(got), f"not compared: {sorted(known - set(got))}"
    assert compared >= len(known)


def forward_values(said: Golden, batch: Batch, clips: list[Example]) -> dict[str, Tensor]:
    """All tensors a training or validation case holds, from our modules; rows are unshared, so places are the original's."""
    model, io = said.model.eval(), said.io
    backbone, decoder = model.backbone, model.decoder
    real = batch.group >= 0
    states = backbone.hidden(batch)
    logits = backbone.head(states)
    features = decoder.encode(batch.drawn, batch.resized)
    picked = states.flatten(0, 1)[batch.slot_at - 1]
    prompts = model.prompts(model.queries(picked), batch.slots)
    low, iou = model.decode(features[batch.job_frame], prompts[batch.job_slot])
    columns = batch.ids.shape[1]
    got = {
        "out.last_hidden_state": states,
        "out.inputs_embeds": backbone.embed(batch),
        "out.logits": logits,
        "out.clip_features": backbone.see(torch.cat([torch.from_numpy(clip.vision) for clip in clips])),
        "out.sam_image_embedding": features,
        "out.seg_hidden_state": picked,
        "out.pred_embeddings": prompts[:, 0],
        "out.seg_positions": torch.stack([(batch.slot_at - 1) // columns, (batch.slot_at - 1) % columns], 1),
        "out.dense_pe": decoder.prompt_encoder.get_dense_pe(),
        "out.dense_prompt_embedding": decoder.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1).expand_as(
            features[:1]
        ),
    }
    if "out.logits_tail" in io:
        got["out.logits_tail"] = logits[:, -io["out.logits_tail"].shape[1] :]
    jobs_of = [
        [job for job, (_, frame) in enumerate(batch.jobs) if frame == image] for image in range(len(clips))
    ]
    for image, jobs in enumerate(jobs_of):
        got[f"out.low_res_masks.{image}"] = low[jobs]
        got[f"out.iou_pred.{image}"] = iou[jobs]
        got[f"out.pred_masks.{image}"] = model.masks_by_frame(low, batch)[image]
    return {name: _as_original(value, io.get(name), real) for name, value in got.items()}


def _as_original(got: Tensor, want: Tensor | None, real: Tensor) -> Tensor:
    """Padding is nobody's business: the original computes states there as well, ours are taken from it."""
    if (
        want is None
        or got.dim() != 3
        or got.shape[0] != real.shape[0]
        or got.shape[1] > real.shape[1]
        or want.shape != got.shape
    ):
        return got
    return torch.where(real[:, real.shape[1] - got.shape[1] :, None], got, want)


@pytest.mark.parametrize("case", FORCED)
def test_forced_masks_are_the_original_ones(case: str) -> None:
    said = golden(case)
    answers = forced(said.model.eval(), collate(examples(said)))
    assert_close(
        torch.cat([given.masks[:, 0] for given in answers]), said.io["out.pred_masks.0"], "pred_masks"
    )


@pytest.mark.parametrize("case", GENERATED)
def test_generated_ids_and_masks_are_the_original_ones(case: str) -> None:
    said = golden(case)
    batch = collate(examples(said, is_open=True))
    [given] = answer(said.model.eval(), batch, max_new_tokens=said.about["max_new_tokens"])
    prompt = said.io["in.input_ids"][0].tolist()
    assert prompt + list(given.ids) == said.io["out.output_ids"][0].tolist()
    assert_close(given.masks[:, 0], said.io["out.pred_masks.0"], "pred_masks")
    assert given.scores == pytest.approx(said.io["out.iou_pred.0"].flatten().tolist(), abs=1e-4)
    [written] = generate(said.model, batch, max_new_tokens=said.about["max_new_tokens"])
    states = torch.stack(written.states)
    slots = [place for place, token in enumerate(written.ids) if token == said.ids["SEG"]]
    assert_close(
        said.model.backbone.head(states[: len(written.ids)]), said.io["out.step_logits"], "step_logits"
    )
    assert_close(states[slots], said.io["out.seg_hidden_state"], "seg_hidden_state")
    assert_close(said.model.queries(states[slots]), said.io["out.pred_embeddings"], "pred_embeddings")


@pytest.mark.parametrize(
    "case", [case for case in CASES if case in set(cases(FAMILY, having="merged.safetensors"))]
)
def test_merged_adapters_are_the_original_merged_weights(case: str) -> None:
    said = golden(case)
    wanted = lisa_names(tensors(FAMILY, case, "merged.safetensors"), source=case)
    for name, want in wanted.items():
        inside, _, leaf = module_name(name, said.model).removesuffix(".base_layer.weight").rpartition(".")
        module = said.model.get_submodule(f"{inside}.{leaf}" if leaf.endswith("_proj") else inside)
        if isinstance(module, LoraLayer):
            got = module.get_base_layer().weight + module.get_delta_weight("default")  # type: ignore[operator]
        else:
            got = said.model.get_parameter(module_name(name, said.model))
        assert_close(got, want, name)
