from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from seglm.training import engine_state, optim, saves
from seglm.training.engine import Engine, frozen_fingerprint
from seglm.training.plan import Hooks, Plan
from seglm.training.run_folder import RunFolder
from seglm.training.sampler import Feed
from seglm.training.settings import Settings
from seglm.training.trainer import Trainer
from seglm.utils import dist
from seglm.utils.answers import Output
from tests.training.tiny import Gathering, Numbers, NumberSet, TwoTerms, WithDecoder, collate

BASIC = Gathering(total_steps=6, batch_size=8, warmup_steps=2, lr=1e-2)
pytestmark = pytest.mark.usefixtures("alone")


def micro_batches(step: int, settings: Settings) -> list[Numbers]:
    """Eight samples of a step, dealt out."""
    size, samples = settings.batch_size, NumberSet()
    first = step * size * settings.accumulation
    return [
        collate([samples[first + k * size + i] for i in range(size)]) for k in range(settings.accumulation)
    ]


def train(
    settings: Settings, model: TwoTerms | None = None, steps: int = 6
) -> tuple[list[float], torch.Tensor]:
    """(losses, all trained weights in one vector)."""
    engine = Engine(TwoTerms() if model is None else model, settings)
    losses = [engine.read(engine.step(micro_batches(step, settings)))["loss"] for step in range(steps)]
    weights = torch.cat([tensor.flatten() for tensor in engine.weights().values()])
    engine.close()
    return losses, weights


@pytest.mark.parametrize("zero", [1, 2, 3])
def test_k_micro_batches_equal_one_big_batch(zero: int) -> None:
    """Two of the four micro-batches have no second answers at all."""
    whole, whole_weights = train(replace(BASIC, zero=zero))  # type: ignore[arg-type]
    parts, parts_weights = train(replace(BASIC, zero=zero, batch_size=2, accumulation=4))  # type: ignore[arg-type]
    assert parts == pytest.approx(whole, rel=1e-6)
    assert (parts_weights - whole_weights).abs().max() / whole_weights.abs().max() < 1e-5


def test_the_engine_is_plain_pytorch_with_clipping_and_schedule() -> None:
    """ZeRO adds nothing to the numbers: the same loop without DeepSpeed."""
    losses, weights = train(BASIC)
    model = TwoTerms()
    optimizer = optim.adamw(model.parameters(), lr=BASIC.lr, betas=BASIC.betas, weight_decay=0)
    scheduler = optim.schedule(optimizer, total=6, warmup=2)
    plain = []
    for step in range(6):
        output = model(micro_batches(step, BASIC)[0])
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], BASIC.clip)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        plain.append(float(output.loss.detach()))
    assert losses == pytest.approx(plain, rel=1e-6)
    flat = torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])
    assert torch.allclose(weights, flat, rtol=1e-5, atol=1e-7)


def test_a_model_is_trained_in_train_mode_however_it_was_handed_over() -> None:
    """Dropout acts, and what a model does in training alone."""
    without, _ = train(BASIC, TwoTerms().eval())
    assert without == train(BASIC)[0]
    model = TwoTerms(dropout=0.9).eval()
    assert train(BASIC, model)[0] != without and model.training


@pytest.mark.parametrize("zero", [1, 2, 3])
def test_a_decoder_that_waits_stays_to_the_bit_and_then_learns(zero: int) -> None:
    model = WithDecoder()
    engine = Engine(model, replace(BASIC, total_steps=8, decoder_waits=0.5, zero=zero))  # type: ignore[arg-type]
    assert engine.waiting == {"decoder.masks.weight", "decoder.masks.bias"}
    seen = [engine.weights()]
    for step in range(8):
        engine.step(micro_batches(step, BASIC))
        seen.append(engine.weights())
    engine.close()
    moved = [
        {name for name in now if not torch.equal(now[name], before[name])}
        for before, now in zip(seen, seen[1:], strict=False)
    ]
    assert all(not names & engine.waiting for names in moved[:4]) and "words.weight" in moved[3]
    assert engine.waiting <= moved[6]


def test_a_run_too_short_to_wait_keeps_its_groups_for_a_longer_one() -> None:
    engine = Engine(WithDecoder(), replace(BASIC, total_steps=2, decoder_waits=0.25))
    groups = len(engine.deepspeed.optimizer.param_groups)
    engine.close()
    assert engine.settings.decoder_begins == 0 and groups == 2


@pytest.mark.parametrize(
    ("total", "behind", "judged_at"),
    [
        (40, 0, {5: "the others", 15: "the decoder"}),
        (40, 8, {13: "the others", 15: "the decoder"}),
        (40, 20, {25: "both"}),
        (3, 0, {5: "both"}),
    ],
)
def test_each_weight_is_judged_once_and_kept_once_a_decoder_behind_its_wait(
    total: int, behind: int, judged_at: dict[int, str], tmp_path: Path
) -> None:
    engine = Engine(WithDecoder(), replace(BASIC, total_steps=total, decoder_waits=0.25))
    feed: Feed[Numbers] = Feed(NumberSet(), collate, BASIC.batch_size)
    plan = Plan(epochs=1, steps_per_epoch=total, seed=0, tripwire=5, tripwire_behind=behind)
    tripwires = Trainer(engine, feed, RunFolder(tmp_path), plan, Hooks())._tripwires()
    engine.close()
    others = set(engine.trained) - engine.waiting
    names = {"the others": others, "the decoder": engine.waiting, "both": set(engine.trained)}
    assert {step: set(one._before) for step, one in tripwires.items()} == {
        step: names[who] for step, who in judged_at.items()
    }


def test_peer_takes_the_mean_of_the_micro_batches_means() -> None:
    settings = replace(BASIC, batch_size=4, accumulation=2, loss_norm="peer")
    batches = micro_batches(0, settings)
    batches[1] = replace(batches[1], has_second=torch.tensor([True, False, False, False]))
    engine, model = Engine(TwoTerms(), settings), TwoTerms()
    want = sum(float(model(batch).loss.detach()) for batch in batches) / 2
    other = float(model(collate([NumberSet()[i] for i in range(8)])).loss.detach())
    got = engine.read(engine.step(batches))["loss"]
    engine.close()
    assert got == pytest.approx(want, rel=1e-6)
    assert abs(got - other) > 1e-3


def test_terms_are_reported_as_means_over_what_they_count() -> None:
    settings = replace(BASIC, batch_size=4, accumulation=2)
    engine, model = Engine(TwoTerms(), settings), TwoTerms()
    parts = [model(batch).parts for batch in micro_batches(0, settings)]
    read = engine.read(engine.step(micro_batches(0, settings)))
    engine.close()
    for name in ("words", "masks"):
        want = sum(float(p[name].sum.detach()) for p in parts) / sum(p[name].count for p in parts)
        assert read[name] == pytest.approx(want, rel=1e-6)


def test_bf16_only_changes_how_gradients_travel() -> None:
    exact, _ = train(BASIC)
    coarse, weights = train(replace(BASIC, precision="bf16"))
    assert weights.dtype == torch.float32
    assert coarse[:3] == pytest.approx(exact[:3], rel=1e-3)


def test_fp16_on_a_cpu_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        Engine(TwoTerms(), replace(BASIC, precision="fp16"))


def test_trained_weights_must_be_float32() -> None:
    with pytest.raises(ValueError, match=r"must be float32.*body\.weight torch\.bfloat16"):
        Engine(TwoTerms().to(torch.bfloat16), BASIC)


@pytest.mark.parametrize("zero", [1, 2, 3])
def test_loss_scaling_changes_nothing_and_skips_overflows(zero: int) -> None:
    """What fp16 turns on, here in float32: a power of two drops out exactly; an overflow halves the scale and costs a step."""
    plain, _ = train(replace(BASIC, zero=zero), steps=4)  # type: ignore[arg-type]
    engine = Engine(TwoTerms(), replace(BASIC, zero=zero))  # type: ignore[arg-type]
    optim.scale_losses(engine.deepspeed.optimizer, start=2.0**16)
    engine.settings = replace(engine.settings, precision="fp16")
    losses = [engine.read(engine.step(micro_batches(step, BASIC)))["loss"] for step in range(4)]
    assert losses == plain
    weights = engine.weights()
    optim.scale_losses(engine.deepspeed.optimizer, start=2.0**127)
    engine.step(micro_batches(4, BASIC))
    assert engine.deepspeed.skipped_steps == 1
    assert engine.deepspeed.optimizer.loss_scale == 2.0**126
    assert all(torch.equal(weights[name], tensor) for name, tensor in engine.weights().items())
    engine.close()


class Infinite(TwoTerms):
    """A gradient that is not finite behind a loss that is."""

    def forward(self, batch: Numbers, counts: Mapping[str, float] | None = None) -> Output:
        output = super().forward(batch, counts)
        zero = self.body.weight.sum() * 0
        return replace(output, loss=output.loss + torch.sqrt(zero))


@pytest.mark.parametrize("zero", [1, 3])
def test_a_gradient_that_is_not_finite_names_its_samples(zero: int) -> None:
    engine = Engine(Infinite(), replace(BASIC, zero=zero))  # type: ignore[arg-type]
    with pytest.raises(FloatingPointError, match=r"step 1: the gradient is not finite.*number/0, number/1"):
        engine.step(micro_batches(0, BASIC))
    engine.close()


class Hungry(TwoTerms):
    def forward(self, batch: Numbers, counts: Mapping[str, float] | None = None) -> Output:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_of_several_micro_batches_the_one_with_the_bad_loss_is_named() -> None:
    settings = replace(BASIC, batch_size=2, accumulation=2)
    batches = micro_batches(0, settings)
    batches[1] = replace(batches[1], inputs=batches[1].inputs * float("nan"))
    engine = Engine(TwoTerms(), settings)
    with pytest.raises(FloatingPointError, match=r"micro-batches: rank 0: number/2, number/3\."):
        engine.step(batches)
    engine.close()


def test_out_of_memory_says_where_with_what_and_what_to_turn_down() -> None:
    engine = Engine(Hungry(), BASIC)
    with pytest.raises(MemoryError) as error:
        engine.step(micro_batches(0, BASIC))
    engine.close()
    said = str(error.value)
    assert "step 1, micro-batch 1 of 1: forward of number/0, number/1" in said
    assert "inputs [8, 6]" in said
    assert "--batch_size" in said and "gradient_checkpointing" in said


@pytest.mark.parametrize("zero", [1, 3])
def test_validation_sees_whole_weights_and_training_goes_on(zero: int) -> None:
    plain, _ = train(replace(BASIC, zero=zero), steps=3)  # type: ignore[arg-type]
    engine = Engine(TwoTerms(), replace(BASIC, zero=zero))  # type: ignore[arg-type]
    losses = []
    for step in range(3):
        losses.append(engine.read(engine.step(micro_batches(step, BASIC)))["loss"])
        with engine.whole() as module:
            assert not module.training
            module(micro_batches(0, BASIC)[0].to(dist.world().device))
            assert all(
                tuple(p.shape) == engine.trained.get(n, tuple(p.shape)) for n, p in module.named_parameters()
            )
        assert module.training
    engine.close()
    assert losses == plain


def test_frozen_weights_have_a_fingerprint() -> None:
    def model(seed: int, changed: float = 0) -> nn.Module:
        torch.manual_seed(seed)
        layers = nn.Sequential(nn.Linear(40, 40), nn.Linear(4, 4))
        layers[0].requires_grad_(False)
        layers[0].weight.data[0, 0] += changed
        return layers

    assert frozen_fingerprint(model(0)) == frozen_fingerprint(model(0))
    assert frozen_fingerprint(model(0)) != frozen_fingerprint(model(1))
    assert frozen_fingerprint(model(0)) != frozen_fingerprint(model(0, changed=1e-3))
    assert frozen_fingerprint(model(0)) != frozen_fingerprint(model(0).to(torch.bfloat16))


# ---- a save -----------------------------------------------------------------------------------------------------------
WAITED = replace(BASIC, total_steps=4, decoder_waits=0.25)


@contextmanager
def engine_of(settings: Settings) -> Iterator[Engine]:
    engine = Engine(WithDecoder(), settings)
    try:
        yield engine
    finally:
        engine.close()


def saved(run: Path, settings: Settings) -> saves.Save:
    """All steps of a run, and a save behind the last."""
    with engine_of(settings) as engine:
        for step in range(settings.total_steps):
            engine.step(micro_batches(step, settings))
        save = engine_state.save(run, engine, {})
    assert save is not None
    return save


@pytest.mark.parametrize("zero", [1, 2, 3])
def test_the_first_step_after_a_save_has_the_rates_of_the_settings_and_not_those_of_the_save(
    zero: int, tmp_path: Path
) -> None:
    """Longer, slower, and with a decoder that waits for half of it: until step 8, and not until step 1."""
    before = replace(WAITED, zero=zero)  # type: ignore[arg-type]
    today = replace(before, total_steps=16, decoder_waits=0.5, lr=4e-3, betas=(0.8, 0.9), weight_decay=0.1)
    save = saved(tmp_path, before)
    with engine_of(today) as engine:
        engine_state.load(save, engine)
        groups: list[dict[str, Any]] = engine.deepspeed.optimizer.param_groups
        assert [group["lr"] for group in groups] == pytest.approx([4e-3 * (16 - 3) / (16 - 2), 0])
        assert all(group["betas"] == (0.8, 0.9) and group["weight_decay"] == 0.1 for group in groups)
        weights = engine.weights()
        rates = [engine.step(micro_batches(step, today)).lr for step in (4, 5)]
        assert rates == pytest.approx([4e-3 * (16 - 3) / (16 - 2), 4e-3 * (16 - 4) / (16 - 2)])
        now = engine.weights()
    moved = {name for name in now if not torch.equal(now[name], weights[name])}
    assert "words.weight" in moved and not moved & engine.waiting


@pytest.mark.parametrize("waited", [0.25, 0.0])
def test_a_save_of_a_decoder_that_waited_is_refused_where_none_waits_and_the_other_way_round(
    waited: float, tmp_path: Path
) -> None:
    save = saved(tmp_path, replace(WAITED, decoder_waits=waited))
    today = replace(WAITED, decoder_waits=0.25 - waited)
    said = f"saved with optim.decoder_waits {'above' if waited else 'at'} 0, this run has .*={0.25 - waited:g}: .*--init_from"
    with engine_of(today) as engine, pytest.raises(ValueError, match=said):
        engine_state.load(save, engine)
