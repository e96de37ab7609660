"""What is measured, the most important first."""

from __future__ import annotations

from benchmarks.gpu.bench import Part, ceilings, needs_model
from benchmarks.gpu.inference import encoder, generation
from benchmarks.gpu.parity import parity
from benchmarks.gpu.propagation import propagation
from benchmarks.gpu.training import needs_gpu, syncs, training

_PARTS = (
    Part("ceilings", "What the chip does at best; MFU is a share of the first.", ceilings, 20, drawn=""),
    Part(
        "parity",
        "Loss and gradients of every kind of attention against SDPA in float32 on the CPU, tiny model, relative.",
        parity,
        60,
        drawn="",
    ),
    Part(
        "training",
        "One optimizer step: forward, backward, clipping, AdamW on float32 weights, no data loading. The original's schedule is "
        "`benchmarks/replica.py` on the same weights, two images at a time. MFU is a share of the matrix product above: of all "
        "that is executed, and of the least that gives the same gradients.",
        training,
        210,
        drawn="images/s",
        obstacle=needs_model,
    ),
    Part(
        "syncs",
        "How often the host waits for the device in one optimizer step, two images at a time.",
        syncs,
        30,
        drawn="syncs",
        obstacle=lambda bench: needs_gpu(bench) or needs_model(bench),
    ),
    Part(
        "encoder",
        "SAM's image encoder in bf16, pixels on the device to features; one by one is how the original runs it.",
        encoder,
        50,
        drawn="images/s",
        obstacle=needs_model,
    ),
    Part(
        "generation",
        "Greedy answers, adapters merged, without the time for the prompts, which stands beside.",
        generation,
        80,
        drawn="tokens/s",
        obstacle=needs_model,
    ),
    Part(
        "propagation",
        "Masks carried through a video of 480p by SAM-2.1 large in bf16, frames made and masks fetched included; one object "
        "after the other, with the video encoded for each, is the order of work of Sa2VA's release.",
        propagation,
        40,
        drawn="frames/s",
    ),
)
PARTS = {part.name: part for part in _PARTS}
