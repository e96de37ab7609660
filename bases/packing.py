"""Packed rows: many questions about one image or clip behind one prefix; a question sees the prefix and itself, no other.

The text is that of the llava_v1 template with the image between its two tokens, tokenised as our dialogues are; the frames of
a clip have no tokens around them, as in VideoLISA.
Letters: N images (rows), T tokens of a row, A answer tokens.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from seglm.bases.vocabulary import IMAGE_TOKENS
from seglm.dataset.toy.facts import FACTS, Fact
from seglm.dataset.toy.language import Question
from seglm.model.backbones.templates import LLAVA_V1

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


EncodedQuestion = tuple[Question, tuple[int, ...], int]
"""the question, its ids after the image's end token, and how many of them are not yet the answer"""
CHUNKS = 4  # in which the questions of a row are attended; more save attention and cost padding


@dataclass(frozen=True)
class Packed:
    """Rows for the language model: a prefix, then chunks of whole questions; all rows have the same chunk borders."""

    ids: Tensor
    """int64 [N, T]; 0 where the image's features go and in the padding"""
    positions: Tensor
    """int64 [N, T]; every question goes on where the prefix ends"""
    prefix: int
    """length of the prefix"""
    chunks: tuple[tuple[int, int], ...]
    """first position and end of each chunk"""
    masks: tuple[Tensor, ...]
    """per chunk of c tokens: float [N, 1, c, prefix + c], 0 where a token sees another, -inf elsewhere"""
    image_start: int
    """position of the first image feature"""
    image_end: int
    """position behind the last image feature"""
    predicts: Tensor
    """int64 [A, 2] (row, position) of the states that predict an answer token"""
    answers: Tensor
    """int64 [A], those tokens"""
    spans: tuple[tuple[Question, int, int], ...]
    """each question with the first of its rows in `predicts` and `answers`, and the end"""
    facts: tuple[tuple[Question, Fact, tuple[int, int]], ...]
    """each fact that a question tells, with the (row, position) of its last token"""


class Packer:
    """Tokenises questions and lays them out."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", *, patches: int, of_clips: bool = False) -> None:
        """patches: visual tokens of an image, or with `of_clips` of a clip."""
        self._tokenizer = tokenizer
        self.patches = patches
        before_image, self._behind = ("", "") if of_clips else IMAGE_TOKENS
        # The tokenizer's own entrance takes three times as long as the library behind it, and every step has a hundred new texts.
        encode = tokenizer.backend_tokenizer.encode
        self._ids = lru_cache(maxsize=200_000)(lambda text: tuple(encode(text, add_special_tokens=False).ids))
        self._verbs = defaultdict[int, list[tuple[tuple[int, ...], Fact]]](list)
        for fact in FACTS:
            verb = self._ids(fact.verb)
            self._verbs[verb[0]].append((verb, fact))
        self._facts = lru_cache(maxsize=200_000)(self._find_facts)
        before = (tokenizer.bos_token_id, *self._ids(LLAVA_V1.first + before_image))
        self.image_start = len(before)
        self.prefix = [*before, *[0] * patches, *self._ids(self._behind)]

    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """The ids behind the prefix up to where the answer begins."""
        return self._continued(f"\n{text}{LLAVA_V1.reply}")

    def encode(self, question: Question) -> EncodedQuestion:
        """The ids behind the prefix, and how many of them are not yet the answer."""
        whole = self._continued(
            f"\n{question.text}{LLAVA_V1.reply}{LLAVA_V1.lead}{question.answer}{LLAVA_V1.close}"
        )
        return question, whole, len(self.prompt_ids(question.text))

    def length(self, text: str) -> int:
        """How many tokens the beginning of a question's text has, which ends with a word, and the line break before it."""
        return len(self._continued(f"\n{text}"))

    def _continued(self, text: str) -> tuple[int, ...]:
        return self._ids(self._behind + text)[bool(self._behind) :]

    def _find_facts(self, ids: tuple[int, ...]) -> tuple[tuple[Fact, int], ...]:
        """The facts that some ids tell, each with the index of its last token."""
        return tuple(
            (fact, at + len(verb) - 1)
            for at, first in enumerate(ids)
            if first in self._verbs
            for verb, fact in self._verbs[first]
            if ids[at : at + len(verb)] == verb
        )

    def word_ids(self, words: Sequence[str]) -> list[int]:
        """The one token of each word. Raises ValueError if a word has more."""
        found = [self._ids(word) for word in words]
        split = [word for word, ids in zip(words, found, strict=True) if len(ids) != 1]
        if split:
            raise ValueError(f"the tokenizer splits {', '.join(split)}; make it anew")
        return [ids[0] for ids in found]

    def words(self, ids: Tensor) -> list[str]:
        """The pieces of some ids."""
        return list(self._tokenizer.convert_ids_to_tokens(ids.tolist()))

    def pack(self, rows: Sequence[Sequence[Question]]) -> Packed:
        """One row per image; every row needs at least CHUNKS questions."""
        told = [_in_chunks([self.encode(question) for question in questions]) for questions in rows]
        start = len(self.prefix)
        lengths = [max(sum(len(ids) for _, ids, _ in row[chunk]) for row in told) for chunk in range(CHUNKS)]
        ends = list(accumulate(lengths, initial=start))
        ids = np.zeros((len(rows), ends[-1]), dtype=np.int64)
        positions, group = np.zeros_like(ids), np.full_like(ids, -1)
        ids[:, :start], positions[:, :start] = self.prefix, np.arange(start)
        predicts, answers, spans, facts = [], list[int](), [], []
        for row, chunks in enumerate(told):
            for chunk, first in zip(chunks, ends, strict=False):
                at = first
                for number, (question, own, asked) in enumerate(chunk):
                    end = at + len(own)
                    ids[row, at:end], group[row, at:end] = own, number
                    positions[row, at:end] = np.arange(start, start + len(own))
                    predicts += [(row, place) for place in range(at + asked - 1, end - 1)]
                    spans.append((question, len(answers), len(answers) + len(own) - asked))
                    answers += own[asked:]
                    facts += [(question, fact, (row, at + last)) for fact, last in self._facts(own[:asked])]
                    at = end
        borders = tuple(zip(ends, ends[1:], strict=False))
        masks = tuple(_mask(torch.from_numpy(group[:, first:end]), start) for first, end in borders)
        return Packed(
            ids=torch.from_numpy(ids),
            positions=torch.from_numpy(positions),
            prefix=start,
            chunks=borders,
            masks=masks,
            image_start=self.image_start,
            image_end=self.image_start + self.patches,
            predicts=torch.tensor(predicts),
            answers=torch.tensor(answers),
            spans=tuple(spans),
            facts=tuple(facts),
        )


def _in_chunks(dialogues: Sequence[EncodedQuestion]) -> list[list[EncodedQuestion]]:
    """The questions of a row in CHUNKS shares, long ones together, so that the shares of different rows are of one length."""
    ordered = sorted(dialogues, key=lambda dialogue: -len(dialogue[1]))
    borders = [len(ordered) * i // CHUNKS for i in range(CHUNKS + 1)]
    return [ordered[first:end] for first, end in zip(borders, borders[1:], strict=False)]


def _mask(group: Tensor, prefix: int) -> Tensor:
    """group: int [N, c], the question to which a token belongs, -1 in the padding (which sees the prefix alone)."""
    place = torch.arange(group.shape[1])
    seen = (place[:, None] >= place) & (group[:, None] == group[:, :, None]) & (group[:, None] >= 0)
    hidden = torch.zeros(seen.shape).masked_fill_(~seen, float("-inf"))
    return torch.cat([torch.zeros(*group.shape, prefix), hidden], dim=2)[:, None]
