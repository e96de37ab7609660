"""From a recipe to a model: base weights or a checkpoint, read strictly into freshly built modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.construct import construct
from seglm.model.recipe import Recipe
from seglm.model.released.absent import refuse_absent
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.errors import WeightsError, WrongShapes
from seglm.model.released.strict import Report, load_canonical
from seglm.model.sizes import Sizes
from seglm.model.trainable import Table
from seglm.utils.memory import ran_out

if TYPE_CHECKING:
    from torch import Tensor

    from seglm.model.segmenter import Segmenter

NEW_ROW_STD = 0.02  # transformers 4.31 draws new embedding rows from N(0, 0.02); today's mean initialisation is another recipe
PADDED_TO = 8  # rows of a vocabulary that is padded for the hardware are a multiple of this
VOCABULARY = ("llm.embed_tokens.weight", "llm.lm_head.weight")


@dataclass(frozen=True)
class Built:
    """A model and how it came about."""

    model: Segmenter
    table: Table
    """what is trained"""
    report: Report
    """what became of every tensor that was read"""
    sizes: Sizes
    checkpoint: Checkpoint


def build(recipe: Recipe, *, device: str = "cpu") -> Built:
    """The model a recipe starts training from: its LLM, vision tower and mask decoder, with new tokens, adapters and projection.

    Fresh weights depend on `recipe.engine.seed` alone.
    """
    return assemble(recipe, base_weights(recipe), device=device)


def base_weights(recipe: Recipe) -> Checkpoint:
    """The recipe's base weights as one checkpoint; parts that the LLM's folder does not hold come from their own paths."""
    refuse_absent_base(recipe)
    return recipe.project.begin(recipe.decoder.begin(recipe.backbone.read()))


def refuse_absent_base(recipe: Recipe) -> None:
    """Raises FileNotFoundError that names all of the recipe's base weights that are not there; nothing is read."""
    backbone, decoder = recipe.backbone, recipe.decoder
    refuse_absent(
        backbone.weights,
        revision=backbone.revision,
        vision_else=backbone.vision,
        decoder=decoder.weights,
        decoder_anew=decoder.begins_anew,
        decoder_mark=decoder.mark,
    )


def assemble(recipe: Recipe, checkpoint: Checkpoint, *, lora: bool = True, device: str = "cpu") -> Built:
    """Builds modules of the checkpoint's sizes and reads every tensor into them, strictly.

    What a checkpoint may lack is only what it never had: adapters, the projection of a base that does not segment, and the fusion
    of one that knows no keywords.
    lora: False for a merged model that is only to be used.
    Raises WeightsError if a part or the tokenizer is missing, ValueError if sizes contradict the recipe.
    """
    import torch

    with _named(checkpoint):
        encoder = recipe.backbone.encoder(checkpoint, recipe.vocabulary)
    tensors, drawn = with_vocabulary(checkpoint, encoder, seed=recipe.engine.seed, to_train=lora)
    sizes = sizes_of(checkpoint, vocabulary=len(encoder.tokenizer))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.engine.seed)
        with _named(checkpoint):
            model, table = construct(recipe, sizes, encoder, lora=lora, device=device)
    fresh = [rf"{part}\..+" for part in ("project", "fuse") if not checkpoint.has(f"{part}.")]
    if lora and not checkpoint.lora_rank:
        fresh.append(r".+\.lora_[AB]\.weight")
    report = load_canonical(model, tensors, allow_missing=fresh, place=checkpoint.place)
    if not checkpoint.has("project."):
        recipe.project.start(model.project, model.decoder)
    return Built(model, table, replace(report, new_rows=drawn), sizes, checkpoint)


def sizes_of(checkpoint: Checkpoint, *, vocabulary: int) -> Sizes:
    """The checkpoint's sizes, with room for the added tokens. Raises WeightsError if a part is missing."""
    parts = {
        "language model": checkpoint.llm,
        "projector": checkpoint.projector,
        "vision tower": checkpoint.vision,
        "mask decoder": checkpoint.decoder,
    }
    if missing := [name for name, part in parts.items() if part is None]:
        raise WeightsError(
            f"{checkpoint.source}: no {' and no '.join(missing)}; give the missing ones with --vision-tower and "
            "--vision_pretrained, or the whole folder of a model as --version"
        )
    if "num_attention_heads" not in (checkpoint.vision or {}):
        raise WeightsError(
            f"{checkpoint.place('vision.')}: no config.json tells the num_attention_heads of the vision tower, and it is none of "
            "OpenAI's CLIPs; put the tower's config.json beside its weights, or give the tower by --vision-tower"
        )
    return Sizes(
        llm={**(checkpoint.llm or {}), "vocab_size": vocabulary, "tie_word_embeddings": False},
        vision=checkpoint.vision or {},
        decoder=checkpoint.decoder or {},
        projector=checkpoint.projector or "linear",
        select_layer=_from_the_end(checkpoint),
    )


def with_vocabulary(
    checkpoint: Checkpoint, encoder: DialogueEncoder, *, seed: int, to_train: bool
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """(the checkpoint's tensors, embedding and head with a row for each token of the encoder; the tokens whose rows are new).

    New rows are drawn from N(0, 0.02). They are those of tokens that the recipe adds: in a base, and where a trained model is
    trained on with a token that it never had. Rows past the last token of a base are padding and dropped.
    Raises WrongShapes, with the token and the place, for a token of the files without its row, for a new token in a model that is
    only used, and for rows of a trained model that no token has.
    """
    import torch

    result = dict(checkpoint.tensors)
    wanted, known = len(encoder.tokenizer), encoder.found
    drawn: tuple[str, ...] = ()
    for number, name in enumerate(VOCABULARY):
        if name not in result:
            continue
        old = result[name]
        rows = old.shape[0]
        trained = checkpoint.system is not None
        if rows < known or (rows < wanted and trained and not to_train):
            raise WrongShapes(
                f"{checkpoint.place(name)}: {name} has {rows} rows, the tokenizer {wanted} tokens; without a row are "
                f"{_tokens(encoder, rows, wanted)}. The weights or the tokenizer files (added_tokens.json) are of another model"
            )
        if trained and rows > known and rows != wanted:
            raise WrongShapes(
                f"{checkpoint.place(name)}: {name} has {rows} rows, the tokenizer {known} tokens and the recipe "
                f"{wanted - known} more; is added_tokens.json missing beside the weights, or is it another recipe's (--recipe)?"
            )
        if not trained and rows > known and rows % PADDED_TO:
            raise WrongShapes(
                f"{checkpoint.place(name)}: {name} has {rows} rows, the tokenizer {known} tokens; the rows between would become "
                "those of the recipe's tokens. Is added_tokens.json missing beside the weights?"
            )
        kept = rows if trained else known
        if kept < wanted:
            generator = torch.Generator().manual_seed(seed + number)
            new = torch.randn((wanted - kept, *old.shape[1:]), generator=generator) * NEW_ROW_STD
            old = torch.cat([old[:kept], new.to(old.dtype)])
            drawn = _tokens(encoder, kept, wanted)
        result[name] = old[:wanted].clone()
    return result, drawn


def _tokens(encoder: DialogueEncoder, first: int, end: int) -> tuple[str, ...]:
    return tuple(encoder.tokenizer.convert_ids_to_tokens(list(range(first, end))))


def _from_the_end(checkpoint: Checkpoint) -> int:
    """The selected hidden state of the vision tower, counted from the last one: -1 is behind its last block."""
    states = int((checkpoint.vision or {})["num_hidden_layers"]) + 1
    layer = checkpoint.select_layer
    if not -states <= layer < states:
        raise WeightsError(
            f"{checkpoint.source}: config.json selects layer {layer} of a vision tower that has {states} hidden states; "
            f"known are {-states} to {states - 1}"
        )
    return layer if layer < 0 else layer - states


@contextmanager
def _named(checkpoint: Checkpoint) -> Iterator[None]:
    """Inside, modules are made from sizes that a file tells; what a library says of impossible ones gets the file's name."""
    try:
        yield
    except (ValueError, OSError, ImportError):
        raise  # these name what is wrong themselves
    except Exception as error:
        if ran_out(error):
            raise MemoryError(
                f"{' and '.join(checkpoint.places)}: out of memory while the model is made ({error}); what it needs is said by "
                "python -m seglm.plan --recipe NAME"
            ) from error
        raise WeightsError(
            f"{' and '.join(checkpoint.places)}: no model can be made of these sizes ({type(error).__name__}: {error}); "
            "fetch the config again"
        ) from error
