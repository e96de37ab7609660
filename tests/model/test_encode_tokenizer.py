"""Token ids are those of transformers 4.31.0's slow LlamaTokenizer (tests/goldens/tokenizer/make.py)."""

from __future__ import annotations

import json
import pickle
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from seglm.model.backbones.tokenizer import SPACE, load_tokenizer, token_ids

GOLDENS = Path(__file__).parents[1] / "goldens" / "tokenizer"
FIXTURES: dict[str, Any] = json.loads((GOLDENS / "fixtures.json").read_text(encoding="utf-8"))


@cache
def tokenizer() -> Any:
    return load_tokenizer(GOLDENS)


def test_at_least_forty_strings_were_recorded_with_4_31() -> None:
    assert FIXTURES["made_with"]["transformers"] == "4.31.0"
    assert len(FIXTURES["strings"]) >= 40


@pytest.mark.parametrize("case", FIXTURES["strings"], ids=lambda case: repr(case["text"])[:40])
def test_a_string_has_the_ids_of_4_31(case: dict[str, Any]) -> None:
    assert tokenizer()(case["text"]).input_ids == case["ids"]


def test_the_added_tokens_have_the_ids_of_4_31() -> None:
    assert token_ids(tokenizer(), tuple(FIXTURES["tokens"])) == FIXTURES["tokens"]


def test_plain_text_has_the_pieces_of_sentencepiece_itself() -> None:
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(GOLDENS / "tokenizer.model"))
    rng = random.Random(0)
    letters = "  aeinorst  aab--..,:\n\tE\u00e9\u732b" + SPACE
    for _ in range(300):
        text = "".join(rng.choice(letters) for _ in range(rng.randrange(1, 60)))
        assert tokenizer()(text, add_special_tokens=False).input_ids == pieces.encode(text), repr(text)


def test_a_saved_tokenizer_and_a_pickled_one_give_the_same_ids(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer().save_pretrained(tmp_path)
    copies = [
        load_tokenizer(tmp_path),
        AutoTokenizer.from_pretrained(tmp_path),
        pickle.loads(pickle.dumps(tokenizer())),
    ]
    for copy in copies:
        for case in FIXTURES["strings"]:
            assert copy(case["text"]).input_ids == case["ids"], case["text"]


def released_folder(folder: Path, listed: dict[str, int]) -> Path:
    (folder / "tokenizer.model").write_bytes((GOLDENS / "tokenizer.model").read_bytes())
    (folder / "added_tokens.json").write_text(json.dumps(listed))
    return folder


def test_tokens_a_released_folder_lists_keep_their_ids(tmp_path: Path) -> None:
    listed = {"[SEG]": 563, "<im_patch>": 560, "<im_end>": 562, "<im_start>": 561}  # the order of LISA-7B-v1
    loaded = load_tokenizer(released_folder(tmp_path, listed))
    assert loaded.convert_tokens_to_ids(list(listed)) == list(listed.values())
    assert len(loaded) == 564
    want = [{560: 563}.get(number, number) for number in FIXTURES["strings"][0]["ids"]]
    assert loaded(FIXTURES["strings"][0]["text"]).input_ids == want


def test_a_listed_id_with_a_gap_before_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gives '\[SEG\]' the id 570, but the vocabulary has it at 560"):
        load_tokenizer(released_folder(tmp_path, {"[SEG]": 570}))


def test_a_folder_without_a_tokenizer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither tokenizer\.model nor tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_json_that_is_not_llamas_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"normalises text by nothing.*tokenizer\.model"):
        load_tokenizer(tmp_path)


def test_an_unknown_or_repeated_token_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'\[KEY\]' is not in the vocabulary of 563 tokens"):
        token_ids(tokenizer(), ("[KEY]",))
    with pytest.raises(ValueError, match="share an id"):
        token_ids(tokenizer(), ("[SEG]", "[SEG]"))


def test_a_piece_of_the_base_vocabulary_is_no_token_of_its_own() -> None:
    with pytest.raises(ValueError, match="is not one token"):
        token_ids(tokenizer(), ("is",))
