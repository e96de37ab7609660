"""GLUS: global context and local memory in one LLM (Lin et al., CVPR 2025; GLUS-video/GLUS at 8fd138b).

What changes against LISA:
- the LLM is shown four frames from all over the video (the context) and a run of up to four (the queries), and is asked about
  each query in a turn of its own: one `[SEG]` a query frame;
- a frame is 64 tokens, the means of four patches beside each other (`backbone.pool=1x4`; the paper may mean `2x2`);
- masks are drawn by SAM-2 with its memory, in training, too: a frame looks back on the masks of up to 7 frames before it;
- at inference every frame is asked about in turn, with the answers about the three before it in the dialogue;
- in language only `[SEG]` itself is taught; training starts from LISA-7B-v1.

In `glus_s` and `glus_a` gradients pass through memory, as the paper says (`END_TO_END`); `decoder.training_memory.detach=true`
is the released code, which lets none through (model/GLUS.py:189 and 509-512). Deviations from it otherwise:
- masks of several objects are a union, never a sum; a frame whose mask cannot be read is an error, not background;
- dropout inside SAM-2's frozen memory attention is off;
- a video of fewer than four frames is taken as it is, and a picture, which the original never sees, is asked about as LISA is;
- all expressions of a video are asked together, and a frame is encoded once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from seglm.model.backbones.llava import Llava
from seglm.model.contrast import Contrast
from seglm.model.decoders.sam2 import WITHOUT_GRADIENT, Sam2
from seglm.model.decoders.sam2_memory import MemoryPolicy
from seglm.model.recipe import Recipe, Token
from seglm.model.scripts import ANSWERS, SEG, conversation, drawn_frames, phrase_of
from seglm.model.settings import SETS, Data, Evaluate, Schedule, Trainable
from seglm.model.terms import Bce, Dice, Language
from seglm.model.toy import BASES, SAM2_SIDE, toy_sized
from seglm.model.walk import middles_of_parts, one_of_each_part
from seglm.utils.types import Clip, Dialogue, Frames, Images, Piece, Script, Slot, Turn, Window

CONTEXT, QUERIES = 4, 4  # frames (train_ds.py, --context_frame_num and --question_frame_num)
CONTEXT_TASK = "\nPlease finished the following tasks on the context frames above.\n"
"""behind the context frames; the original's grammar, to which released weights are used (utils/utils.py)"""
QUESTIONS = (
    "\nCan you segment the {} in this frame?",
    "\nPlease segment the {} in this frame.",
    "\nWhat is {} in this frame? Please respond with segmentation mask.",
    "\nWhat is {} in this frame? Please output segmentation mask.",
)

END_TO_END = MemoryPolicy(
    frames=7,
    temporal=False,
    pointers=0,
    occlusion=False,
    conditions=False,
    writes="conditioned",
    binarise=False,
    best_of_several=False,
    stable=False,
)
"""in training: what GLUS reads and writes, with gradients through both"""
RELEASED = replace(END_TO_END, detach=True)
"""in training, as the released code has it: a memory is a constant"""
AT_INFERENCE = replace(END_TO_END, stride=3, detach=True, stable=True)
"""inference_iter.py, --mem_stride; SAM-2's mask decoder looks for a stable mask where it is not being trained"""


# ---- which frames ---------------------------------------------------------------------------------------------------
def context_and_queries(num_frames: int, rng: np.random.Generator) -> Frames:
    """Training: a frame of each of four equal parts of the video, then four that follow each other; these are drawn.

    A picture has no context.
    """
    if num_frames == 1:
        return Frames(seen=(0,), drawn=(0,))
    context = one_of_each_part(num_frames, CONTEXT, rng)
    start = int(rng.integers(max(1, num_frames - QUERIES + 1)))
    queries = tuple(range(start, min(start + QUERIES, num_frames)))
    return Frames(seen=(*context, *queries), drawn=queries)


# ---- what is said ---------------------------------------------------------------------------------------------------
def a_question_a_frame(clip: Clip, rng: np.random.Generator, recipe: Recipe) -> Script:
    """One dialogue for each target, a turn for each query frame; or the clip's own turns where it is a conversation in words."""
    if clip.turns:
        return (conversation(clip),)
    return tuple(_dialogue(clip, number, rng) for number in range(len(clip.targets)))


def _dialogue(clip: Clip, number: int, rng: np.random.Generator) -> Dialogue:
    texts = clip.targets[number].texts
    phrase = phrase_of(texts[rng.integers(len(texts))])
    turns = []
    for query in range(len(clip.drawn)):
        question = QUESTIONS[rng.integers(len(QUESTIONS))].format(phrase)
        before, after = ANSWERS[rng.integers(len(ANSWERS))]
        asked = _asked(clip, query, len(clip.drawn), question)
        turns.append(Turn(asked, (before, Slot(SEG, number, (query,)), after)))
    return Dialogue(tuple(turns), targets=(number,))


def _asked(clip: Clip, query: int, queries: int, question: str) -> tuple[Piece, ...]:
    """A question about a query frame; before the first one stand the context frames and what they are for."""
    context = len(clip.seen) - queries
    begins = query == 0 and context > 0
    begin: tuple[Piece, ...] = (Images(tuple(range(context))), CONTEXT_TASK) if begins else ()
    return (*begin, Images((context + query,)), question)


# ---- inference ------------------------------------------------------------------------------------------------------
BEGUN = "Sure, the segmentation result is "
"""how every answer begins; the model writes what follows (inference_iter.py)"""
DRAWN, NOT_DRAWN = f"{BEGUN}{SEG}.", f"{BEGUN}{SEG} ."
"""how an answer stands in later questions, whether the model wrote its `[SEG]` or another token"""


def frame_by_frame(num_frames: int) -> Iterator[Window]:
    """Every frame in turn: the context, up to three frames before it with what was answered there, and itself."""
    yield from _one_after_the_other(range(num_frames), num_frames)


def outwards(num_frames: int, key: int) -> Iterator[Window]:
    """From a key frame to the last frame, and then from it to the first: two walks with one context, of which neither knows what
    the other said or drew (inference_iter.py, --use_kf)."""
    yield from _one_after_the_other(range(key, num_frames), num_frames)
    if key:
        yield from _one_after_the_other(range(key, -1, -1), num_frames)


def _one_after_the_other(frames: Sequence[int], num_frames: int) -> Iterator[Window]:
    context = middles_of_parts(num_frames, CONTEXT) if num_frames > 1 else ()
    for place, frame in enumerate(frames):
        queries = tuple(frames[max(0, place - QUERIES + 1) : place + 1])
        seen = (*context, *queries)
        yield Window(seen=seen, asked=(frame,), repeats=len(queries) - 1, begins=place == 0 and frame > 0)


def newest_frame(clip: Clip, recipe: Recipe) -> Script:
    """For each target the questions so far with their answers, and the one about the newest frame, its answer begun."""
    return tuple(
        _going_on(clip, number, QUESTIONS[0].format(phrase_of(target.texts[0])))
        for number, target in enumerate(clip.targets)
    )


def answer_given(clip: Clip, recipe: Recipe) -> Script:
    """The same with the newest answer filled in."""
    said = (BEGUN, Slot(SEG, 0, drawn_frames(clip)), ".")
    return tuple(
        replace(
            dialogue,
            begun="",
            turns=(
                *dialogue.turns[:-1],
                replace(
                    dialogue.turns[-1],
                    answer=tuple(
                        replace(piece, target=number) if isinstance(piece, Slot) else piece for piece in said
                    ),
                ),
            ),
        )
        for number, dialogue in enumerate(newest_frame(clip, recipe))
    )


def typed(clip: Clip, text: str, history: Sequence[tuple[str, str]], recipe: Recipe) -> Dialogue:
    """What a person typed, asked about each frame in turn, behind what was said before."""
    said = tuple(Turn((question,), (answer,)) for question, answer in history)
    dialogue = _going_on(clip, 0, recipe.chat_prompt.format(text=text))
    return replace(dialogue, turns=(*said, *dialogue.turns))


def _going_on(clip: Clip, number: int, question: str) -> Dialogue:
    answers = clip.answered[number] if clip.answered else ()
    asked = [_asked(clip, query, len(answers) + 1, question) for query in range(len(answers) + 1)]
    before = [
        Turn(pieces, (DRAWN if SEG in said.removeprefix(BEGUN) else NOT_DRAWN,))
        for pieces, said in zip(asked, answers, strict=False)
    ]
    return Dialogue((*before, Turn(asked[-1])), targets=(number,), begun=BEGUN)


# ---- recipes --------------------------------------------------------------------------------------------------------
def glus_s() -> Recipe:
    """GLUS-S: MeViS and Ref-YouTube-VOS, with the object contrast."""
    trainable = Trainable()
    return Recipe(
        name="glus_s",
        system="glus",
        parent="lisa_7b",
        backbone=Llava(weights="xinlai/LISA-7B-v1", pool="1x4"),
        decoder=Sam2(
            weights="sam2_hiera_large.pt", stretches=True, memory=AT_INFERENCE, training_memory=END_TO_END
        ),
        tokens=(Token(SEG, "draws"),),
        frames=context_and_queries,
        script=a_question_a_frame,
        prompt=newest_frame,
        forced=answer_given,
        walk=frame_by_frame,
        outwards=outwards,
        typed=typed,
        terms=(Language(1.0, slots_only=True), Bce(2.0), Dice(0.5), Contrast(0.1)),
        trainable=replace(
            trainable,
            full=(*trainable.full, "projector"),
            frozen=tuple(dict.fromkeys((*trainable.frozen, *WITHOUT_GRADIENT))),
        ),
        data=Data(
            mixture=("mevis", "ref_youtube_vos"),
            rates=(1.0, 1.0),
            sets={"mevis": ("mevis",), "ref_youtube_vos": ("ref_youtube_vos",)},
            explanatory=-1.0,
        ),
        schedule=Schedule(epochs=30, steps_per_epoch=100, world_size=4),
        evaluate=Evaluate(dataset="mevis|valid_u", max_new_tokens=1),
        chat_prompt="\n{text}",
    )


def glus_a() -> Recipe:
    """GLUS-A: five data sets, without the contrast."""
    parent = glus_s()
    sets = ("mevis", "ref_youtube_vos", "ref_davis17", "revos", "lvvis")
    return replace(
        parent,
        name="glus_a",
        parent=parent.name,
        data=replace(
            parent.data,
            mixture=sets,
            rates=(40.0, 150.0, 4.0, 30.0, 30.0),
            sets={name: (name,) for name in sets},
        ),
        terms=tuple(term for term in parent.terms if term.name != Contrast.name),
        schedule=replace(parent.schedule, epochs=50),
    )


def glus_tiny() -> Recipe:
    """GLUS on the committed tiny bases and the toy world.

    It starts from bases that never wrote `[SEG]`, not from a trained LISA, so it is shown LISA's pictures first; not those about
    words alone, which it is not taught. The mask that was learnt is drawn also where it hangs on its threshold: the others, which
    `stable` would take instead, learn nothing, and here two masks in five came out empty for it.
    """
    parent = glus_s()
    pictures = 0.6  # share of the run; three times as long as it takes where whole answers are taught
    # The tower of the tiny LLaVA has 64 patches: a frame is 64 tokens without a pool.
    recipe = toy_sized(replace(parent, backbone=Llava(weights=str(BASES / "llava"))), name="glus_tiny")
    assert isinstance(parent.decoder, Sam2)
    decoder = replace(
        parent.decoder,
        weights=str(BASES / "sam2"),
        image_size=SAM2_SIDE,
        memory=replace(AT_INFERENCE, stable=False),
    )
    sets = {name: SETS[name] for name in ("sem_seg", "refer_seg", "reason_seg")}
    data = replace(
        recipe.data,
        mixture=(*sets, "refer_seg_video"),
        rates=(1.5, 3.0, 6.0, 8.0),
        sets={**sets, "refer_seg_video": ("ref_youtube_vos", "mevis")},
        joins={"refer_seg_video": pictures},
        targets_per_sample=2,
    )
    optim = replace(recipe.optim, decoder_waits=pictures)
    return replace(recipe, decoder=decoder, data=data, optim=optim)
