"""Chat templates: how a dialogue is written as text, and which part of it is trained.

A template is data. What it writes around questions and answers is a fact of the language model's training (LLaVA's
`conversation.py`); the split into trained and untrained text is LISA's: an answer is trained from the space before it to
its end token.
"""

from __future__ import annotations

from dataclasses import dataclass

from seglm.utils.did_you_mean import unknown
from seglm.utils.types import Dialogue, Piece


@dataclass(frozen=True)
class Written:
    """One piece of a written-out dialogue."""

    piece: Piece
    trained: bool
    """True in an answer and in what closes it"""


@dataclass(frozen=True)
class Template:
    """The text around the questions and answers of a dialogue: first Q reply lead A close later Q reply lead A close ..."""

    name: str
    first: str
    """before the first question; holds the system prompt"""
    later: str
    """before every other question"""
    reply: str
    """between a question and its answer; generation begins at its end"""
    lead: str
    """first characters of an answer, trained with it"""
    close: str
    """after an answer, trained with it; holds the end token"""
    bos: bool = True
    """whether a dialogue begins with the tokenizer's BOS"""

    @property
    def end(self) -> str:
        """The token that ends an answer, and with it generation."""
        return self.close.strip()

    def render(self, dialogue: Dialogue, *, open: bool = False) -> tuple[Written, ...]:
        """The dialogue with the template around it, piece by piece.

        open: the last answer is left to the model; it must be ().
        Raises ValueError if an answer is missing, or if the last one is there although it shall be generated.
        """
        written: list[Written] = []
        last = len(dialogue.turns) - 1
        if last < 0:
            raise ValueError("a dialogue without turns; it needs at least one question")
        for number, turn in enumerate(dialogue.turns):
            if bool(turn.answer) == (open and number == last):
                raise ValueError(
                    f"turn {number + 1} of {last + 1} has {'an' if turn.answer else 'no'} answer {turn.answer!r}; only the "
                    f"last turn of an open dialogue has none (an empty answer that is trained is the piece '')"
                )
            written.append(Written(self.first if number == 0 else self.later, trained=False))
            written += [Written(piece, trained=False) for piece in turn.question]
            written.append(Written(self.reply, trained=False))
            if turn.answer:
                answer = (self.lead, *turn.answer, self.close)
                written += [Written(piece, trained=True) for piece in answer]
            elif dialogue.begun:
                written += [Written(piece, trained=False) for piece in (self.lead, dialogue.begun)]
        return tuple(written)


# Texts: LLaVA, llava/conversation.py, conv_llava_v1 and conv_llava_llama_2 (release 1.0, July 2023).
_LLAVA_V1_SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
_LLAVA_LLAMA_2_SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)

LLAVA_V1 = Template(
    name="llava_v1",
    first=f"{_LLAVA_V1_SYSTEM} USER: ",
    later="USER: ",
    reply=" ASSISTANT:",
    lead=" ",
    close="</s>",
)
LLAVA_LLAMA_2 = Template(
    name="llava_llama_2",
    first=f"[INST] <<SYS>>\n{_LLAVA_LLAMA_2_SYSTEM}\n<</SYS>>\n\n",
    later="<s>[INST] ",
    reply=" [/INST]",
    lead=" ",
    close=" </s>",
)
# mbzuai-oryx/LLaVA-pp, Phi-3-V/llava/conversation.py, conv_phi3_instruct: the separator of its MPT style is the end token
PHI3_INSTRUCT = Template(
    name="phi3_instruct",
    first="<|system|>\nYou are a helpful AI assistant.<|end|>\n<|user|>\n",
    later="\n<|user|>\n",
    reply="<|end|>\n<|assistant|>\n",
    lead="",
    close="<|end|>",
)
_TEMPLATES = {template.name: template for template in (LLAVA_V1, LLAVA_LLAMA_2, PHI3_INSTRUCT)}


def template(name: str) -> Template:
    """A chat template by name. Raises ValueError that lists the names."""
    if name not in _TEMPLATES:
        raise ValueError(
            unknown("chat template", name, _TEMPLATES, more=f"there are {', '.join(_TEMPLATES)}")
        )
    return _TEMPLATES[name]
