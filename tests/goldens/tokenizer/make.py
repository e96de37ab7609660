"""Writes `tokenizer.model` and `fixtures.json` of this folder with transformers 4.31.0, the release LISA pins.

Run it in an environment of its own, never in SegLM's:

    python3 -m venv venv431
    venv431/bin/pip install transformers==4.31.0 tokenizers==0.13.3 sentencepiece "protobuf==3.20.*" "numpy<2"
    venv431/bin/python tests/goldens/tokenizer/make.py

`tokenizer.model` is a sentencepiece BPE model of our own with Llama's normaliser settings (identity, dummy prefix, byte
fallback, no removal of extra spaces); it is trained on the sentences below and is kept if it exists, so that a run of
another sentencepiece release does not change the ids. `fixtures.json` holds what the slow LlamaTokenizer of 4.31.0 (legacy
behaviour, its default) makes of the strings and conversations below, and the labels that LISA's rule gives.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
VOCABULARY = 560  # 3 controls, 256 bytes, the printable ASCII characters, and some 200 merges
IMAGE = "<image>"
SENTINEL = -200  # stands in `ids` where LISA's model puts the image
IGNORED = -100
STARTS_IMAGE, ENDS_IMAGE = "<im_start>", "<im_end>"
MAX_LENGTH = 2048

VICUNA = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
LLAMA_2 = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)

CORPUS = [
    VICUNA,
    LLAMA_2,
    "USER: What is the small red ring in this image? Please output segmentation mask. ASSISTANT: It is here.",
    "Can you segment the large blue square in this image? Sure, it is this one.",
    "Please segment the green triangle left of the yellow circle. Sure, the segmentation result is there.",
    "[INST] <<SYS>> <</SYS>> [/INST] Please respond with segmentation mask.",
    "The one that could roll away is the ball; it has the colour of grass.",
    "    for row in rows:\n        print(row)  # two  spaces   three    four",
    "Q: How many shapes are there? A: 12, 345 or 6789!",
    "the quick brown fox jumps over the lazy dog THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG",
    "".join(chr(code) for code in range(32, 127)),
]

ANSWERS = [
    "It is [SEG].",
    "Sure, [SEG].",
    "Sure, it is [SEG].",
    "Sure, the segmentation result is [SEG].",
    "[SEG].",
]

STRINGS = [
    *ANSWERS,
    "[SEG]",
    " [SEG]",
    "[SEG] ",
    "  [SEG]  ",
    "[SEG][SEG]",
    "[SEG] [SEG]",
    "[SEG], [SEG] and [SEG].",
    "[SEG]and",
    "and[SEG]and",
    "([SEG])",
    '"[SEG]"',
    "[SEG]!?;:",
    "It is\n[SEG]\n.",
    "[SEG]\n\nIt is there.",
    "It is [SEG].\n",
    "[SEG] . [SEG]",
    "[SEG].</s>",
    "[SEG]</s>",
    "[SEG] </s>",
    "</s>",
    "one</s>two",
    "one </s> two",
    "one <s>two",
    "an <unk> word",
    "",
    " ",
    "  ",
    " leading",
    "  two leading",
    "trailing ",
    "two trailing  ",
    "double  space   three    four",
    "tab\tand\nnewline\r\nend",
    "\n",
    "\nstart",
    "caf\u00e9 na\u00efve \u00fcber",
    "\u732b\u306f\u3069\u3053 [SEG]\u3002",
    "emoji \U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 end",
    "no\u00a0break \u3000wide [SEG]\u00a0after",
    "\u2581already\u2581marked",
    "combining e\u0301 and \ufb01 ligature",
    "12345 and 3.14",
    "[seg] [SEG [ SEG] SEG]",
    "[SEG]]",
    "[[SEG]]",
    "aaaaaaa bbbbbbbb --------",
    "<im_start><im_end>",
    "<im_start> <im_end>\nWhat is this?",
    "text <im_start> text <im_end> text",
    "USER: hi ASSISTANT:",
    "USER: hi ASSISTANT: ",
    "[INST] hi [/INST]",
    "[INST] hi [/INST] [SEG]. </s><s>[INST] more [/INST] ok </s>",
]

SHOWN = f"{STARTS_IMAGE}{IMAGE}{ENDS_IMAGE}\n"
ONE = SHOWN + "What is the small red ring in this image? Please output segmentation mask."
CONVERSATIONS: list[list[tuple[str, str]]] = [
    *[[(ONE, answer)] for answer in ANSWERS],
    [(SHOWN + "Can you segment the blue square in this image?", "[SEG]")],
    [(SHOWN + "Where are the two rings?", "They are [SEG] and [SEG].")],
    [(SHOWN + "Why could it roll away?", "[SEG]. It is round, so it rolls;\nit has no corners.")],
    [
        (SHOWN + "How many shapes are there?", "12"),
        ("And how many are red?", "3 of them."),
        ("Why?", "Paint."),
    ],
    [
        (SHOWN + "Where is it?", "It is [SEG]."),
        ("And the other one?", "[SEG]."),
        ("Thanks!", "You are welcome."),
    ],
    [("What is a caf\u00e9?", "\u732b\u306f\u3069\u3053 \U0001f600 na\u00efve")],
    [("No image here.", "I see none.")],
    [(SHOWN + "  spaces  around  ", "two  spaces, and a tab\there")],
    [(SHOWN + "Show it.", "(see [SEG])")],
    [(SHOWN + "Show it.", "[SEG] [SEG]\n[SEG]!")],
    [("List it.\n", "- one\n- two\n\n- three")],
]


def train() -> bytes:
    """The sentencepiece model, serialised."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 4),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY,
        normalization_rule_name="identity",
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        character_coverage=1.0,
        num_threads=1,
    )
    return model.getvalue()


def prompt(template: str, turns: list[tuple[str, str]]) -> str:
    """The text LISA writes for a conversation (formats: LLaVA v1 and Llama-2)."""
    if template == "llava_v1":
        return VICUNA + " " + "".join(f"USER: {ask} ASSISTANT: {answer}</s>" for ask, answer in turns)
    first = f"<<SYS>>\n{LLAMA_2}\n<</SYS>>\n\n"
    asked = [(first if n == 0 else "") + ask for n, (ask, _) in enumerate(turns)]
    rounds = [f"[INST] {ask} [/INST] {answer} </s>" for ask, (_, answer) in zip(asked, turns, strict=True)]
    return "<s>".join(rounds)


def image_ids(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text around its images: each part tokenised alone, one BOS kept, the sentinel between the parts."""
    parts = [tokenizer(part).input_ids for part in text.split(IMAGE)]
    ids: list[int] = list(parts[0])
    for part in parts[1:]:
        ids += [SENTINEL, *part[1:]]
    return ids


def rule(tokenizer: Any, template: str, text: str) -> list[int]:
    """Labels by LISA's arithmetic over re-tokenised rounds (the -2 is for BOS and the lone space piece)."""
    separator = " ASSISTANT: " if template == "llava_v1" else "[/INST] "
    ids = image_ids(tokenizer, text)
    labels = list(ids)
    labels[0] = IGNORED
    at = 1
    for words in text.split("</s>"):
        if not words:
            break
        asked, _ = words.split(separator)
        instruction = len(image_ids(tokenizer, asked + separator)) - 2
        labels[at : at + instruction] = [IGNORED] * instruction
        at += len(image_ids(tokenizer, words))
    if at != len(ids):
        raise RuntimeError(f"LISA's own check fails: {at} != {len(ids)} in {text!r}")
    return [IGNORED if label == SENTINEL else label for label in labels]


def open_tokenizer(model: Path) -> Any:
    """LISA's set-up: slow LlamaTokenizer, pad = unk, [SEG] plain, then the image marks as special tokens."""
    from transformers import LlamaTokenizer

    def mark(content: str) -> dict[str, object]:
        flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
        return {"__type": "AddedToken", "content": content, **flags}

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tokenizer.model").write_bytes(model.read_bytes())
        config = {
            "bos_token": mark("<s>"),
            "eos_token": mark("</s>"),
            "unk_token": mark("<unk>"),
            "pad_token": None,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        tokenizer = LlamaTokenizer.from_pretrained(name, model_max_length=MAX_LENGTH, padding_side="right")
    tokenizer.pad_token = tokenizer.unk_token
    tokenizer.add_tokens("[SEG]")
    tokenizer.add_tokens([STARTS_IMAGE, ENDS_IMAGE], special_tokens=True)
    return tokenizer


def main() -> None:
    import sentencepiece
    import transformers

    model = HERE / "tokenizer.model"
    if not model.exists():
        model.write_bytes(train())
    tokenizer = open_tokenizer(model)
    added = ("[SEG]", STARTS_IMAGE, ENDS_IMAGE)
    conversations = []
    for template in ("llava_v1", "llava_llama_2"):
        for turns in CONVERSATIONS:
            text = prompt(template, turns)
            entry = {"template": template, "turns": turns, "text": text, "ids": image_ids(tokenizer, text)}
            conversations.append({**entry, "labels": rule(tokenizer, template, text)})
    fixtures = {
        "made_with": {"transformers": transformers.__version__, "sentencepiece": sentencepiece.__version__},
        "tokens": {token: tokenizer.convert_tokens_to_ids(token) for token in added},
        "strings": [{"text": text, "ids": tokenizer(text).input_ids} for text in STRINGS],
        "conversations": conversations,
    }
    (HERE / "fixtures.json").write_text(json.dumps(fixtures, indent=None, separators=(",", ":")) + "\n")
    print(f"{len(STRINGS)} strings, {len(conversations)} conversations, {len(tokenizer)} tokens -> {HERE}")


if __name__ == "__main__":
    main()
