"""Pickles as Python 2 wrote them: the refs files of RefCOCO hold byte strings, which today's `pickle` cannot write.

The real files are read back as text by `pickle.load`; with these the same path through the reader is exercised.
"""

import struct
from collections.abc import Mapping, Sequence

PROTOCOL_2 = b"\x80\x02"
LONGEST_SHORT = 255  # bytes in a SHORT_BINSTRING


def dump(value: object) -> bytes:
    """`value` (dicts, lists, str in ASCII, int) as a protocol-2 pickle whose strings are Python-2 byte strings."""
    return PROTOCOL_2 + _encode(value) + b"."


def _encode(value: object) -> bytes:
    if isinstance(value, str):
        text = value.encode("ascii")
        if len(text) <= LONGEST_SHORT:
            return b"U" + bytes([len(text)]) + text
        return b"T" + struct.pack("<i", len(text)) + text
    if isinstance(value, int) and not isinstance(value, bool):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, Mapping):
        return b"}(" + b"".join(_encode(part) for item in value.items() for part in item) + b"u"
    if isinstance(value, Sequence):
        return b"](" + b"".join(_encode(item) for item in value) + b"e"
    raise ValueError(
        f"a refs file holds no {type(value).__name__} ({value!r}); permitted: dict, list, str, int"
    )
