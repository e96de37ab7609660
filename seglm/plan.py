"""Which GPU does a run need? The memory that its weights, gradients and optimizer take, before any weight is loaded.

python -m seglm.plan --recipe lisa_tiny --gpus 1 --zero 1

Counted on modules of the weights' own sizes that hold no numbers. What a step computes (activations) comes on top: it grows with
--batch_size and the tokens of a dialogue, and is not guessed here. The weights' configs have to be there; docs/checkpoints.md has
what this command says of the published sizes, without them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seglm.model.build import base_weights, sizes_of
from seglm.model.construct import construct
from seglm.model.recipe import Recipe
from seglm.preflight import add_recipe_flags, chosen_recipe
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.ranges import Count, typed

if TYPE_CHECKING:
    from torch import nn

GIB = 2**30
MOMENTS = 2  # of AdamW, each as large as the weight
CARDS = (12, 16, 24, 40, 48, 80, 141)  # GiB
ROOM = 0.7  # of a card at most for what is counted here: the rest is for what a step computes


@dataclass(frozen=True)
class Needs:
    """Bytes on each GPU."""

    frozen: int
    trained: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        return self.frozen + self.trained + self.gradients + self.optimizer


def needs(model: nn.Module, *, gpus: int = 1, zero: int = 1) -> Needs:
    """What a model keeps on each of `gpus` GPUs under that stage of ZeRO; tensors may be on the device `meta`.

    Stage 1 shares out the optimizer's state, 2 gradients as well, 3 all weights.
    """
    sizes = [(parameter.nbytes, parameter.requires_grad) for parameter in model.parameters()]
    frozen = sum(size for size, is_trained in sizes if not is_trained)
    trained = sum(size for size, is_trained in sizes if is_trained)
    rest = sum(buffer.nbytes for buffer in model.buffers())
    of_weights, of_gradients = (gpus if zero >= 3 else 1), (gpus if zero >= 2 else 1)
    return Needs(
        frozen=-(-frozen // of_weights) + rest,
        trained=-(-trained // of_weights),
        gradients=-(-trained // of_gradients),
        optimizer=-(-MOMENTS * trained // gpus),
    )


def empty_model(recipe: Recipe) -> nn.Module:
    """The recipe's model with the sizes of its weights and without a number in it. Raises FileNotFoundError without weights."""
    checkpoint = base_weights(recipe)
    encoder = recipe.backbone.encoder(checkpoint, recipe.vocabulary)
    sizes = sizes_of(checkpoint, vocabulary=len(encoder.tokenizer))
    return construct(recipe, sizes, encoder, device="meta")[0]


def told(found: Needs, recipe: Recipe, *, gpus: int, zero: int) -> Iterator[str]:
    """Lines for a person: the parts, the smallest card with room for a step, and what to turn down."""
    yield f"{recipe.name}, {recipe.engine.precision}, {gpus} GPUs, ZeRO-{zero}: GiB on each GPU"
    for part in ("frozen", "trained", "gradients", "optimizer", "total"):
        yield f"  {part:<10}{getattr(found, part) / GIB:8.2f}"
    card = next((size for size in CARDS if found.total <= ROOM * size * GIB), None)
    if card is not None:
        yield f"a card of {card} GiB leaves {card - found.total / GIB:.1f} for what a step computes"
    else:
        yield "no single card has room for a step"
    yield (
        "less of it: --zero 2 or --zero 3 on several GPUs; --precision bf16; less of it in a step: "
        "engine.gradient_checkpointing=true; --batch_size 1 with more --grad_accumulation_steps; data.targets_per_sample=1"
    )


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = Parser(
        prog="python -m seglm.plan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_recipe_flags(parser)
    parser.add_argument("--gpus", type=typed(Count), default=1, help="default %(default)s")
    parser.add_argument("--zero", type=int, choices=(1, 2, 3), help="default: the recipe's")
    options = parser.parse_args(arguments)
    recipe = chosen_recipe(options)
    zero = options.zero or recipe.engine.zero
    try:
        model = empty_model(recipe)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}\ndocs/checkpoints.md has the numbers of the published sizes, without weights"
        ) from error
    found = needs(model, gpus=options.gpus, zero=zero)
    sys.stdout.write("\n".join(told(found, recipe, gpus=options.gpus, zero=zero)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
