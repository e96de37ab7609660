"""The text of a file whose encoding nobody wrote down: JSON and CSV come from every editor and every country."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

from seglm.utils.containers import HEAD, begins_as
from seglm.utils.regular import refuse_endless

BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
WESTERN = "cp1252"
OTHERS = ("gb18030", "big5", "shift_jis", "euc_kr", "cp1251")
"""what a file may be that is neither UTF-8 nor western: asked in this order, for the message"""
# What western writing looks like: typographic marks, or an accented letter (two, as in German) in a word of plain ones. Two bytes
# for one sign, as in the east of Asia, give marks such as that of all currencies, or capitals in pairs.
MARKS = (
    "\u2018\u2019\u201c\u201d\u2013\u2014\u2026\u20ac\u00a3\u00a9\u00ae\u2122\u00b0\u00bc\u00bd\u00be"
    "\u00a0\u00ab\u00bb\u00bf\u00a1"
)
CAPITALS, SMALL = (
    "\u00c0-\u00d6\u00d8-\u00de\u0152\u0160\u017d",
    "\u00df-\u00f6\u00f8-\u00ff\u0153\u0161\u017e",
)
WORD = re.compile(f"[{CAPITALS}]?[{SMALL}]{{0,2}}")
SURROGATE = re.compile("[\ud800-\udfff]")
ALONE = "\u00e0\u00e1\u00e9\u00f3"  # words of one letter in French, Portuguese, Spanish


def check_text(text: str, said: str) -> None:
    """Raises ValueError for a typed text that is blank or came in bytes that are no UTF-8, which Python keeps as surrogates.

    said: how the user names the text.
    """
    if not text.strip():
        raise ValueError(f"{said} is empty; write a question")
    wrong = SURROGATE.search(text)
    if wrong:
        byte = ord(wrong[0]) - 0xDC00
        what = f"byte 0x{byte:02x}" if 0x80 <= byte <= 0xFF else f"half a character, U+{ord(wrong[0]):04X},"
        raise ValueError(
            f"{said}: {what} at character {wrong.start() + 1} is no UTF-8; set the terminal to UTF-8, or convert the text "
            "(iconv -t UTF-8)"
        )


def text_of(content: bytes) -> tuple[str, str]:
    """The text, and the encoding that it is in: what a byte order mark says, else UTF-8, else Windows' western one.

    Raises ValueError, which says what it may be, where the last would give signs that no western text has.
    """
    for mark, encoding in BOMS.items():
        if content.startswith(mark):
            return content.decode(encoding), encoding
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        place = error.start
    if is_western(content):
        return content.decode(WESTERN), WESTERN
    found = [encoding for encoding in OTHERS if _fits(content, encoding)]
    more = f"; it may be {' or '.join(found)}: `iconv -f {found[0]} -t utf-8` makes it so" if found else ""
    raise ValueError(f"it is not UTF-8 (byte {content[place]:#04x} at {place}){more}")


def read_text(path: Path) -> str:
    """The text of a file, see `text_of`. Raises ValueError that names the file, OSError where it cannot be read."""
    try:
        refuse_endless(path)
        return text_of(path.read_bytes())[0]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises ValueError that names the file, OSError where it cannot be read."""
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        what = begins_as(text[:HEAD].encode())
        raise ValueError(f"{path}: {what or f'is no JSON: {error}'}; is it whole?") from error


def is_western(content: bytes) -> bool:
    """Whether the bytes above 127 are plausible as cp1252: marks, and accented letters at or inside a word of plain ones."""
    if b"\x00" in content or not _fits(content, WESTERN):
        return False
    for run in re.finditer(r"[^\x00-\x7f]+", text := content.decode(WESTERN)):
        letters = run.group().strip(MARKS)
        if not letters:
            continue
        beside = text[max(0, run.start() - 1) : run.start()] + text[run.end() : run.end() + 1]
        if not ((any(one.isalpha() for one in beside) or letters in ALONE) and WORD.fullmatch(letters)):
            return False
    return True


def _fits(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
