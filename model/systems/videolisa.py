"""VideoLISA: one `[SEG]` for all frames of a video (Bai et al., NeurIPS 2024; showlab/VideoLISA at 0f14b22).

What changes against LISA:
- the LLM is shown a clip: 32 frames as one token each, the mean of a frame's patches, and behind them 4 of these frames whole;
- one slot draws in all frames: in training in the 4 that are shown whole, at inference in every frame of the video;
- the LLM is LLaVA-Phi-3, whose queries, keys and values are one layer, which gets one adapter;
- stills and videos are trained on together; a still is a clip of one frame, encoded once for all its places, and its mask counts
  as often as those of a clip.

Deviations from the released code:
- the frames of a clip differ as far as the video has as many; the original draws some twice near its ends and in short videos,
  also the whole ones (utils/mevis_dataset.py, `__getitem__`). Inference picks the original's frames, twice where it does;
- a video is one sample however long it is, where the original lists one for every 32 frames of an expression;
- a family's rate is shared by its data sets; utils/dataset.py, which does not know all families of run_train.sh, gives each video
  data set the whole rate of its family (`--sample_rates 8,4,3,4,12,1` is that);
- MeViS valid_u is not trained on, and masks of several objects are a union, never a sum;
- validation generates its answer (`evaluate.protocol=forced` is the original, whose answer is always given);
- the paper calls the token `<TRK>`; no file of the code does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from seglm.model.backbones.llava import Llava
from seglm.model.backbones.phi3 import Phi3
from seglm.model.decoders.sam import Sam
from seglm.model.recipe import Recipe, Token
from seglm.model.scripts import (
    PHRASE_QUESTIONS,
    SEG,
    VAL_SENTENCE,
    drawn_frames,
    one_expression_a_dialogue,
    one_question_a_target,
    showing,
    shown,
)
from seglm.model.settings import SETS, Data, Lora, Schedule, Trainable
from seglm.model.toy import BASES, JOINS, toy_sized
from seglm.utils.types import Clip, Dialogue, Frames, Images, Script, Slot, Target, Turn, Window

POOLED, WHOLE = 32, 4  # frames shown as one token each, and of these in full (run_train.sh)
NEAR = 3  # a frame before and one after the middle of a clip are at most so far from it (ReferFormer's draw)
FORCED_STILL = " What is {} in this video? Please output segmentation mask."
"""of a still, too (utils/dataset.py, `VideoValDataset`)"""
FORCED_VIDEO = PHRASE_QUESTIONS[1]
"""evaluation/*/inference_*.py"""
REASONVOS = "reasonvos|"
"""begins the keys of the data set that is asked about in words of its own"""
FORCED_REASONVOS = ("Please segment the {} in this scene.", "{}. Please output the segmentation masks.")
"""about a phrase, about a sentence (evaluation/reason_vos/inference_reason_vos.py)"""


# ---- which frames ---------------------------------------------------------------------------------------------------
def clip_and_some_whole(num_frames: int, rng: np.random.Generator) -> Frames:
    """Training: 32 frames, three of them close together and the others from all over the video; 4 of them are drawn.

    A shorter video is seen whole.
    """
    middle = POOLED * int(rng.integers(-(-num_frames // POOLED)))
    before, after = (int(steps) for steps in rng.integers(1, NEAR + 1, 2))
    first, last = max(0, middle - before), min(num_frames - 1, middle + after)
    close = {first, middle, last}
    far = [frame for frame in range(num_frames) if not first <= frame <= last]
    between = [frame for frame in range(first, last + 1) if frame not in close]
    wanted = min(POOLED, num_frames) - len(close)
    others = [*rng.permutation(far).tolist(), *between][:wanted]
    seen = sorted((*close, *others))
    drawn = sorted(rng.choice(seen, min(WHOLE, len(seen)), replace=False).tolist())
    return Frames(seen=tuple(seen), drawn=tuple(drawn))


def clip_of_video(num_frames: int) -> tuple[int, ...]:
    """Inference: the middles of 32 equal parts of the video; a shorter one is seen whole."""
    return middles(num_frames, POOLED) if num_frames > POOLED else tuple(range(num_frames))


def one_window(num_frames: int) -> Iterator[Window]:
    """One clip and one answer, which is drawn in every frame."""
    yield Window(seen=clip_of_video(num_frames), asked=tuple(range(num_frames)))


def sparse_and_dense(num_seen: int) -> tuple[Images, ...]:
    """What a dialogue at inference begins with: the frames of a clip pooled, then the middles of four parts of it whole.

    A clip of fewer than 32 frames is stretched to 32 places. The last of these is in no part (get_dense_indices in the original's
    evaluation scripts): places 3, 10, 18 and 26 of 32.
    """
    places = stretched(num_seen, POOLED)
    return _shown(places, [places[place] for place in middles(POOLED - 1, WHOLE)])


def middles(total: int, count: int) -> tuple[int, ...]:
    """The middle of each of `count` parts of range(total), which are equal to whole numbers (the original's uniform_sample)."""
    edges = np.linspace(0, total, count + 1).astype(int)
    return tuple(int(left + right - 1) // 2 for left, right in zip(edges, edges[1:], strict=False))


def stretched(num_frames: int, count: int) -> list[int]:
    """range(num_frames) repeated to `count` places in order; what is left over goes to the middles of equal parts."""
    whole, rest = divmod(count, num_frames)
    return sorted([*range(num_frames)] * whole + [*middles(num_frames, rest)])


def _shown(pooled: Sequence[int], whole: Sequence[int]) -> tuple[Images, ...]:
    return Images(tuple(pooled), "pooled"), Images(tuple(whole), "full")


# ---- what is said ---------------------------------------------------------------------------------------------------
def one_slot_for_all_frames(clip: Clip, rng: np.random.Generator, recipe: Recipe) -> Script:
    """LISA's dialogues about a clip; a slot draws in the frames that are shown whole, four times in any case."""
    drawn = stretched(len(clip.drawn), WHOLE)
    images = _shown(stretched(len(clip.seen), POOLED), [clip.drawn_at[number] for number in drawn])
    return showing(one_expression_a_dialogue(clip, rng, recipe), images, tuple(drawn))


def one_question_about_the_clip(clip: Clip, recipe: Recipe) -> Script:
    """Validation: of a still LISA's questions, of a video the one that its benchmarks are asked in."""
    if len(clip.seen) > 1:
        script = tuple(
            _asked(number, target, FORCED_VIDEO, VAL_SENTENCE, small=True)
            for number, target in enumerate(clip.targets)
        )
    else:
        script = one_question_a_target(clip, recipe)
    return showing(script, sparse_and_dense(len(clip.seen)), drawn_frames(clip))


def answer_given(clip: Clip, recipe: Recipe) -> Script:
    """The released evaluations: nothing is generated; "Sure, [SEG]." about a video, "[SEG]." about a still."""
    is_video = len(clip.seen) > 1
    phrase, before = (FORCED_VIDEO, "Sure, ") if is_video else (FORCED_STILL, "")
    questions = FORCED_REASONVOS if is_video and clip.key.startswith(REASONVOS) else (phrase, VAL_SENTENCE)
    script = []
    for number, target in enumerate(clip.targets):
        asked = _asked(number, target, *questions, small=is_video)
        said = (before, Slot(SEG, number, drawn_frames(clip)), ".")
        script.append(replace(asked, turns=(replace(asked.turns[0], answer=said),)))
    return showing(tuple(script), sparse_and_dense(len(clip.seen)), drawn_frames(clip))


def _asked(number: int, target: Target, phrase: str, sentence: str, *, small: bool) -> Dialogue:
    """small: a phrase is asked in small letters, as the original asks about videos; ReasonSeg's stay as they are."""
    text = target.texts[0].strip()
    if target.is_sentence:
        question = sentence.format(text)
    else:
        question = phrase.format(text.lower() if small else text)
    return Dialogue((Turn(shown("\n" + question)),), targets=(number,))


# ---- recipes --------------------------------------------------------------------------------------------------------
def videolisa_3_8b() -> Recipe:
    """VideoLISA-3.8B on LLaVA-Phi-3-mini, as run_train.sh trains it on 64 GPUs."""
    return Recipe(
        name="videolisa_3_8b",
        system="videolisa",
        parent="lisa_7b",
        backbone=Phi3(weights="MBZUAI/LLaVA-Phi-3-mini-4k-instruct"),
        decoder=Sam(),
        tokens=(Token(SEG, "draws"),),
        frames=clip_and_some_whole,
        script=one_slot_for_all_frames,
        prompt=one_question_about_the_clip,
        forced=answer_given,
        walk=one_window,
        shows=sparse_and_dense,
        trainable=Trainable(lora=Lora(targets=("qkv_proj",))),
        data=Data(
            mixture=("sem_seg", "refer_seg", "reason_seg", "vos", "refer_seg_video", "davis"),
            rates=(8.0, 4.0, 3.0, 4.0, 6.0, 1.0),
            sets={
                **SETS,
                "sem_seg": ("ade20k", "cocostuff", "pascal_part", "paco_lvis"),
                "vos": ("youtube_vos",),
                "refer_seg_video": ("ref_youtube_vos", "mevis"),
                "davis": ("ref_davis17",),
            },
            targets_per_sample=1,
        ),
        schedule=Schedule(
            epochs=20, steps_per_epoch=300, batch_size=2, grad_accumulation_steps=1, world_size=64
        ),
        chat_prompt="\n{text}",
    )


def videolisa_tiny() -> Recipe:
    """The same system on the committed tiny bases and the toy world; its LLM is the tiny LLaVA, there is no tiny Phi-3."""
    parent = videolisa_3_8b()
    # VideoLISA writes no tokens around its frames.
    llava = Llava(weights=str(BASES / "llava"), image_tokens=None)
    recipe = toy_sized(replace(parent, backbone=llava, trainable=Trainable()), name="videolisa_tiny")
    data = replace(
        recipe.data,
        mixture=(*SETS, "vos", "refer_seg_video"),
        rates=(*recipe.data.rates, 1.0, 8.0),
        sets={**parent.data.sets, **SETS},
        joins={"vos": JOINS, "refer_seg_video": JOINS},
    )
    return replace(recipe, data=data)
