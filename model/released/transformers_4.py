"""What transformers before 5 reads of a folder in another program's layout: LISA has 4.31, Sa2VA 4.42 to 4.57.

They know no `TokenizersBackend`, read slow tokenizers from files of their own, and rotary positions under other keys.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.model.released.files import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PIECES = "tokenizer.model"
SLOW = (PIECES, "vocab.json", "merges.txt")
"""files of slow tokenizers; those of a base tell the words, `added_tokens.json` what was added to them"""
CONFIG, ADDED = "tokenizer_config.json", "added_tokens.json"
LLAMA = "LlamaTokenizer"
FAST, NEW = "PreTrainedTokenizerFast", "TokenizersBackend"
"""the class that needs `tokenizer.json` alone, as every release of transformers knows it, and as today's writes it"""
EXTRA = ("extra_special_tokens", "additional_special_tokens")
"""special tokens without a role of their own, in CONFIG of transformers 5 and of those before"""
OF_TODAY = ("backend", "is_local", "local_files_only")
"""keys of transformers 5 in CONFIG that say nothing of the tokenizer"""


def write_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerFast, base: str | None) -> None:
    """The tokenizer's files, today's and those of before. base: the folder that it was read from; its own are taken over."""
    tokenizer.save_pretrained(folder)
    place = Path(base) if base else folder
    for name in SLOW:
        if (place / name).is_file():
            shutil.copyfile(place / name, folder / name)
    before = read_json(place / CONFIG) if place != folder and (place / CONFIG).is_file() else {}
    config = {**read_json(folder / CONFIG), **before}
    if config.get("tokenizer_class") in (None, NEW):
        config["tokenizer_class"] = LLAMA if (folder / PIECES).is_file() else FAST
    if isinstance(config.get(EXTRA[0]), list):
        config.setdefault(EXTRA[1], config.pop(EXTRA[0]))
    tokens = tokenizer.added_tokens_decoder
    config["added_tokens_decoder"] = {
        str(number): {
            "content": token.content,
            "lstrip": token.lstrip,
            "normalized": token.normalized,
            "rstrip": token.rstrip,
            "single_word": token.single_word,
            "special": token.special,
        }
        for number, token in sorted(tokens.items())
    }
    words = tokenizer.vocab_size
    added = {token.content: number for number, token in sorted(tokens.items()) if number >= words}
    _write(folder / CONFIG, {key: value for key, value in config.items() if key not in OF_TODAY})
    _write(folder / ADDED, added)


def with_rotation(text: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a language model that says its rotary positions in the words of before, too."""
    said = dict(text.get("rope_parameters") or {})
    theta = {"rope_theta": said.pop("rope_theta")} if "rope_theta" in said else {}
    scaling = {} if said in ({}, {"rope_type": "default"}) else {"rope_scaling": said}
    return {**theta, **scaling, **text}


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
