"""What transformers before 5 reads of a tokenizer's files: its own class, files and keys; and that ours reads them back."""

from __future__ import annotations

from pathlib import Path

from seglm.model.backbones.tokenizer import newer_tokenizer
from seglm.model.released.files import read_json
from seglm.model.released.transformers_4 import with_rotation, write_tokenizer
from tests.model.layouts import write_phi3_tokenizer

TEXT = "<|user|>\nPlease segment the ring.<|end|>\n<|assistant|>\nSure, it is [SEG] .<|end|>"


def test_a_tokenizer_is_written_with_the_files_of_its_base_and_read_back(tmp_path: Path) -> None:
    base, folder = write_phi3_tokenizer(tmp_path / "base"), tmp_path / "out"
    folder.mkdir()
    made, _ = newer_tokenizer(base, ("[SEG]",))
    write_tokenizer(folder, made, str(base))
    said = read_json(folder / "tokenizer_config.json")
    # 4.57 wants a dictionary where 5 has a list
    assert said["tokenizer_class"] == "LlamaTokenizer" and "extra_special_tokens" not in said
    assert read_json(folder / "added_tokens.json")["[SEG]"] == made.convert_tokens_to_ids("[SEG]")
    again, found = newer_tokenizer(folder, ("[SEG]",))
    assert found == len(again) == len(made)
    ids = [one.backend_tokenizer.encode(TEXT, add_special_tokens=False).ids for one in (made, again)]
    assert ids[0] == ids[1]


def test_rotary_positions_are_said_under_both_keys() -> None:
    plain = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}
    assert with_rotation(plain) == {"rope_theta": 1e6, **plain}
    stretched = {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}
    assert with_rotation(stretched)["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
    assert with_rotation({"rope_theta": 5e5}) == {"rope_theta": 5e5}
