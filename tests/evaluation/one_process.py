"""One process of an evaluation of a tiny model: python one_process.py FOLDER pictures|videos|words, under RANK and WORLD_SIZE.

`words` asks a merged model the questions of the toy world beside FOLDER, by its command.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from seglm.dataset.description import Scored
from seglm.evaluation.asking.ask import asker
from seglm.evaluation.asking.evaluate import evaluate_asker
from seglm.evaluation.told.__main__ import main as told
from seglm.model.settings import Evaluate
from seglm.utils import dist
from tests.evaluation.fakes import BENCHMARK, FakeSource
from tests.evaluation.films import VIDEO, Films
from tests.tiny import tiny_model, tiny_recipe

MERGED = Path(__file__).parents[1] / "goldens" / "49f5cfb" / "merged_lisa"
SAMPLES = 11  # no multiple of processes times batch: the original's sampler would count some twice

if __name__ == "__main__":
    folder, what = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    if what == "words":
        data = ["--dataset_dir", str(folder.parent / "data"), "--val_dataset", "my_qa|val", "--limit", "5"]
        told([*data, "--version", str(MERGED), "--max_new_tokens", "4", "--out", str(folder)])
        sys.exit()
    dist.start()
    recipe = replace(tiny_recipe(), evaluate=Evaluate(batch_size=2))
    ask = asker(tiny_model(recipe), protocol="forced", max_new_tokens=4)
    # GSVA's convention sums in float32, where the order matters.
    asked = replace(BENCHMARK, scored=Scored(conventions=("gsva",))) if what == "pictures" else VIDEO
    source = FakeSource(SAMPLES) if what == "pictures" else Films()
    evaluate_asker(ask, asked, asked.select(source), recipe, protocol="forced", out_dir=folder)
    dist.stop()
