"""The golden probe: two tiny pictures, one question, and what the model answered when the checkpoint was made.

Beside it stands what its recipe says and asks about one clip, to the letter.

A loaded model is asked again. Another base, another tokenizer, a decoder that was read over, a wrong precision, another
wording: each changes the answer, and the load fails instead of the user's next evaluation.
Letters: R = 2 rows, one picture each; T tokens; C prompt width; V vocabulary; h w decoder grid; P patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seglm.model.precision import Precision
from seglm.model.released.errors import WeightsError
from seglm.model.released.files import read_tensors
from seglm.utils.atomic import follow_umask
from seglm.utils.batch import Batch, Bound, Laid
from seglm.utils.types import Branch, Clip, Dialogue, Images, Script, Slot, Target, Turn

if TYPE_CHECKING:
    from torch import Tensor

    from seglm.model.segmenter import Segmenter

FILE = "probe.safetensors"
QUESTION = "\nWhat is the bright square in this image? Please output segmentation mask."
TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 6e-2}
"""largest permitted |difference| / |value| (Euclidean norms) of each reading; measured differences stand in
docs/numbers.md"""
READINGS = ("embedding", "logits", "masks")
SAYINGS = ("training", "question")
"""of the recipe: `<name>_text` uint8, UTF-8, and `<name>_ids` int64; folders of the first versions have none"""


class ProbeFailed(WeightsError):
    """A model does not answer the probe as it did when it was saved."""


def read(model: Segmenter) -> dict[str, Tensor]:
    """What the model says to the probe.

    ids: int64 [T]. embedding: float32 [R, C], the projected state of the slot. logits: float32 [R, V] at the state
    that predicts the slot. masks: float32 [R, h, w], low resolution. And the recipe's SAYINGS.
    """
    import torch

    was_training = model.training
    model.eval()
    batch = probe_batch(model)
    with torch.no_grad(), model.autocast():
        states = model.states(batch)
        logits = model.backbone.head(states[batch.slot_at[batch.job_slot] - 1])
        features = model.decoder.encode(batch.drawn, batch.resized)
    with torch.no_grad():
        prompts = model.prompts(model.queries(model.slot_states(states, batch)), batch.slots)[batch.job_slot]
        masks, _ = model.decode(features, prompts)
    model.train(was_training)
    return {
        "ids": batch.ids[0].cpu(),
        "embedding": prompts[:, 0].float().cpu(),
        "logits": logits.float().cpu(),
        "masks": masks[:, 0].float().cpu(),
        **sayings(model),
    }


def compare(
    now: Mapping[str, Tensor], then: Mapping[str, Tensor], *, precision: Precision, source: str
) -> dict[str, float]:
    """Relative difference of every reading. Raises ProbeFailed, naming reading and numbers, if one is past its tolerance."""
    import torch

    if not torch.equal(now["ids"], then["ids"]):
        raise ProbeFailed(
            f"{source}: the probe's question has other token ids now ({now['ids'].tolist()} against "
            f"{then['ids'].tolist()}); the tokenizer beside the weights is not the one they were saved with"
        )
    for name in SAYINGS:
        _same_words(name, now, then, source)
    limit = TOLERANCE[precision]
    apart = {
        key: float((now[key] - then[key]).norm() / then[key].norm().clamp(min=1e-12)) for key in READINGS
    }
    if wrong := {key: value for key, value in apart.items() if not value <= limit}:
        said = ", ".join(f"{key} differs by {value:.3g}" for key, value in wrong.items())
        raise ProbeFailed(
            f"{source}: the model does not answer its probe as it did when it was saved ({said}; permitted in {precision}: "
            f"{limit:g} of the norm); the weights, their base or the code that runs them are not the same. "
            "Make the folder again from its base and trained weights"
        )
    return apart


def write(folder: Path, reading: Mapping[str, Tensor]) -> None:
    """Stores a reading in a model's folder."""
    from safetensors.torch import save_file

    save_file({key: value.contiguous() for key, value in reading.items()}, folder / FILE)
    follow_umask(folder / FILE)


def check(model: Segmenter, folder: Path, *, saved: Precision) -> dict[str, float]:
    """Compares a loaded model with the reading in its folder, at the coarser of the two precisions; {} if there is none."""
    if not (folder / FILE).is_file():
        return {}
    own = model.recipe.engine.precision
    coarser = saved if TOLERANCE[saved] > TOLERANCE[own] else own
    return compare(read(model), read_tensors(folder / FILE), precision=coarser, source=str(folder))


def sayings(model: Segmenter) -> dict[str, Tensor]:
    """What the recipe says in training and asks in evaluation about one clip of two targets, of which one is not there."""
    import torch

    recipe, rng = model.recipe, np.random.default_rng(0)
    frames = recipe.frames(1, rng)
    there = np.ones((len(frames.drawn), 1, 1), dtype=np.bool_)
    targets = (
        Target(("the ring",), lambda _: there, keyword="ring", key="0"),
        Target(
            ("Which one could roll away?",),
            lambda _: ~there,
            is_sentence=True,
            explanation="It is round.",
            key="1",
        ),
    )
    pixel = np.zeros((1, 1, 1, 3), dtype=np.uint8)
    clip = Clip(
        key="probe|train/0",
        size=(1, 1),
        seen=pixel.repeat(len(frames.seen), 0),
        drawn=pixel.repeat(len(frames.drawn), 0),
        targets=targets,
        masks=(there, ~there),
        drawn_at=tuple(frames.seen.index(number) for number in frames.drawn),
    )
    scripts: dict[str, Script] = {
        "training": recipe.script(clip, rng, recipe),
        "question": recipe.prompt(clip, recipe),
    }
    found = {}
    for name, script in scripts.items():
        text = "\n\n".join(model.encoder.rendered(dialogue) for dialogue in script)
        found[f"{name}_text"] = torch.from_numpy(np.frombuffer(text.encode(), dtype=np.uint8).copy())
        branches = model.encoder.encode_script(script, key="probe", size=clip.size)
        found[f"{name}_ids"] = torch.from_numpy(np.concatenate([branch.ids for branch in branches]))
    return found


def _same_words(name: str, now: Mapping[str, Tensor], then: Mapping[str, Tensor], source: str) -> None:
    """Raises ProbeFailed if the recipe says something else than when the folder was made, or says it in other tokens."""
    import torch

    if f"{name}_text" not in then:
        return
    texts = [bytes(one[f"{name}_text"].tolist()).decode() for one in (then, now)]
    if texts[0] != texts[1]:
        raise ProbeFailed(
            f"{source}: its recipe's {name} reads {texts[1]!r} now and read {texts[0]!r} when it was saved; the recipe's prompt, "
            "script or template was changed. Undo the change, or train again with it"
        )
    if not torch.equal(now[f"{name}_ids"], then[f"{name}_ids"]):
        raise ProbeFailed(
            f"{source}: its recipe's {name}, the same text, has other token ids now; the tokenizer beside the weights is not the "
            "one they were saved with"
        )


def probe_batch(model: Segmenter) -> Batch:
    """Two pictures with the same dialogue, each a row of its own, on the model's device."""
    recipe = model.recipe
    key = (Slot(recipe.key_token, 0, ()),) if recipe.key_token else ()
    said = ("It is ", Slot(recipe.seg_token, 0, (0,)), ".", *key)
    branch = model.encoder.encode(Dialogue((Turn((Images((0,)), QUESTION), said),), (0,)))
    side, square = model.backbone.vision_size, model.decoder.image_size
    device = model.backbone.device
    return _batch(branch, vision=_pictures(side), drawn=_pictures(square)).to(device)


def _pictures(side: int) -> Tensor:
    """uint8 [2, 3, side, side]: a bright square on a gradient, and a ring on stripes; nearest neighbour of a fixed 16
    x 16 drawing."""
    import torch

    y, x = np.mgrid[0:16, 0:16]
    first = np.stack([x * 12, y * 12, np.full_like(x, 60)])
    first[:, 3:9, 5:11] = np.array([240, 200, 40])[:, None, None]
    second = np.stack([(x % 4) * 50, np.full_like(x, 90), 200 - y * 10])
    second[:, (abs(np.hypot(x - 8, y - 8) - 5) < 1.2)] = np.array([30, 220, 90])[:, None]
    at = np.arange(side) * 16 // side
    return torch.from_numpy(np.stack([first, second])[:, :, at][:, :, :, at].astype(np.uint8))


def _batch(branch: Branch, *, vision: Tensor, drawn: Tensor) -> Batch:
    import torch

    rows, length = vision.shape[0], len(branch.ids)
    square = (drawn.shape[2], drawn.shape[3])
    shown = np.flatnonzero(branch.frame >= 0)
    at = torch.from_numpy(np.concatenate([shown + row * length for row in range(rows)]))
    row_ids = torch.arange(rows)
    nothing = torch.zeros(0, dtype=torch.int64)
    return Batch(
        keys=tuple(f"probe/{row}" for row in range(rows)),
        ids=torch.from_numpy(branch.ids).expand(rows, -1).clone(),
        positions=torch.arange(length).expand(rows, -1).clone(),
        group=row_ids[:, None].expand(rows, length).clone(),
        branch=torch.zeros((rows, length), dtype=torch.int64),
        image_at=at,
        image_frame=row_ids.repeat_interleave(len(shown)),
        image_patch=torch.from_numpy(branch.patch[shown]).repeat(rows),
        labelled_at=nothing,
        labels=nothing,
        vision=vision,
        drawn=drawn.unbind(0),
        resized=(square,) * rows,
        sizes=(square,) * rows,
        slots=tuple(
            Bound(
                placed.slot.token,
                example=row,
                branch=0,
                target=0,
                row=row,
                place=placed.place,
                frames=(row,) if placed.slot.frames else (),
            )
            for row in range(rows)
            for placed in branch.slots
        ),
        slot_at=torch.tensor([row * length + placed.place for row in range(rows) for placed in branch.slots]),
        words=torch.zeros(rows * len(branch.slots), dtype=torch.int64),
        values=torch.full((rows * len(branch.slots),), torch.nan),
        about=torch.zeros((rows * len(branch.slots), 5), dtype=torch.int64),
        job_slot=row_ids * len(branch.slots),
        job_frame=row_ids,
        job_times=torch.ones(rows),
        jobs=tuple((row * len(branch.slots), row) for row in range(rows)),
        masks_counted=rows,
        masks=(),
        ignore=(None,) * rows,
        laid=tuple(Laid(row, row, prefix=(0, 0), own=(0, length)) for row in range(rows)),
        frame_example=tuple(range(rows)),
    )
