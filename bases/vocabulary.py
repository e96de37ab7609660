"""The tokenizer of the tiny LLaVA: a sentencepiece BPE model with Llama's settings that knows the toy world's words whole."""

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from seglm.dataset.toy.asking import CELLS, COLUMNS, NOWHERE
from seglm.dataset.toy.clips import make_clip
from seglm.dataset.toy.families import FAMILIES
from seglm.dataset.toy.language import phrases, questions
from seglm.dataset.toy.moving_words import inflect
from seglm.dataset.toy.scenes import make_scene
from seglm.dataset.toy.watching import clip_questions
from seglm.model.backbones.templates import LLAVA_LLAMA_2, LLAVA_V1

PIECES = 2000  # 3 controls, 256 bytes, the letters, and merges up to whole words
IMAGE_TOKENS = ("<im_start>", "<im_end>")
SAMPLED = 1500  # scenes
SAMPLED_CLIPS = 500
OTHER_TEXTS = (  # words of LISA's templates and of small talk that the toy world itself does not say
    "Sure, the segmentation result is this one. Sure, it is these. Please output segmentation mask and explain why.",
    "Please output segmentation mask and explain the reason. Please output segmentation mask and give some explanation.",
    "Can you segment the video? Please segment all of them in this video. Which one moves, stops, turns, grows or hides?",
    "Yes, it is. No, there is none. Hello, thank you. I do not know. What is this? Who are you? Please tell me why. because",
)


def world_texts() -> Iterator[str]:
    """Text of the toy world and of the prompts around it."""
    yield from (LLAVA_V1.first + LLAVA_V1.reply, LLAVA_LLAMA_2.first, *OTHER_TEXTS)
    yield from (f"{column}{row + 1}" for column in COLUMNS for row in range(CELLS))
    for seed in range(SAMPLED):
        rng, scene = np.random.default_rng([5, seed]), make_scene(seed)
        for phrase in phrases(scene, rng, split="test"):
            yield f"{phrase.text} {phrase.explanation or ''}".strip()
        for question in questions(scene, rng, split="test", draw=True):
            yield f"{question.text} {question.answer}"
    for seed in range(SAMPLED_CLIPS):
        clip = make_clip(seed, split="test")
        spots = [(NOWHERE, NOWHERE)] * len(clip.things)
        for watched in clip_questions(clip, spots, np.random.default_rng([5, seed]), split="test", draw=True):
            yield f"{watched.text} {watched.answer}"
    for family in FAMILIES:
        for role in family.roles.values():
            for verb in (*role.verbs, *role.likenesses):
                yield f"{inflect(verb)} {inflect(verb, plural=True)}".replace("{a}", "")


def word_list(texts: Iterable[str]) -> list[str]:
    """What the pieces are trained on: every word about equally often, so that each becomes a piece, and all ASCII characters.

    Words stand alone, so no piece joins a word with a punctuation mark.
    """
    counts = Counter(word for text in texts for word in re.findall(r"[A-Za-z0-9]+", text))
    words = [word for word, count in sorted(counts.items()) for _ in range(min(100, 50 + count))]
    return [*words, *(chr(code) for code in range(33, 127))]


def train_pieces(texts: Iterable[str]) -> bytes:
    """A sentencepiece model of these texts: identity normalisation, dummy prefix, byte fallback, unk 0, bos 1, eos 2."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(word_list(texts)),
        model_writer=model,
        model_type="bpe",
        vocab_size=PIECES,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        byte_fallback=True,
        character_coverage=1.0,
        split_by_number=False,  # "f7" is one word
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def write_tokenizer(folder: Path) -> None:
    """Trains the tokenizer and writes the files that a LLaVA-v1 folder has; the image tokens follow the pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(train_pieces(world_texts()))
    added = {token: PIECES + i for i, token in enumerate(IMAGE_TOKENS)}
    config = {
        "tokenizer_class": "LlamaTokenizer",
        "legacy": True,
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<unk>",
        "padding_side": "right",
        "model_max_length": 1024,
        "clean_up_tokenization_spaces": False,
    }
    controls = {key: config[key] for key in ("bos_token", "eos_token", "unk_token", "pad_token")}
    for name, content in (
        ("added_tokens.json", added),
        ("tokenizer_config.json", config),
        ("special_tokens_map.json", controls),
    ):
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
