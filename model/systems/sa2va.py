"""Sa2VA: InternVL answers about pictures and videos, SAM-2 draws (Yuan et al., 2025; magic-research/Sa2VA at d01bf3f).

What changes against LISA:
- the LLM is InternVL 2.5, with adapters on every linear layer; a still is shown in tiles, of a video five frames;
- one slot an object, read at its own token, draws in all five frames; all objects are asked for in one dialogue, turn by turn;
- SAM-2 draws from two vectors that say that no point is given, and the slot's; the best of three masks by its own estimate;
- every drawn frame is one that looks back on nothing; pictures fill the decoder's square;
- masks are compared on the decoder's grid, at points that lie mostly where they are unsure;
- the projector from the vision tower is trained, too.

Deviations from the released code:
- each expression of a sample is asked for once, at most five of them; the original always asks for five, drawn with repetition
  (`sa2va_4b_released`), and repeats or drops objects until they are five (check_obj_number);
- a batch in words alone costs no pass of SAM-2's encoder;
- the frames of a clip differ as far as the video has as many; the original draws some twice in videos of up to six frames;
- at inference the five frames lie evenly in the video, and SAM-2's own mask decoder carries their masks through the others;
  the original takes the first five, and the trained mask decoder follows their vector (`sa2va_4b_released`);
- masks of several parts are a union, never a sum (RefCOCO_Dataset.py:155);
- the template is one of the recipe's; RefCOCO_Dataset.py:92 writes all of RefCOCO in a Phi-3's, whichever the model;
- conv_s0 and conv_s1 of SAM-2 run where pictures are encoded and are not trained; the original trains them;
- SAM-2's picture is resized bilinearly, as SAM-2 was trained, not bicubically;
- the learning rate goes down on a line, not on a cosine; adapters of InternLM 2 (8B) are on queries, keys and values apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from seglm.model.backbones.internvl import LINEARS, InternVL
from seglm.model.backbones.llava import Llava
from seglm.model.captions import caption_turn, region_turns, regions_shown
from seglm.model.decoders.sam2 import WITHOUT_GRADIENT, Sam2
from seglm.model.decoders.sam2_memory import PREDICTING
from seglm.model.phrases import PHRASE
from seglm.model.point_terms import PointBce, PointDice, Points
from seglm.model.recipe import Recipe, Token
from seglm.model.scripts import ANSWERS, REASONSEG, SEG, SENTENCE_QUESTIONS, drawn_frames
from seglm.model.settings import SETS, Data, Lora, Optim, Schedule, Trainable
from seglm.model.terms import Language
from seglm.model.toy import BASES, JOINS, SAM2_SIDE, toy_sized
from seglm.utils.types import Clip, Dialogue, Frames, Images, Piece, Script, Slot, Target, Turn, Window

FRAMES = 5  # of a video that the LLM is shown, and that are drawn in training (`sampled_frames`)
OBJECTS = 5  # that are asked for in a sample (`select_number`)
RANK = 128  # of the adapters; alpha is twice that
_QUESTIONS = (
    "Can you segment the {} in this image?",
    "Please segment {} in this image.",
    "What is {} in this image? Please respond with segmentation mask.",
    "What is {} in this image? Please output segmentation mask.",
    "Could you provide a segmentation mask for the {} in this image?",
    "Please identify and segment the {} in this image.",
    "Where is the {} in this picture? Please respond with a segmentation mask.",
    "Can you highlight the {} in this image with a segmentation mask?",
)
QUESTIONS = (*_QUESTIONS, *(question[:-1] for question in _QUESTIONS))
"""of stills and of videos, with and without their last sign (projects/llava_sam2/datasets/ReVOS_Dataset.py)"""
VAL_STILL, VAL_VIDEO = " Please segment {} in this image.", "Please segment {}."
"""projects/llava_sam2/evaluation/dataset/{RES,refVOS}.py"""
MARKS = (*PHRASE, "<vp>", "</vp>")
"""around a phrase that a slot follows, and around the patches of a region"""
CARRIED = replace(PREDICTING, by_mask=True)
"""at inference: what the trained mask decoder draws is carried on by SAM-2's own, as in Sa2VA-i (arXiv 2509.19082)"""
RELEASED = replace(PREDICTING, masks_absent=False)
"""at inference, as it was released: the slot's vector is a prompt of SAM-2's, and the trained mask decoder follows it"""


# ---- which frames ---------------------------------------------------------------------------------------------------
def five_frames(num_frames: int, rng: np.random.Generator) -> Frames:
    """Training: five frames of a video in order, all of them shown and drawn; a shorter one whole."""
    chosen = tuple(sorted(rng.choice(num_frames, min(FRAMES, num_frames), replace=False).tolist()))
    return Frames(seen=chosen, drawn=chosen)


def evenly(num_frames: int) -> Iterator[Window]:
    """Inference: five frames from the first to the last, and one answer that is drawn in them; the others by memory."""
    yield _window(
        np.linspace(0, num_frames - 1, min(FRAMES, num_frames)).round().astype(int).tolist(), num_frames
    )


def first_five(num_frames: int) -> Iterator[Window]:
    """Inference as it was released (modeling_sa2va_chat.py, `predict_forward`)."""
    yield _window(range(min(FRAMES, num_frames)), num_frames)


def _window(seen: Sequence[int], num_frames: int) -> Window:
    return Window(tuple(seen), tuple(seen), tuple(frame for frame in range(num_frames) if frame not in seen))


def frames_or_tiles(num_seen: int) -> tuple[Piece, ...]:
    """What a dialogue begins with: the frames of a video, each in a line of its own, or a still in tiles and a line break."""
    if num_seen == 1:
        return (Images((0,), "fine"), "\n")
    lines = [piece for frame in range(num_seen) for piece in (Images((frame,)), "\n")]
    return tuple(lines[:-1])


# ---- what is said ---------------------------------------------------------------------------------------------------
def turn_by_turn(clip: Clip, rng: np.random.Generator, recipe: Recipe) -> Script:
    """One dialogue in which every target is asked for, or the clip's own turns."""
    return _asked(clip, rng, tuple(range(len(clip.targets))))


def always_five(clip: Clip, rng: np.random.Generator, recipe: Recipe) -> Script:
    """The same with five targets, drawn with repetition, as it was released."""
    count = len(clip.targets)
    chosen = tuple(rng.choice(count, OBJECTS).tolist()) if count else ()
    return _asked(clip, rng, chosen)


def one_question_each(clip: Clip, recipe: Recipe) -> Script:
    """Validation: one open dialogue for each target."""
    start = frames_or_tiles(len(clip.seen))
    form = VAL_STILL if len(clip.seen) == 1 else VAL_VIDEO
    return tuple(
        Dialogue((Turn((*start, _val_question(clip, target, form))),), targets=(number,))
        for number, target in enumerate(clip.targets)
    )


def _asked(clip: Clip, rng: np.random.Generator, targets: tuple[int, ...]) -> Script:
    """A dialogue about these targets, each in a turn of its own; or the grounded caption, or about regions, or in words."""
    start = frames_or_tiles(len(clip.seen)) if len(clip.seen) else ()
    asked: tuple[int, ...] = ()
    if clip.caption is not None:
        turns = [caption_turn(clip, clip.caption, rng)]
        asked = tuple(phrase.target for phrase in clip.caption.phrases)
    elif clip.regions or clip.turns:
        start = (*start, *(regions_shown(clip) if clip.regions else ()))
        turns = region_turns(clip, rng)
    else:
        turns, asked = [_turn(clip, target, rng) for target in targets], targets
    first = replace(turns[0], question=(*start, *turns[0].question))
    return (Dialogue((first, *turns[1:]), targets=asked),)


def _turn(clip: Clip, number: int, rng: np.random.Generator) -> Turn:
    target = clip.targets[number]
    text = str(rng.choice(target.texts))
    before, after = ANSWERS[rng.integers(len(ANSWERS))]
    slot = Slot(SEG, number, drawn_frames(clip))
    if _stands(clip, text, target):
        question = text
    else:
        question = question_for(text, rng, is_sentence=target.is_sentence)
    return Turn((question,), (before, slot, after))


def _stands(clip: Clip, text: str, target: Target) -> bool:
    """Whether it is asked as it stands, without a word of masks: a question, but for ReasonSeg's, which have LISA's request, and
    for a phrase about a picture, which a sign does not make a question (refVOS.py and RefCOCO_Dataset.py)."""
    return "?" in text and target.is_sentence and not clip.key.startswith(REASONSEG)


def question_for(text: str, rng: np.random.Generator, *, is_sentence: bool) -> str:
    """A whole sentence gets the request for a mask, and a phrase one of QUESTIONS."""
    if is_sentence:
        return SENTENCE_QUESTIONS[rng.integers(len(SENTENCE_QUESTIONS))].format(text)
    return QUESTIONS[rng.integers(len(QUESTIONS))].format(text.replace(".", "").strip().lower())


def _val_question(clip: Clip, target: Target, form: str) -> str:
    text = target.texts[0].strip()
    if _stands(clip, text, target):
        return text
    return SENTENCE_QUESTIONS[0].format(text) if target.is_sentence else form.format(text)


# ---- recipes --------------------------------------------------------------------------------------------------------
DECODER = Sam2(
    weights="sam2_hiera_large.pt",
    not_points=True,
    best_of_several=True,
    stretches=True,
    memory=CARRIED,
    keeps_original=True,
)


def sa2va_4b() -> Recipe:
    """Sa2VA-4B on InternVL2.5-4B, as projects/llava_sam2/configs/sa2va_4b.py trains it on 8 GPUs."""
    trainable = Trainable()
    return Recipe(
        name="sa2va_4b",
        system="sa2va",
        parent="lisa_7b",
        # The template is InternVL2-4B's, whose LLM was a Phi-3.
        backbone=InternVL(weights="OpenGVLab/InternVL2_5-4B", template="phi3_chat"),
        decoder=DECODER,
        tokens=(Token(SEG, "draws"), *(Token(mark, "marks") for mark in MARKS)),
        frames=five_frames,
        script=turn_by_turn,
        prompt=one_question_each,
        walk=evenly,
        shows=frames_or_tiles,
        points=regions_shown,
        read_at=0,
        terms=(Language(1.0), PointBce(2.0), PointDice(0.5)),
        trainable=Trainable(
            lora=Lora(r=RANK, alpha=2 * RANK, targets=LINEARS),
            full=(*trainable.full, "projector"),
            frozen=WITHOUT_GRADIENT,
        ),
        data=Data(
            mixture=("refer_seg", "vqa", "refer_seg_video"),
            rates=(4.0, 10.0, 6.0),
            sets={
                **SETS,
                "refer_seg": ("refcoco", "refcoco+", "refcocog"),
                "refer_seg_video": ("revos", "mevis", "ref_youtube_vos"),
            },
            targets_per_sample=OBJECTS,
            explanatory=-1.0,
            ignore="background",
        ),
        optim=Optim(lr=4e-5, betas=(0.9, 0.999), weight_decay=0.05, warmup_steps=850),
        schedule=Schedule(
            epochs=17, steps_per_epoch=1000, batch_size=2, grad_accumulation_steps=4, world_size=8
        ),
    )


def sa2va_1b() -> Recipe:
    """Sa2VA-1B on InternVL2.5-1B (Qwen2.5-0.5B)."""
    parent = sa2va_4b()
    backbone = InternVL(weights="OpenGVLab/InternVL2_5-1B", template="qwen_chat")
    return replace(parent, name="sa2va_1b", parent=parent.name, backbone=backbone)


def sa2va_8b() -> Recipe:
    """Sa2VA-8B on InternVL2.5-8B (InternLM2.5-7B)."""
    parent = sa2va_4b()
    backbone = InternVL(weights="OpenGVLab/InternVL2_5-8B", template="internlm2_chat")
    return replace(parent, name="sa2va_8b", parent=parent.name, backbone=backbone)


def sa2va_4b_released() -> Recipe:
    """Sa2VA-4B as its code has it where that costs: always five objects in training, the first five frames at inference."""
    return _released(sa2va_4b())


def sa2va_1b_released() -> Recipe:
    """Sa2VA-1B in the same way."""
    return _released(sa2va_1b())


def sa2va_8b_released() -> Recipe:
    """Sa2VA-8B in the same way."""
    return _released(sa2va_8b())


def _released(parent: Recipe) -> Recipe:
    decoder = replace(DECODER, memory=RELEASED, keeps_original=False)
    return replace(
        parent,
        name=f"{parent.name}_released",
        parent=parent.name,
        script=always_five,
        walk=first_five,
        decoder=decoder,
    )


def sa2va_tiny() -> Recipe:
    """The same system on the committed tiny bases and the toy world; its LLM is the tiny LLaVA, there is no tiny InternVL."""
    parent = sa2va_1b()
    llava = Llava(weights=str(BASES / "llava"), image_tokens=None)
    full = Trainable().full
    trainable = replace(Trainable(), full=full, frozen=WITHOUT_GRADIENT)
    recipe = toy_sized(replace(parent, backbone=llava, trainable=trainable), name="sa2va_tiny")
    points = Points(count=512)  # half of the pixels of its decoder's grid
    terms = tuple(
        replace(term, points=points) if isinstance(term, PointBce | PointDice) else term
        for term in recipe.terms
    )
    data = replace(
        recipe.data,
        mixture=(*SETS, "refer_seg_video"),
        rates=(*recipe.data.rates, 8.0),
        sets={**SETS, "refer_seg_video": ("ref_youtube_vos", "mevis")},
        joins={"refer_seg_video": JOINS},
    )
    decoder = replace(recipe.decoder, weights=str(BASES / "sam2"), image_size=SAM2_SIDE)
    optim = replace(recipe.optim, decoder_waits=JOINS)
    return replace(recipe, data=data, terms=terms, decoder=decoder, optim=optim)
