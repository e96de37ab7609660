"""A walk through a video with our memory against the one of transformers' own session, for SAM-2 and SAM-3's tracker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from seglm.model.decoders.sam2 import Prompts, Sam2Decoder
from seglm.model.decoders.sam2_dims import make_modules
from seglm.model.decoders.sam2_memory import PREDICTING, Memory, MemoryPolicy
from seglm.model.decoders.sam2_step import step
from tests.tiny_sam2 import pictures


def theirs(decoder: Sam2Decoder) -> Any:
    """transformers' model with the same weights."""
    model = make_modules(decoder.dims).eval()
    state = decoder.state_dict()
    inside = {name.replace("image_encoder.", "vision_encoder."): tensor for name, tensor in state.items()}
    inside["shared_image_embedding.positional_embedding"] = state[
        "prompt_encoder.shared_embedding.positional_embedding"
    ]
    model.load_state_dict(inside)
    return model


def check_walk(
    decoder: Sam2Decoder,
    session_of: Any,
    *,
    side: int,
    frames: int,
    backwards: bool,
    policy: MemoryPolicy = PREDICTING,
    said: tuple[int, ...] = (0,),
) -> None:
    """Every mask of the walk is the session's, past the seven memories and the sixteen pointers.

    said: frames with a point, counted from where the walk begins. A session keeps memories in bfloat16, so ours are rounded here,
    too.
    """
    model, order = theirs(decoder), range(frames)[::-1] if backwards else range(frames)
    video = decoder.normalise(pictures(frames, side=side), [(side, side)] * frames)
    session = session_of(video=video, video_height=side, video_width=side, dtype=torch.float32)
    session.obj_id_to_idx(1)
    point, label = torch.tensor([[[20.0, 30.0]]]), torch.tensor([[1]])
    places = [order[number] for number in said]
    memory = Memory(policy, num_frames=frames, backwards=backwards)
    features = decoder.encode(video, [(side, side)] * frames)
    with torch.no_grad():
        for frame in (*places, *(frame for frame in order if frame not in places)):
            prompts = None
            if frame in places:
                session.obj_with_new_inputs.append(1)
                session.add_point_inputs(
                    0, frame, {"point_coords": point[None], "point_labels": label[None].int()}
                )
                prompts = Prompts(decoder.prompts_of_points(point, label))
            want = model(session, frame_idx=frame, reverse=backwards).pred_masks
            found, memory = step(decoder, features[frame : frame + 1], memory, frame=frame, prompts=prompts)
            torch.testing.assert_close(found.logits, want.reshape(found.logits.shape), atol=2e-4, rtol=2e-4)
            memory = _rounded(memory)


def _rounded(memory: Memory) -> Memory:
    def through(entries: tuple) -> tuple:  # type: ignore[type-arg]
        return tuple(
            replace(entry, features=None if entry.features is None else entry.features.bfloat16().float())
            for entry in entries
        )

    return replace(memory, conditioning=through(memory.conditioning), recent=through(memory.recent))
