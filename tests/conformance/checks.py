"""What every golden of the LISA layout is checked for: losses, gradients, forward values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seglm.dataset.collate import collate
from seglm.utils.batch import Batch
from seglm.utils.types import Example
from tests.conformance.goldens import GRADIENT_RELATIVE, LOSS_RELATIVE, assert_close
from tests.conformance.lisa_golden import Golden, examples

LOSS_NAMES = {
    "language": "ce_loss",
    "bce": "mask_bce_loss",
    "dice": "mask_dice_loss",
    "keyword": "keyword_loss",
    "contrast": "contrastive_loss",
}


def check_training(
    said: Golden,
    wanted: dict[str, Tensor],
    *,
    share_prefix: bool,
    unweighted: tuple[str, ...] = (),
    clips: list[Example] | None = None,
) -> None:
    """Every loss and every gradient.

    unweighted: terms whose loss the case reports without its weight. clips: what goes in, if it is not one picture an example.
    """
    model = said.model.train()
    model.zero_grad()
    output = model(collate(clips or examples(said), share_prefix=share_prefix))
    output.loss.backward()
    weights = {term.name: term.weight for term in model.recipe.terms}
    for name, part in output.parts.items():
        got = (1 if name in unweighted else weights[name]) * part.sum.item() / part.count
        assert got == pytest.approx(said.about["losses"][LOSS_NAMES[name]], rel=LOSS_RELATIVE), name
    assert output.loss.item() == pytest.approx(said.about["losses"]["loss"], rel=LOSS_RELATIVE)
    wanted = dict(wanted)
    for name, parameter in model.named_parameters():
        if name not in wanted:
            assert not parameter.requires_grad or parameter.grad is None or not parameter.grad.any(), (
                f"{name} is trained here only"
            )
            continue
        got_grad = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        assert_close(got_grad, wanted.pop(name), f"gradient of {name}", rtol=GRADIENT_RELATIVE)
    assert not wanted, f"the original trains {sorted(wanted)}, we have no such parameter"


def check_forward(said: Golden, *, by_dialogue: bool = False) -> None:
    """Every tensor that a training or validation case holds. by_dialogue: masks are counted by dialogue, not by image."""
    clips = examples(said)
    batch = collate(clips, share_prefix=False)
    with torch.no_grad():
        got = forward_values(said, batch, clips, by_dialogue=by_dialogue)
    wanted = {name: value for name, value in said.io.items() if name in got or name.startswith("out.")}
    wanted = {name: value for name, value in wanted.items() if not name.endswith("loss")}
    assert set(wanted) <= set(got), f"not compared: {sorted(set(wanted) - set(got))}"
    for name, want in wanted.items():
        assert_close(got[name], want, name)


def forward_values(
    said: Golden, batch: Batch, clips: list[Example], *, by_dialogue: bool = False
) -> dict[str, Tensor]:
    """All of them from our modules; rows are unshared, so places are the original's."""
    model, io = said.model.eval(), said.io
    backbone, decoder = model.backbone, model.decoder
    real = batch.group >= 0
    states = backbone.hidden(batch)
    logits = backbone.head(states)
    features = decoder.encode(batch.drawn, batch.resized)
    picked = model.slot_states(states.flatten(0, 1), batch)
    queries = model.queries(picked)
    prompts = model.prompts(queries, batch.slots)
    low, iou = model.decode(features[batch.job_frame], prompts[batch.job_slot])
    draws = torch.tensor([slot.token == model.recipe.seg_token for slot in batch.slots])
    places = (batch.slot_at - 1)[draws]
    columns = batch.ids.shape[1]
    got = {
        "out.last_hidden_state": states,
        "out.inputs_embeds": backbone.embed(batch),
        "out.logits": logits,
        "out.clip_features": backbone.see(torch.cat([torch.from_numpy(clip.vision) for clip in clips])),
        "out.sam_image_embedding": features,
        "out.seg_hidden_state": picked[draws],
        "out.pred_embeddings": queries[draws],
        "out.seg_positions": torch.stack([places // columns, places % columns], 1),
        "out.dense_pe": decoder.prompt_encoder.get_dense_pe(),
        "out.dense_prompt_embedding": decoder.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1).expand_as(
            features[:1]
        ),
    }
    if "out.logits_tail" in io:
        got["out.logits_tail"] = logits[:, -io["out.logits_tail"].shape[1] :]
    masks = model.masks_by_frame(low, batch)
    of_frame = [[job for job, (_, at) in enumerate(batch.jobs) if at == frame] for frame in range(len(clips))]
    groups = _by_dialogue(batch) if by_dialogue else of_frame
    for number, jobs in enumerate(groups):
        frame = batch.jobs[jobs[0]][1] if jobs else number
        got[f"out.low_res_masks.{number}"] = low[jobs]
        got[f"out.iou_pred.{number}"] = iou[jobs]
        got[f"out.pred_masks.{number}"] = masks[frame][[of_frame[frame].index(job) for job in jobs]]
    for image in range(len(clips)):
        mine = torch.tensor([slot.example == image for slot in batch.slots])
        got[f"out.fused.{image}"] = prompts[mine & draws][:, 0]
        got[f"out.key_embedding.{image}"] = queries[mine & ~draws]
    return {name: _as_original(value, io.get(name), real) for name, value in got.items()}


def _by_dialogue(batch: Batch) -> list[list[int]]:
    """The jobs of each dialogue, all images in order."""
    dialogues = sorted({(slot.example, slot.branch) for slot in batch.slots})
    slot_of = [batch.slots[slot] for slot, _ in batch.jobs]
    return [
        [job for job, slot in enumerate(slot_of) if (slot.example, slot.branch) == dialogue]
        for dialogue in dialogues
    ]


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
