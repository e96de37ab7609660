"""A merge that is killed at its n-th change of the file system, as a script: what test_kills.py starts."""

from __future__ import annotations

import json

import merge_lora_weights_and_save_hf_model as script
from tests.training.processes import die_at


def main(number: str, *arguments: str) -> None:
    changes = die_at(int(number))
    script.main(arguments)
    print(json.dumps({"changes": changes()}))
