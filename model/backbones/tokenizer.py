"""LISA's tokeniser on today's transformers: the ids of the slow LlamaTokenizer of transformers 4.31.0, exactly. And, for language
models whose systems are younger (`newer_tokenizer`), the one that their own files describe, read by transformers itself.

What 4.31.0 does, and releases since then do not by themselves:
- every stretch of text between two added tokens gets sentencepiece's dummy prefix ("legacy"), even after `</s>`: the "."
  of "[SEG]." becomes the two pieces "_" and ".";
- a plain added token swallows the whitespace at both its sides;
- `<s>`, `</s>` and `<unk>` swallow nothing.
LlamaTokenizer of transformers 5 leaves out the dummy prefix where a stretch begins with a space, and the pieces it gives
around `[SEG]` move the state that predicts it (LISA issue 55). So the tokenizer is built here from `tokenizer.model`.
tests/goldens/tokenizer holds what 4.31.0 says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from seglm.utils.containers import WeightsError, broken, flaw, read_object
from seglm.utils.imports import importing

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

SPACE = "\u2581"  # sentencepiece's mark for a space


def load_tokenizer(
    folder: str | Path,
    tokens: tuple[str, ...] = ("[SEG]",),
    image_tokens: tuple[str, str] | None = ("<im_start>", "<im_end>"),
) -> PreTrainedTokenizerFast:
    """The tokenizer of a language model with our tokens added, as LISA's training would make it.

    folder: holds `tokenizer.model` (with `added_tokens.json` where the base already has added tokens, as released LISA
    has), or a `tokenizer.json` that this function's result has written with `save_pretrained`.
    tokens: become plain tokens, first; image_tokens: after them, as special tokens. A token that is there keeps its id.
    The padding token is `<unk>` as in LISA, so that no row is added to the embeddings; nothing reads it: padding is told
    from text by `Batch.group`, and labels never depend on an id.

    Raises FileNotFoundError if there is no tokenizer, ValueError if it is not of Llama's kind or a token does not come
    back as one id of its own.
    """
    return extended(read_tokenizer(folder), tokens, image_tokens)


def read_tokenizer(folder: str | Path) -> PreTrainedTokenizerFast:
    """The tokenizer as its files have it (see `load_tokenizer`)."""
    file = _file_of(Path(folder))
    if file.suffix == ".json":
        return _from_json(file)
    tokenizer = _wrap(_from_sentencepiece(file))
    _add_listed(tokenizer, file.with_name("added_tokens.json"))
    return tokenizer


def newer_tokenizer(folder: str | Path, tokens: tuple[str, ...]) -> tuple[PreTrainedTokenizerFast, int]:
    """Llama's tokenizer as `tokenizer_config.json` describes it, with the tokens of a recipe added; and how many its files hold.

    Since transformers 4.34 an added token swallows whitespace only where its own flags say so, and with `legacy: false` only a
    text's beginning gets the dummy prefix; a recipe's token swallows nothing (VideoLISA's train_joint.py under 4.41).
    Raises FileNotFoundError if there is no tokenizer, WeightsError if it is broken, ValueError if a token is not one id.
    """
    from tokenizers import AddedToken
    from transformers import LlamaTokenizer

    file = _file_of(Path(folder))
    with whole(file):
        tokenizer = LlamaTokenizer.from_pretrained(file.parent)
    tokenizer.pad_token = tokenizer.unk_token
    found = len(tokenizer)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in tokens])
    token_ids(tokenizer, tokens)
    return tokenizer, found


def own_tokenizer(folder: str, tokens: tuple[str, ...]) -> tuple[PreTrainedTokenizerFast, int]:
    """The tokenizer that a folder's files describe, of any kind, with the tokens of a recipe added; and how many they hold.

    No code beside the files is run: one that only brings `tokenizer.model` (InternLM 2) is read as `newer_tokenizer` does.
    Raises FileNotFoundError if there is no tokenizer, WeightsError if it is broken, ValueError if a token is not one id.
    """
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    place = Path(folder)
    if (place / "tokenizer.model").is_file():
        return newer_tokenizer(folder, tokens)
    file = _of_bytes(place)
    with whole(file):
        tokenizer: PreTrainedTokenizerFast
        if file.name == "tokenizer.json":
            tokenizer = PreTrainedTokenizerFast.from_pretrained(place)
        else:
            from transformers import Qwen2Tokenizer

            tokenizer = Qwen2Tokenizer.from_pretrained(place)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    found = len(tokenizer)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in tokens], special_tokens=True)
    token_ids(tokenizer, tokens)
    return tokenizer, found


def _of_bytes(folder: Path) -> Path:
    for file in (folder / "tokenizer.json", folder / "vocab.json"):
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"{folder} holds none of tokenizer.json, vocab.json and tokenizer.model; a language model's folder has one of them: "
        f"give the whole folder, not only its weights"
    )


def _file_of(folder: Path) -> Path:
    for file in (folder / "tokenizer.model", folder / "tokenizer.json"):
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"{folder} holds neither tokenizer.model nor tokenizer.json; a language model's folder has one of them: "
        f"give the whole folder, not only its weights"
    )


def extended(
    tokenizer: PreTrainedTokenizerFast, tokens: tuple[str, ...], image_tokens: tuple[str, str] | None
) -> PreTrainedTokenizerFast:
    """The same tokenizer with the tokens of a recipe added (see `load_tokenizer`)."""
    _add(tokenizer, tokens, special=False)
    _add(tokenizer, image_tokens or (), special=True)
    token_ids(tokenizer, (*tokens, *(image_tokens or ())))
    return tokenizer


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """Inside, a library reads the file; whatever it then says of broken bytes is an error that names the file."""
    if what := flaw(path):
        raise broken(path, what)
    try:
        yield
    except Exception as error:
        raise broken(path, f"not readable as a tokenizer ({' '.join(str(error).split())[:100]})") from error


def token_ids(tokenizer: PreTrainedTokenizerFast, tokens: tuple[str, ...]) -> dict[str, int]:
    """The id of each added token, by name.

    Raises ValueError if a token is unknown, shares its id, or does not survive a round trip through text.
    """
    found: dict[str, int] = {}
    for token in tokens:
        number = tokenizer.convert_tokens_to_ids(token)
        if not isinstance(number, int) or number == tokenizer.unk_token_id:
            raise ValueError(
                f"token {token!r} is not in the vocabulary of {len(tokenizer)} tokens; add it first"
            )
        spoken = tokenizer.backend_tokenizer.encode(f"It is {token}.", add_special_tokens=False).ids
        if tokenizer.convert_ids_to_tokens(number) != token or spoken.count(number) != 1:
            raise ValueError(
                f"token {token!r} with id {number} is not one token: 'It is {token}.' becomes {spoken}"
            )
        found[token] = number
    if len(set(found.values())) != len(tokens):
        raise ValueError(f"two of {tokens} share an id ({found}); list each token once")
    return found


def _from_sentencepiece(path: Path) -> Tokenizer:
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    with whole(path):
        pieces = SentencePieceProcessor(model_file=str(path))
    _check_is_llama(pieces, path)
    vocabulary = {pieces.id_to_piece(n): n for n in range(pieces.get_piece_size())}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges(pieces),
            unk_token=pieces.id_to_piece(pieces.unk_id()),
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    # `Prepend` is unconditional, as sentencepiece's dummy prefix is; pre-tokenisation would split what BPE may join.
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    bos = pieces.id_to_piece(pieces.bos_id())
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, pieces.bos_id())]
    )
    return tokenizer


def _check_is_llama(pieces: SentencePieceProcessor, path: Path) -> None:
    """Llama's normaliser: a dummy prefix, spaces kept, nothing folded; and bytes for what the vocabulary lacks."""
    probe = " \ufb01  x "
    want = (SPACE + probe).replace(" ", SPACE)
    byte_fallback = pieces.piece_to_id("<0x0A>") != pieces.unk_id()
    if pieces.normalize(probe) != want or not byte_fallback:
        raise ValueError(
            f"{path} is not of Llama's kind (dummy prefix, spaces kept, identity, byte fallback): {probe!r} becomes "
            f"{pieces.normalize(probe)!r}, expected {want!r}; byte fallback {byte_fallback}"
        )


def _merges(pieces: SentencePieceProcessor) -> list[tuple[str, str]]:
    """The merges of a sentencepiece BPE model, best first: pieces are joined in the order of their scores."""
    score = {
        pieces.id_to_piece(n): (-pieces.get_score(n), n)
        for n in range(pieces.get_piece_size())
        if not (
            pieces.is_byte(n) or pieces.is_control(n) or pieces.is_unknown(n)
        )  # text never becomes one of these
    }
    joined = [
        (whole, whole[:cut], whole[cut:])
        for whole in score
        for cut in range(1, len(whole))
        if whole[:cut] in score and whole[cut:] in score
    ]
    # Several ways to make one piece: in the order of their parts, as transformers' own conversion has it.
    joined.sort(key=lambda one: (score[one[0]], score[one[1]][1], score[one[2]][1]))
    return [(left, right) for _, left, right in joined]


def _wrap(backend: Tokenizer) -> PreTrainedTokenizerFast:
    with importing():
        from tokenizers import AddedToken
        from transformers import PreTrainedTokenizerFast

    def control(content: str) -> AddedToken:
        return AddedToken(content, lstrip=False, rstrip=False, normalized=False, special=True)

    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=control("<s>"),
        eos_token=control("</s>"),
        unk_token=control("<unk>"),
        pad_token=control("<unk>"),
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def _from_json(path: Path) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer

    with whole(path):
        backend = Tokenizer.from_file(str(path))
    normalizer = json.loads(backend.to_str())["normalizer"] or {}
    kinds = [step["type"] for step in normalizer.get("normalizers", [normalizer]) if step]
    if kinds != ["Prepend", "Replace"]:
        raise ValueError(
            f"{path} normalises text by {kinds or 'nothing'}, LISA's tokeniser by ['Prepend', 'Replace']; put the "
            f"tokenizer.model of the base model into {path.parent}, it is read first"
        )
    return _wrap(backend)


def _add_listed(tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Adds the tokens of `added_tokens.json` ({token: id}) at the ids it names."""
    if not path.is_file():
        return
    listed = read_object(path)
    if odd := [token for token, number in listed.items() if type(number) is not int]:
        raise WeightsError(
            f"{path} gives {odd[0]!r} the id {listed[odd[0]]!r}, expected a whole number; fetch the file again"
        )
    for token, number in sorted(listed.items(), key=lambda item: item[1]):
        _add(tokenizer, (token,), special=token in tokenizer.all_special_tokens)
        got = tokenizer.convert_tokens_to_ids(token)
        if got != number:
            raise WeightsError(f"{path} gives {token!r} the id {number}, but the vocabulary has it at {got}")


def _add(tokenizer: PreTrainedTokenizerFast, tokens: tuple[str, ...], *, special: bool) -> None:
    """Adds tokens that are not there; both kinds swallow the whitespace around them, as plain strings did in 4.31."""
    from tokenizers import AddedToken

    for token in tokens:
        there = tokenizer.get_vocab().get(token)
        if there is None:
            tokenizer.add_tokens(
                [AddedToken(token, lstrip=True, rstrip=True, normalized=False, special=special)],
                special_tokens=special,
            )
            continue
        kept = tokenizer.added_tokens_decoder.get(there)
        if (
            kept is not None
            and not (kept.lstrip and kept.rstrip)
            and token not in tokenizer.all_special_tokens
        ):
            raise ValueError(
                f"token {token!r} (id {there}) leaves the whitespace around it alone, LISA's swallows it; put the "
                f"tokenizer.model of the base model beside tokenizer.json, it is read first"
            )
