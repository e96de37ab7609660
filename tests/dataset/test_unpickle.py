"""Pickles from strangers hold data or are refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from seglm.dataset.faults import Fault
from seglm.dataset.readers.unpickle import unpickle


class Malicious:
    """Unpickling it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize(
    "content, value",
    [
        (
            b"(lp0\n(dp1\nS'sent'\np2\nS'left dog'\np3\nsS'ann_id'\np4\nI7\nsa.",
            [{"sent": "left dog", "ann_id": 7}],
        ),
        (
            b"\x80\x02]q\x00}q\x01(U\x04sentq\x02U\x08left dogq\x03U\x06ann_idq\x04K\x07ua.",
            [{"sent": "left dog", "ann_id": 7}],
        ),
        (b"S'caf\\xc3\\xa9'\np0\n.", "caf\u00e9"),  # bytes of utf-8 in a string of Python 2
        (b"S'caf\\xe9'\np0\n.", "caf\u00e9"),  # of latin-1
        (pickle.dumps({"a": (1, 2.5, None, True)}, protocol=4), {"a": (1, 2.5, None, True)}),
    ],
)
def test_plain_values_of_any_protocol_are_read(content: bytes, value: object, tmp_path: Path) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(content)
    assert unpickle(path, "refcoco|unc|val") == value


@pytest.mark.parametrize("protocol", range(5))
def test_a_malicious_pickle_is_refused_and_nothing_of_it_runs(protocol: int, tmp_path: Path) -> None:
    path, folder = tmp_path / "refs(unc).p", tmp_path / "made"
    path.write_bytes(pickle.dumps([{"sent": "left dog"}, Malicious(folder)], protocol=protocol))
    with pytest.raises(Fault, match=r"refcoco\|unc\|val: .*mkdir; only plain values are read"):
        unpickle(path, "refcoco|unc|val")
    assert not folder.exists()


@pytest.mark.parametrize("content", [b"", b"no pickle", b"(lp0\nI1"])
def test_a_broken_pickle_is_a_fault_that_names_the_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(content)
    with pytest.raises(Fault, match=r"refs\(unc\).p"):
        unpickle(path, "refcoco|unc|val")
