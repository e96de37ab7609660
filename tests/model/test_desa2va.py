"""DeSa2VA as a recipe: two branches on one SAM-2, what each piece adds to Sa2VA, and what it is without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import merge_lora_weights_and_save_hf_model as merge
from seglm.evaluation.asking.ask import ask
from seglm.model.build import Built, assemble
from seglm.model.decoders.sam2_memory import MemoryPolicy
from seglm.model.decoders.two_branches import DRAWN, TEXT, VISION, TwoBranches
from seglm.model.decouple import Decoupled
from seglm.model.load import choose_recipe, load, load_with_trained, start
from seglm.model.merge import export
from seglm.model.names import names
from seglm.model.phrases import mean_of_phrases
from seglm.model.point_terms import Points
from seglm.model.project import TwoLayers
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.errors import WrongNames
from seglm.model.released.sa2va import load_sa2va
from seglm.model.segmenter import Segmenter
from seglm.model.speak import speak, speak_forced
from seglm.utils.batch import Batch
from seglm.utils.config import to_json
from seglm.utils.dist import World
from seglm.utils.portable import save_portable
from seglm.utils.types import Sample
from tests.model.test_released_sam2 import write as write_sam2
from tests.model.test_sa2va import RNG, batch_of, clip, target, write
from tests.model.test_sa2va import tiny_recipe as tiny_sa2va
from tests.tiny_sam2 import SAM2_0, SIDE, tiny_sam2

CLIP = clip(target("a dog"), target("a red cat"))
WORDS = replace(clip(frames=1), turns=(("What is it?", "A dog."),))
EVERYWHERE = Points(count=0)


def sized(recipe: Recipe) -> Recipe:
    """At tiny size, compared at every pixel, so that nothing is random."""
    engine = replace(
        recipe.engine, precision="fp32", attention="sdpa", gradient_checkpointing=False, workers=0
    )
    lora = recipe.trainable.lora
    lora = replace(lora, r=2, alpha=4, dropout=0.0) if lora.r else lora
    terms = tuple(
        replace(term, points=EVERYWHERE) if hasattr(term, "points") else term for term in recipe.terms
    )
    return replace(
        recipe,
        engine=engine,
        terms=terms,
        decoder=replace(recipe.decoder, image_size=SIDE, keeps_original=False),
        trainable=replace(recipe.trainable, lora=lora),
    )


RECIPE = sized(named("desa2va_1b"))
TEXT_RECIPE = sized(named("desa2va_1b_text"))
AS_SA2VA = replace(
    RECIPE,
    project=TwoLayers(),
    decoder=replace(RECIPE.decoder, mixing="text", reprompt=False),
    terms=RECIPE.terms[:3],
    trainable=replace(RECIPE.trainable, full=RECIPE.trainable.full[:-1], frozen=RECIPE.trainable.frozen[:-2]),
)
"""every piece switched off"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released Sa2VA, at tiny size."""
    place = tmp_path_factory.mktemp("released") / "Sa2VA-1B"
    write(place, tiny_sa2va())
    return place


@pytest.fixture(scope="module")
def base(folder: Path) -> Checkpoint:
    return load_sa2va(folder)


def built(recipe: Recipe, base: Checkpoint, *, spread: bool = True) -> Built:
    """spread: adapters, both branches and the share are moved away from where they begin."""
    made = assemble(recipe, recipe.project.begin(recipe.decoder.begin(base)))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in made.model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(0, 0.1, generator=generator)
            elif spread and ("vision_branch" in name or name.startswith("project.")):
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return made


def asked(model: Segmenter, shown: object = CLIP) -> Batch:
    script = model.recipe.script(shown, RNG(0), model.recipe)  # type: ignore[arg-type]
    return batch_of(model, shown, script)  # type: ignore[arg-type,return-value]


def learnt(model: Segmenter, shown: object = CLIP) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """(masks, loss, gradient of every trained weight) of a batch."""
    model.train()
    batch = asked(model, shown)
    with torch.no_grad():
        states = model.states(batch)
        masks = model.draw(model.queries(model.slot_states(states, batch)), batch, model.features(batch))
    loss = model(batch).loss
    loss.backward()
    found = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    return masks, loss.detach(), found


# ---- without its pieces ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shown", [CLIP, WORDS], ids=["masks", "words"])
def test_without_every_piece_it_is_sa2va_to_the_bit(shown: object, base: Checkpoint) -> None:
    sa2va = built(replace(sized(named("sa2va_1b"))), base, spread=False).model
    alike = built(AS_SA2VA, base, spread=False).model
    want, got = learnt(sa2va, shown), learnt(alike, shown)
    assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])
    assert got[2].keys() == want[2].keys() and len(want[2]) > 10
    assert all(torch.equal(got[2][name], value) for name, value in want[2].items())


def test_two_equal_branches_draw_and_learn_what_the_one_does(base: Checkpoint) -> None:
    """One vector for both, and half of each mask: the masks are Sa2VA's, and the branches share its gradient."""
    sa2va = built(sized(named("sa2va_1b")), base, spread=False).model
    shared = replace(
        AS_SA2VA,
        decoder=replace(AS_SA2VA.decoder, mixing="fixed"),
        trainable=RECIPE.trainable,
    )
    both = built(shared, base, spread=False).model
    want, got = learnt(sa2va), learnt(both)
    assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])
    for name, value in want[2].items():
        other = got[2].get(name.replace("decoder.mask_decoder.", "decoder.vision_branch.mask_decoder."))
        is_of_a_branch = name.startswith("decoder.mask_decoder.")
        whole = got[2][name] + other if is_of_a_branch and other is not None else got[2][name]
        torch.testing.assert_close(whole, value, rtol=1e-4, atol=1e-6)


def test_from_a_sa2va_it_begins_with_the_masks_of_that(base: Checkpoint) -> None:
    sa2va = built(sized(named("sa2va_1b")), base, spread=False).model
    recipe = replace(RECIPE, project=Decoupled(behind_layer=True))
    model = built(recipe, base, spread=False).model
    assert torch.equal(learnt(model)[0], learnt(sa2va)[0])


# ---- what is learnt -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shown", [CLIP, WORDS], ids=["masks", "words"])
@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, project=Decoupled(behind_layer=True)),
        replace(RECIPE, project=TwoLayers()),
        replace(RECIPE, decoder=replace(RECIPE.decoder, mixing="fixed")),
        TEXT_RECIPE,
    ],
    ids=["whole", "behind a layer", "one vector", "fixed", "text training"],
)
def test_every_batch_touches_every_trained_weight(recipe: Recipe, shown: object, base: Checkpoint) -> None:
    recipe.check(World())
    model = built(recipe, base).model
    _, loss, found = learnt(model, shown)
    assert loss.isfinite()
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert found.keys() == trained
    if shown is CLIP:
        still = [name for name, value in found.items() if not value.any()]
        assert not [name for name in still if name.startswith(("project.", "decoder.vision_branch.share"))]


def test_both_branches_and_the_mixed_mask_are_compared_with_the_truth(base: Checkpoint) -> None:
    model = built(RECIPE, base).model.train()
    batch = asked(model)
    parts = model(batch).parts
    assert {name: part.count for name, part in parts.items() if name != "language"} == dict.fromkeys(
        ("bce", "dice", "text_bce", "vision_bce", "text_dice", "vision_dice"), len(batch.jobs)
    )
    weights = {term.name: term.weight for term in RECIPE.terms}
    assert (weights["bce"], weights["text_bce"], weights["vision_dice"]) == (2.0, 1.0, 0.25)
    candidates = model.candidates(
        model.queries(model.slot_states(model.states(batch), batch)), batch, model.features(batch)
    )
    truth = torch.cat([mask.float() for mask in batch.masks])
    truth = torch.nn.functional.interpolate(truth[:, None], candidates.shape[-2:], mode="nearest")[:, 0]
    for name, place in (("bce", DRAWN), ("text_bce", TEXT), ("vision_bce", VISION)):
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            candidates[:, place], truth, reduction="none"
        )
        torch.testing.assert_close(parts[name].sum, each.flatten(1).mean(1).sum())
    assert len({float(part.sum.detach()) for name, part in parts.items() if name.endswith("bce")}) == 3


# ---- settings that contradict ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "changes, words",
    [
        ({"training_memory": MemoryPolicy()}, r"decoder\.training_memory=none"),
        (
            {"mixing": "text"},
            r"mixing=text: decoder\.vision_branch .* add trainable\.frozen\+=decoder\.vision_branch",
        ),
        (
            {"mixing": "vision"},
            r"mixing=vision: decoder\.mask_decoder .* add trainable\.frozen\+=decoder\.mask_decoder",
        ),
    ],
)
def test_settings_that_would_teach_nothing_are_refused(changes: dict[str, object], words: str) -> None:
    recipe = replace(RECIPE, decoder=replace(RECIPE.decoder, **changes))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=words):
        recipe.check(World())


def test_heads_and_branches_that_nothing_teaches_are_named() -> None:
    recipe = replace(RECIPE, trainable=replace(RECIPE.trainable, frozen=RECIPE.trainable.frozen[:-1]))
    with pytest.raises(
        ValueError, match=r"add trainable\.frozen\+=decoder\.vision_branch\.mask_decoder\.pred_obj"
    ):
        recipe.check(World())
    sa2va = sized(named("sa2va_1b"))
    with pytest.raises(ValueError, match=r"terms\.text_bce teaches a branch .* terms\.text_bce\.weight=0"):
        replace(sa2va, terms=RECIPE.terms).check(World())


# ---- weights --------------------------------------------------------------------------------------------------------
def test_a_base_gives_both_branches_its_mask_decoder(base: Checkpoint) -> None:
    begun = RECIPE.decoder.begin(base)
    own, branch = "decoder.mask_decoder.", "decoder.vision_branch.mask_decoder."
    copied = {name.removeprefix(branch) for name in begun.tensors if name.startswith(branch)}
    assert copied == {
        name.removeprefix(own)
        for name in base.tensors
        if name.startswith(own) and not name.removeprefix(own).startswith(("conv_s0", "conv_s1"))
    }
    assert not begun.tensors["decoder.vision_branch.share.weight"].any()
    fixed = replace(RECIPE.decoder, mixing="fixed")  # type: ignore[call-arg]
    assert not fixed.begin(begun).has("decoder.vision_branch.share.")
    assert fixed.begin(begun).has(branch)


def test_a_sa2va_is_no_desa2va_that_could_be_asked(folder: Path, tmp_path: Path) -> None:
    sam2 = write_sam2(tmp_path / "sam2.pt", tiny_sam2(SAM2_0))
    with pytest.raises(WrongNames, match="vision_branch"):
        load(str(folder), recipe="desa2va_1b", precision="fp32", decoder=str(sam2))


def test_it_is_merged_opened_again_and_answers_the_same(base: Checkpoint, tmp_path: Path) -> None:
    made = built(RECIPE, base)
    before = made.model.eval()
    batch = asked(before)
    with torch.no_grad():
        queries = before.queries(before.slot_states(before.states(batch), batch))
        want = before.candidates(queries, batch, before.features(batch))
    assert want.shape[1] == 3
    export(made, tmp_path / "merged", manifest={})
    model, recipe = load(str(tmp_path / "merged"))
    assert recipe.system == "desa2va" and isinstance(recipe.decoder, TwoBranches)
    with torch.no_grad():
        queries = model.queries(model.slot_states(model.states(batch), batch))
        got = model.candidates(queries, batch, model.features(batch))
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)
    video = Sample("a|b/0", (8, 12), lambda frame: RNG(frame).integers(0, 256, (8, 12, 3), "uint8"), 3)
    assert len(list(ask(model, video, "Please segment it.", max_new_tokens=3))) == 3
    with pytest.raises(ValueError, match="only an InternVL or a Qwen-VL with a SAM-2 of one mask decoder"):
        export(built(RECIPE, base), tmp_path / "sa2va", manifest={}, kind="sa2va")


def test_trained_weights_are_merged_onto_what_the_training_began_with(
    base: Checkpoint, folder: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, backbone=replace(RECIPE.backbone, weights=str(folder)))
    made = built(recipe, base)
    inside, state = names(made.model), made.model.state_dict()
    trained = {name: state[inside[name]] for name in made.table.trained}
    save_portable(tmp_path / "portable", trained, {"resolved": to_json(recipe), "recipe": recipe.name})
    merge.main(["--weight", str(tmp_path / "portable"), "--save_path", str(tmp_path / "merged")])
    opened = load(str(tmp_path / "merged"))[0].state_dict()
    for name in trained:
        if name.startswith("decoder."):
            assert torch.equal(opened[inside[name]], trained[name]), name


# ---- the text training ----------------------------------------------------------------------------------------------
def test_a_phrase_is_read_as_the_mean_of_its_embeddings() -> None:
    #                  <p>     </p> seg  <p>  </p>  seg
    ids = torch.tensor([7, 1, 2, 8, 9, 3, 7, 4, 8, 9])
    embedded = torch.arange(10.0)[:, None].expand(-1, 2)
    found = mean_of_phrases(embedded, ids, torch.tensor([4, 9]), begin=7, end=8)
    assert found.tolist() == [[1.5, 1.5], [7.0, 7.0]]
    assert not mean_of_phrases(embedded[:2], ids[1:3], torch.tensor([0]), begin=7, end=8).any()


def test_labels_are_drawn_without_the_llm(base: Checkpoint) -> None:
    model = built(TEXT_RECIPE, base).model
    ran: list[int] = []
    model.backbone.llm.model.layers[0].register_forward_hook(lambda *given: ran.append(1))
    learnt(model)
    assert not ran
    batch = asked(model)
    at = batch.slot_at.tolist()
    encoder, table = model.encoder, model.backbone.table()
    states = model.slot_states(model.states(batch), batch)
    assert len(at) == 2
    for number, text in enumerate(("a dog", "a red cat")):
        words = torch.tensor(encoder.spoken(f" {text} ", keep=False)[0])
        torch.testing.assert_close(states[number], table[words].mean(0))


def test_the_text_training_is_scored_by_its_labels_and_asked_nothing(base: Checkpoint) -> None:
    model = built(TEXT_RECIPE, base).model.eval()
    assert TEXT_RECIPE.forced is not None
    batch = batch_of(model, CLIP, TEXT_RECIPE.forced(CLIP, TEXT_RECIPE))
    given = speak_forced(model, batch)  # type: ignore[arg-type]
    assert [len(one.prompts) for one in given] == [1, 1]
    with pytest.raises(ValueError, match=r"asks no language model; score it with evaluate\.protocol=forced"):
        speak(model, batch_of(model, CLIP, TEXT_RECIPE.prompt(CLIP, TEXT_RECIPE)), max_new_tokens=1)  # type: ignore[arg-type]
    asking = replace(TEXT_RECIPE, evaluate=replace(TEXT_RECIPE.evaluate, protocol="generate"))
    with pytest.raises(ValueError, match="permitted is forced"):
        asking.check(World())
    with pytest.raises(ValueError, match=r"has no token </p> and no <p>"):
        replace(TEXT_RECIPE, tokens=TEXT_RECIPE.tokens[:1]).check(World())


def test_the_system_begins_with_what_the_text_training_has_learnt(
    base: Checkpoint, folder: Path, tmp_path: Path
) -> None:
    first = built(TEXT_RECIPE, base)
    inside, state = names(first.model), first.model.state_dict()
    assert {name.split(".")[0] + "." + name.split(".")[1] for name in first.table.trained} == {
        "project.text", "decoder.mask_decoder",
    }  # fmt: skip
    trained = {name: state[inside[name]] for name in first.table.trained}
    manifest = {"resolved": to_json(TEXT_RECIPE), "recipe": TEXT_RECIPE.name}
    save_portable(tmp_path / "portable", trained, manifest)
    recipe = replace(RECIPE, backbone=replace(RECIPE.backbone, weights=str(folder)))
    assert choose_recipe(tmp_path / "portable", name="desa2va_1b", to_train=True).recipe.name == "desa2va_1b"
    begun = start(recipe, str(tmp_path / "portable")).model.state_dict()
    for name, value in trained.items():
        assert torch.equal(begun[inside[name]], value), name
    # the vision's decoder is SAM-2's own, not the one that was taught labels
    taught = "decoder.mask_decoder.mask_tokens.weight"
    assert torch.equal(begun["decoder.vision_branch.mask_decoder.mask_tokens.weight"], base.tensors[taught])
    part = {name: value for name, value in trained.items() if name != taught}
    save_portable(tmp_path / "part", part, manifest)
    with pytest.raises(WrongNames, match="trained weights are not in the file"):
        start(recipe, str(tmp_path / "part"))
    other = replace(recipe, after="")
    with pytest.raises(WrongNames, match="trained weights are not in the file"):
        start(other, str(tmp_path / "portable"))
    of_text = TEXT_RECIPE.project.begin(TEXT_RECIPE.decoder.begin(base))
    assert load_with_trained(of_text, str(tmp_path / "portable"), TEXT_RECIPE).report.complete
