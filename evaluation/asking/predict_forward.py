"""`predict_forward`: the call by which Sa2VA's users ask their models, for every system here (bytedance/Sa2VA at 0d8f983,
projects/sa2va/hf/models_qwen/modeling_sa2va_qwen.py).

What differs from the original, on purpose:
- `<image>` in the text changes nothing: a picture or video that is given is shown, where the original leaves it out without it;
- the recipe says which frames of a video the LLM sees, where the original takes the first five;
- frames may be paths, as in the original's own examples, which its code does not take;
- the text ends before its end token;
- `past_text`, which the original only takes, is also given back, so that a dialogue can go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.asking.question import predict
from seglm.model.backbones.templates import Template

if TYPE_CHECKING:
    from seglm.dataset.given import Film, Picture
    from seglm.model.segmenter import Segmenter

IMAGE = "<image>"


def predict_forward(
    model: Segmenter,
    *,
    text: str,
    image: Picture | None = None,
    video: Film | None = None,
    past_text: str | None = "",
    mask_prompts: NDArray[np.bool_] | None = None,
    tokenizer: object = None,
    processor: object = None,
    max_new_tokens: int | None = None,
) -> dict[str, Any]:
    """{"prediction": the words, "prediction_masks": for each `[SEG]` bool [T, H, W], T = 1 for an image, "past_text": for the
    next question}.

    past_text: what an earlier call gave back, or the turns before as the model's template writes them.
    tokenizer, processor: taken and not used, the model has its own.
    mask_prompts: bool [R, H, W], what the text calls region1, region2, ...
    Raises ValueError for an image and a video at once, for a `past_text` in another template, and as `predict`.
    """
    if image is not None and video is not None:
        raise ValueError("predict_forward was given image and video; a question is about one of them")
    template = model.encoder.template
    answer = predict(
        model,
        video if image is None else image,
        text.replace(f"{IMAGE}\n", "").replace(IMAGE, ""),
        history=history_of(past_text, template),
        regions=mask_prompts,
        max_new_tokens=max_new_tokens,
    )
    masks = answer.masks if answer.is_video else answer.masks[:, None]
    is_shown = image is not None or video is not None
    past = written(answer.history, template, is_shown=is_shown)
    return {"prediction": answer.text, "prediction_masks": list(masks), "past_text": past}


def written(history: tuple[tuple[str, str], ...], template: Template, *, is_shown: bool) -> str:
    """A dialogue as the template writes it, `<image>` before the first question where something is shown."""
    text, before = "", template.first + (f"{IMAGE}\n" if is_shown else "")
    for question, answer in history:
        text += f"{before}{question}{template.reply}{template.lead}{answer}{template.close}"
        before = template.between + template.later
    return text


def history_of(past_text: str | None, template: Template) -> list[tuple[str, str]]:
    """The turns of a dialogue that a template has written; None: no turn.

    Raises ValueError that shows where it is another one's.
    """
    turns: list[tuple[str, str]] = []
    rest, before = past_text or "", template.first
    while rest:
        begins, is_answered = rest.startswith(before), template.reply + template.lead
        question, found, rest = rest.removeprefix(before).partition(is_answered)
        answer, closed, rest = rest.partition(template.close)
        if not (begins and found and closed):
            raise ValueError(
                f"past_text: turn {len(turns) + 1} is not written as {template.name} writes it ({before!r} question "
                f"{is_answered!r} answer {template.close!r}); give what predict_forward gave back, or history to `predict`"
            )
        turns.append((question.removeprefix(IMAGE).removeprefix("\n"), answer))
        before = template.between + template.later
    return turns
