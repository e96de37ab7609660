"""Chat templates: how a dialogue is written as text, and which part of it is trained.

A template is data. What it writes around questions and answers is a fact of the language model's training (LLaVA's
`conversation.py`); the split into trained and untrained text is LISA's: an answer is trained from the space before it to
its end token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from seglm.utils.did_you_mean import unknown
from seglm.utils.types import Dialogue, Piece


@dataclass(frozen=True)
class Written:
    """One piece of a written-out dialogue."""

    piece: Piece
    trained: bool
    """True in an answer and in what closes it"""
    begins: bool = False
    """it is made into tokens apart from what stands before it"""


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
    apart: bool = False
    """questions with their reply, answers with their close, and `between` are made into tokens each for itself, as in xtuner"""
    between: str = ""
    """between an answer that is closed and the next question; not trained"""
    stops: tuple[str, ...] = ()
    """other tokens that end generation"""

    @property
    def end(self) -> str:
        """What ends an answer, and with it generation; a token, or text where the tokenizer has no such token."""
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
            if number and self.between:
                written.append(Written(self.between, trained=False, begins=self.apart))
            before = self.first if number == 0 else self.later
            written.append(Written(before, trained=False, begins=self.apart))
            written += [Written(piece, trained=False) for piece in turn.question]
            written.append(Written(self.reply, trained=False))
            if turn.answer:
                answer = (self.lead, *turn.answer, self.close)
                written += [
                    Written(piece, trained=True, begins=self.apart and place == 0)
                    for place, piece in enumerate(answer)
                ]
            elif dialogue.begun:
                written += [
                    Written(self.lead, trained=False, begins=self.apart),
                    Written(dialogue.begun, trained=False),
                ]
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


def _of_xtuner(
    name: str, user: str, closes: str, reply: str, *, bos: bool, stops: tuple[str, ...] = ()
) -> Template:
    """A template of xtuner 0.1.23 (xtuner/utils/templates.py) as Sa2VA fills it: without a system prompt."""
    return Template(
        name=name,
        first=user,
        later=user,
        reply=f"{closes}\n{reply}",
        lead="",
        close=closes,
        bos=bos,
        apart=True,
        between="\n",
        stops=stops,
    )


_IM = ("<|im_start|>user\n", "<|im_end|>", "<|im_start|>assistant\n")
QWEN_CHAT = _of_xtuner("qwen_chat", *_IM, bos=False, stops=("<|endoftext|>",))
INTERNLM2_CHAT = _of_xtuner("internlm2_chat", *_IM, bos=True)
# Sa2VA-4B writes it on a Qwen 2.5, which has no `<|end|>`: it is text there.
PHI3_CHAT = _of_xtuner("phi3_chat", "<|user|>\n", "<|end|>", "<|assistant|>\n", bos=False)
# InternVL 2.5 and 3 themselves (conversation.py beside OpenGVLab/InternVL2_5-1B): the same with a system prompt
_INTERNVL_SYSTEM = (
    "\u4f60\u662f\u4e66\u751f\u00b7\u4e07\u8c61\uff0c\u82f1\u6587\u540d\u662fInternVL\uff0c\u662f\u7531\u4e0a\u6d77"
    "\u4eba\u5de5\u667a\u80fd\u5b9e\u9a8c\u5ba4\u3001\u6e05\u534e\u5927\u5b66\u53ca\u591a\u5bb6\u5408\u4f5c\u5355\u4f4d"
    "\u8054\u5408\u5f00\u53d1\u7684\u591a\u6a21\u6001\u5927\u8bed\u8a00\u6a21\u578b\u3002"
)
INTERNVL2_5 = replace(
    QWEN_CHAT, name="internvl2_5", first=f"<|im_start|>system\n{_INTERNVL_SYSTEM}<|im_end|>\n{_IM[0]}"
)
_TEMPLATES = {
    template.name: template
    for template in (
        LLAVA_V1,
        LLAVA_LLAMA_2,
        PHI3_INSTRUCT,
        QWEN_CHAT,
        INTERNLM2_CHAT,
        PHI3_CHAT,
        INTERNVL2_5,
    )
}


def template(name: str) -> Template:
    """A chat template by name. Raises ValueError that lists the names."""
    if name not in _TEMPLATES:
        raise ValueError(
            unknown("chat template", name, _TEMPLATES, more=f"there are {', '.join(_TEMPLATES)}")
        )
    return _TEMPLATES[name]
