"""kill -9 at random moments: no checkpoint is lost, and the losses that come in the end are those of a run that nobody disturbed.

SEGLM_KILLS=50 python -m pytest -s tests/training/test_kills.py       the long way, with a line for each kill
"""

from __future__ import annotations

import os
import random
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from seglm.model.load import load
from seglm.training import saves
from seglm.training.curve import read
from seglm.utils.portable import is_portable, read_portable, sha256
from tests.model.layouts import canonical_tensors, trainable_only, training_state, write_bases
from tests.model.test_merge import as_file, flags
from tests.tiny import tiny_model
from tests.training.processes import run_ranks
from tests.training.test_trainer import numbers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
KILLS = int(os.environ.get("SEGLM_KILLS", "4"))
LONGEST = 1.5  # seconds from the first weight on the device; a life of this length is 10 to 30 steps
LONG = 300 + 30 * KILLS  # seconds for a run of all epochs, on a busy machine, too
EPOCHS = 2 * KILLS  # of eight steps each: more than the kills leave time for


def whole(run: Path) -> int:
    """The step of the newest save; what must be whole at any moment is looked at."""
    last = saves.newest(run)
    if is_portable(run / "portable"):
        read_portable(run / "portable")
    latest = run / "ckpt_model" / "latest"
    if latest.exists():
        best = run / "ckpt_model" / latest.read_text()
        assert all(torch.load(file, weights_only=False) for file in best.glob("*.pt"))
    return last.step if last is not None else 0


def test_a_run_that_is_killed_again_and_again(tmp_path: Path) -> None:
    """Saves every 3 steps, a validation every 8, two ranks, either of which is killed; the other run saves once in 8 steps."""
    straight, run, draw = tmp_path / "straight", tmp_path / "run", random.Random(KILLS)
    settings = (f"epochs={EPOCHS}", "per_epoch=8", "keep=2", "print_freq=2", "seconds=0.005")
    run_ranks(tmp_path, 2, straight, *settings, timeout=LONG).result  # noqa: B018
    settings = (*settings, "save_every=3")
    where = []
    for _ in range(KILLS):
        before = whole(run)
        life = (f"die_after={draw.uniform(0, LONGEST)}", f"die_rank={draw.randrange(2)}")
        ended = run_ranks(tmp_path, 2, run, *settings, *life, "resume=1" if before else "overwrite=1")
        assert -9 in ended.codes, ended.text
        where += re.findall(r"killed in (.*)", ended.text)
        print(f"step {whole(run):3} is kept after a kill of rank {life[1][-1]} in {where[-1]}")
        assert whole(run) >= before
    run_ranks(tmp_path, 2, run, *settings, "resume=1", timeout=LONG).result  # noqa: B018
    assert len(where) == KILLS
    assert numbers(run) == numbers(straight)
    assert read(run / "scores.csv") == read(straight / "scores.csv")
    for place in ("portable", f"kept/step{8 * EPOCHS}"):
        want, got = (
            load_file(straight / place / "model.safetensors"),
            load_file(run / place / "model.safetensors"),
        )
        assert all(torch.equal(got[name], tensor) for name, tensor in want.items())


def test_a_merge_that_is_killed_again_and_again(tmp_path: Path) -> None:
    """What it reads stays as it was, what it writes is there whole or not at all, and the next attempt succeeds."""
    model, draw = tiny_model(), random.Random(KILLS)
    recipe = write_bases(tmp_path / "bases", model)
    weight = as_file(tmp_path, training_state(trainable_only(canonical_tensors(model))))
    before = {path: sha256(path) for path in tmp_path.rglob("*") if path.is_file()}
    merge, out = partial(run_ranks, tmp_path, 1, script="tests.training.merge"), tmp_path / "merged"
    changes = merge(Path("1000"), *flags(recipe, weight, tmp_path / "undisturbed")).result["changes"]
    for number in sorted(draw.sample(range(changes), min(KILLS, changes))):
        ended = merge(Path(str(number)), *flags(recipe, weight, out))
        print(f"a merge before change {number} of {changes}: {'whole' if out.exists() else 'nothing'}")
        assert ended.codes == (-9,), ended.text
        if out.exists():
            load(str(out))
            shutil.rmtree(out)
    assert {path: sha256(path) for path in before} == before
    assert merge(Path("1000"), *flags(recipe, weight, out)).result
    load(str(out))
    assert not list(tmp_path.glob(".merged*"))
