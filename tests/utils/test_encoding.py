"""Text in any encoding that says what it is, western text of Windows where it looks like that, and nothing else."""

from __future__ import annotations

import pytest

from seglm.utils.encoding import text_of


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(
    "text", ['{"text": "the cup"}', '{"text": "gr\u00f6\u00dfte Tasse, \u676f\u5b50 \U0001f600"}', "{}"]
)
def test_a_mark_or_utf_8_says_what_it_is(text: str, encoding: str) -> None:
    assert text_of(text.encode(encoding)) == (text, encoding)


@pytest.mark.parametrize(
    "text",
    [
        "gr\u00f6\u00dfte Stra\u00dfe",
        "l\u2019\u00e9t\u00e9 \u00e0 la carte \u201c\u00e7a\u201d",
        "it\u2019s \u201c\u00e0 la mode\u201d\u2026",
        "\u00d6sterreich, caf\u00e9 na\u00efve",
        "25\u00b0 \u2013 \u00bd cup, 3 \u20ac",
        "\u00c9T\u00c9 \u00d1and\u00fa",
    ],
)
def test_western_text_of_windows_is_taken_for_what_it_is(text: str) -> None:
    assert text_of(text.encode("cp1252")) == (text, "cp1252")


@pytest.mark.parametrize(
    "text, encoding",
    [
        ("\u676f\u5b50", "gb18030"),
        ("the \u4eba cup", "gb18030"),
        ("\u5927\u8c61\u7684\u9f3b\u5b50", "gb18030"),
        ("\u7d05\u8272 on a table", "big5"),
        ("\u30b3\u30c3\u30d7", "shift_jis"),
        ("\u306ecup", "shift_jis"),
        ("\ucef5", "euc_kr"),
        ("\u0447\u0430\u0448\u043a\u0430", "cp1251"),
    ],
)
def test_other_text_is_refused_with_what_it_may_be(text: str, encoding: str) -> None:
    with pytest.raises(ValueError, match=f"not UTF-8 .*it may be .*{encoding}.*iconv -f"):
        text_of(text.encode(encoding))


@pytest.mark.parametrize("content", [b"\xff", b"\xed\xa0\x80", b"\x00\xff\x00", b"\xff\xfea"])
def test_bytes_that_are_no_text_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        text_of(content)
