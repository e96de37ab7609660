"""What is said about a picture whose caption is grounded in masks, and about regions that are pointed at; as Sa2VA says it.

Wordings are those of magic-research/Sa2VA at d01bf3f, projects/llava_sam2/datasets: gcg_process.py and Osprey_Dataset.py.
"""

from __future__ import annotations

import numpy as np

from seglm.model.scripts import SEG, drawn_frames
from seglm.utils.types import Caption, Clip, Piece, Pointed, Slot, Turn

_RESPOND = "Please respond with interleaved segmentation masks for the corresponding"
_OUTPUT = "Please output with interleaved segmentation masks for the corresponding"
CAPTION_QUESTIONS = (
    f"Could you please give me a brief description of the image? {_RESPOND} parts of the answer.",
    f"Can you provide a brief description of the this image? {_OUTPUT} phrases.",
    f"Please briefly describe the contents of the image. {_RESPOND} parts of the answer.",
    f"Could you give a brief explanation of what can be found within this picture? {_OUTPUT} phrases.",
    f"Could you give me an brief explanation of this picture? {_RESPOND} phrases.",
    f"Could you provide me with a briefly analysis of this photo? {_OUTPUT} parts of the answer.",
)
"""faults of grammar included: released weights were taught these"""
REGION_QUESTIONS = (
    "Can you provide me with a detailed description of the region in the picture marked by {}?",
    "I'm curious about the region represented by {} in the picture. Could you describe it in detail?",
    "What can you tell me about the region indicated by {} in the image?",
    "I'd like to know more about the area in the photo labeled {}. Can you give me a detailed description?",
    "Could you describe the region shown as {} in the picture in great detail?",
    "What details can you give me about the region outlined by {} in the photo?",
)
"""six of the original's thirty"""


def caption_turn(clip: Clip, caption: Caption, rng: np.random.Generator) -> Turn:
    """A question for a description, and the caption with every grounded phrase as `<p> phrase </p> [SEG]`."""
    said: list[Piece] = []
    told = 0
    for phrase in caption.phrases:
        words = caption.text[phrase.start : phrase.end]
        said += [f"{caption.text[told : phrase.start]}<p> {words} </p> "]
        said += [Slot(SEG, phrase.target, drawn_frames(clip))]
        told = phrase.end
    question = CAPTION_QUESTIONS[rng.integers(len(CAPTION_QUESTIONS))]
    return Turn((question,), (*said, caption.text[told:]))


def regions_shown(clip: Clip) -> tuple[Piece, ...]:
    """`There are 2 part regions in the picture: region1<vp>...</vp>, region2<vp>...</vp>.`, each with its own patches."""
    count = len(clip.pointed)
    pieces: list[Piece] = [f"There are {count} part regions in the picture: "]
    for number, masks in enumerate(clip.pointed):
        end = ".\n" if number == count - 1 else ", "
        pieces += [f"region{number + 1}<vp>", Pointed(0, masks[0]), f"</vp>{end}"]
    return tuple(pieces)


def region_turns(clip: Clip, rng: np.random.Generator) -> list[Turn]:
    """The clip's own turns, or a question for a description of each region that has one."""
    if clip.turns:
        return [Turn((question,), (answer,)) for question, answer in clip.turns]
    turns = []
    for number, region in enumerate(clip.regions):
        if region.captions:
            question = REGION_QUESTIONS[rng.integers(len(REGION_QUESTIONS))].format(f"region{number + 1}")
            turns.append(Turn((question,), (str(rng.choice(region.captions)),)))
    return turns
