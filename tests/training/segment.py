"""Steps of the tiny LISA on samples of which every second pair asks for words only; prints the losses as one JSON line."""

from __future__ import annotations

import json
from dataclasses import replace

from seglm.dataset.collate import collate
from seglm.training.engine import Engine
from seglm.training.sampler import Feed
from seglm.utils import dist
from seglm.utils.types import Example
from tests.tiny import tiny_example, tiny_model, tiny_recipe
from tests.training.tiny import Gathering, kept_whole

STEPS = 4


class Mixed:
    """Samples 4n and 4n + 1 have masks; 4n + 2 and 4n + 3, which are rank 1's, have none."""

    def __getitem__(self, n: int) -> Example:
        answers = ("It is {}.", "Sure, {}.") if n % 4 < 2 else ("It is round.",)
        return tiny_example(answers, key=f"tiny/{n}", seed=n)


def main(folder: str, zero: str, checkpointing: str) -> None:
    world = dist.start()
    recipe = tiny_recipe()
    recipe = replace(recipe, engine=replace(recipe.engine, gradient_checkpointing=checkpointing == "1"))
    model = tiny_model(recipe)
    size = 4 // world.size
    runs: list[int] = []
    model.backbone.llm.model.layers[0].mlp.register_forward_pre_hook(lambda *_: runs.append(1))
    engine = Engine(
        model,
        Gathering(total_steps=STEPS, batch_size=size, zero=int(zero), warmup_steps=2, lr=1e-3),  # type: ignore[arg-type]
    )
    feed = Feed(Mixed(), collate, size, 1, world.rank, world.size)
    read = [engine.read(engine.step(batches)) for batches in feed.steps(0, STEPS)]
    weights, kept = engine.weights(), kept_whole(engine)
    engine.close()
    if world.is_main:
        total = sum(float(tensor.double().abs().sum()) for tensor in weights.values())
        print(json.dumps({"read": read, "weights": total, "kept_whole": kept, "runs": len(runs)}))
    dist.stop()
