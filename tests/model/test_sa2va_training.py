"""Trainings of Sa2VA by its own code: xtuner's `iter_N.pth`, on a tiny InternVL with the LLM of each release."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from merge_lora_weights_and_save_hf_model import main
from seglm.model.backbones.internvl import InternVL
from seglm.model.build import Built, base_weights, build
from seglm.model.load import load_with_trained
from seglm.model.merge import merged
from seglm.model.names import canonical, names
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.released.errors import AdapterOnly, Ambiguous, WeightsError, WrongNames
from seglm.model.released.identify import identify, layout_of
from seglm.model.released.open import open_weights
from seglm.model.released.sa2va import load_sa2va, original_names
from seglm.model.released.sa2va_training import sa2va_training_names
from tests import tiny_internvl
from tests.model.test_released_sam2 import write as write_sam2
from tests.tiny_internvl import LLM
from tests.tiny_sam2 import SAM2_0, SIDE, tiny_sam2

RANK, ALPHA = 2, 6
HEADS, GROUPS = 4, 2
WIDE = 32 // HEADS  # rows of a head
PEFT = "mllm.model.language_model.base_model.model."
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def sam2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sam2(tmp_path_factory.mktemp("sam2") / "sam2.pt", tiny_sam2(SAM2_0))


class Run:
    """A training on a tiny base: our model with trained weights of its own, and what xtuner would have saved of it."""

    def __init__(self, place: Path, kind: str, sam2: Path) -> None:
        self.kind, self.place = kind, place
        llm = InternVL(weights="").build(tiny_internvl.sizes_of(kind), attention="sdpa", precision="fp32")
        state = tiny_internvl.random_tensors(llm.state_dict())
        # As released: a Sa2VA has its tower in bfloat16.
        state |= {name: state[name].bfloat16().float() for name in state if name.startswith("vision.")}
        self.base = tiny_internvl.write(
            place / "base", {canonical(f"backbone.{name}"): value for name, value in state.items()}, kind=kind
        )
        self.recipe = recipe_on(self.base, sam2)
        self.model = build(self.recipe)
        self.tensors = self._trained()
        self.file = place / "iter_20.pth"
        save(self.file, self.saved())

    def _trained(self) -> State:
        """Random values in everything that is trained; adapters that are one in an InternLM 2 begin alike."""
        state = self.model.model.state_dict()
        inside = names(self.model.model)
        drawn = tiny_internvl.random_tensors(
            {name: state[inside[name]] for name in self.model.table.trained}, seed=5
        )
        for name in drawn if self.kind == "internlm2" else ():
            if name.endswith(("k_proj.lora_A.weight", "v_proj.lora_A.weight")):
                drawn[name] = drawn[name[: name.index("_proj") - 1] + "q_proj.lora_A.weight"]
        for name, value in drawn.items():
            state[inside[name]].copy_(value)
        return {name: state[inside[name]].clone() for name in inside}

    def saved(self) -> State:
        """By the names of the training (see `sa2va_training.py`), written down here anew."""
        plain = {name: value for name, value in self.tensors.items() if ".lora_" not in name}
        found = original_names(plain, is_internlm=self.kind == "internlm2", groups=GROUPS)
        kept = (
            "embed_tokens",
            "tok_embeddings",
            "lm_head",
            "output.weight",
            "mlp1",
            "sam_mask_decoder",
            "text_hidden",
        )
        state: State = {}
        for name, value in found.items():
            if name.startswith("language_model.") and any(part in name for part in kept):
                state[name.replace("language_model.", PEFT)] = value
            elif any(part in name for part in kept):
                state[f"mllm.model.{name}" if name.startswith("mlp1") else name] = value
        layers = range(int(str(LLM["num_hidden_layers"])))
        for half in "AB":
            for layer in layers:
                state |= self._adapters(layer, half)
        if self.kind == "internlm2":
            head = state.pop(f"{PEFT}output.weight")
            down, up = torch.randn(RANK, 32), torch.randn(len(head), RANK)
            state |= {
                f"{PEFT}output.base_layer.weight": head - ALPHA / RANK * up @ down,
                f"{PEFT}output.lora_A.default.weight": down,
                f"{PEFT}output.lora_B.default.weight": up,
            }
        return state

    def _adapters(self, layer: int, half: str) -> State:
        def ours(part: str) -> Tensor:
            return self.tensors[f"llm.layers.{layer}.{part}.lora_{half}.weight"]

        if self.kind == "internlm2":
            theirs = {"wo": "self_attn.o_proj", "wqkv": ""}
            mlp = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
            found = {f"feed_forward.{name}": ours(f"mlp.{part}") for name, part in mlp.items()}
            for name, part in theirs.items():
                found[f"attention.{name}"] = ours(part) if part else fused(ours, half)
        else:
            attention = ("q_proj", "k_proj", "v_proj", "o_proj")
            parts = [f"self_attn.{one}" for one in attention] + [
                f"mlp.{one}_proj" for one in ("gate", "up", "down")
            ]
            found = {part: ours(part) for part in parts}
        return {
            f"{PEFT}model.layers.{layer}.{part}.lora_{half}.default.weight": value
            for part, value in found.items()
        }


def fused(ours: object, half: str) -> Tensor:
    """The adapter of `wqkv`: of each group its queries, then its keys, then its values."""
    q, k, v = (ours(f"self_attn.{part}_proj") for part in "qkv")  # type: ignore[operator]
    if half == "A":
        return q  # type: ignore[no-any-return]
    each = HEADS // GROUPS
    rows = []
    for group in range(GROUPS):
        rows += [q[group * each * WIDE : (group + 1) * each * WIDE]]
        rows += [part[group * WIDE : (group + 1) * WIDE] for part in (k, v)]
    return torch.cat(rows)


def recipe_on(base: Path, sam2: Path) -> Recipe:
    recipe = named("sa2va_1b")
    engine = replace(
        recipe.engine, precision="fp32", attention="sdpa", gradient_checkpointing=False, workers=0
    )
    lora = replace(recipe.trainable.lora, r=RANK, alpha=ALPHA, dropout=0.0)
    decoder = replace(recipe.decoder, weights=str(sam2), image_size=SIDE, keeps_original=False)
    backbone = replace(recipe.backbone, weights=str(base))
    trainable = replace(recipe.trainable, lora=lora)
    return replace(recipe, engine=engine, decoder=decoder, backbone=backbone, trainable=trainable)


def save(file: Path, state: State) -> None:
    """As mmengine saves: its history of losses, which is code, beside the tensors."""
    module = ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        def __init__(self) -> None:
            self._log_history = np.arange(3.0)
            self._max_length = np.int64(1000000)

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    module.HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    parts = ("mmengine", "mmengine.logging", module.__name__)
    sys.modules.update(zip(parts, (ModuleType(parts[0]), ModuleType(parts[1]), module), strict=True))
    history = {"log_scalars": {"train/loss": HistoryBuffer()}}
    content = {"meta": {"iter": 20, "cfg": "path = 'a'"}, "state_dict": state, "message_hub": history}
    torch.save(content, file)
    for part in parts:
        del sys.modules[part]


@pytest.fixture(scope="module", params=["qwen2", "internlm2"])
def run(request: pytest.FixtureRequest, sam2: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp(request.param), request.param, sam2)


def loaded(run: Run, file: Path) -> Built:
    return load_with_trained(base_weights(run.recipe), str(file), run.recipe)


# ---- reading --------------------------------------------------------------------------------------------------------
def test_every_trained_weight_is_read_and_the_base_stays(run: Run) -> None:
    assert layout_of(run.file) == "sa2va_training"
    found = loaded(run, run.file)
    state, inside = found.model.state_dict(), names(found.model)
    assert found.report.complete and set(inside) == set(run.tensors)
    for name, want in run.tensors.items():
        torch.testing.assert_close(state[inside[name]], want, rtol=1e-5, atol=1e-5, msg=name)


def test_adapters_are_merged_as_the_original_merges_them(run: Run) -> None:
    """W + alpha / r B A on the matrices of the release, `wqkv` in one."""
    found = loaded(run, run.file)
    ours = original_names(
        merged(found.model, run.recipe.trainable.lora), is_internlm=run.kind == "internlm2", groups=GROUPS
    )
    base = load_file(run.base / "model.safetensors")
    saved = run.saved()
    down = [name for name in saved if ".layers." in name and name.endswith("lora_A.default.weight")]
    assert len(down) == (5 if run.kind == "internlm2" else 7) * int(str(LLM["num_hidden_layers"]))
    for name in down:
        layer = name.replace(PEFT, "language_model.").replace(".lora_A.default", "")
        up = saved[name.replace("lora_A", "lora_B")]
        torch.testing.assert_close(ours[layer], base[layer] + ALPHA / RANK * up @ saved[name], msg=layer)


def test_the_command_makes_a_release_of_it(run: Run, sam2: Path, tmp_path: Path) -> None:
    base = ["--version", str(run.base), "--vision_pretrained", str(sam2), "--recipe", "sa2va_1b"]
    sizes = [
        "--lora_r",
        str(RANK),
        "--lora_alpha",
        str(ALPHA),
        "--image_size",
        str(SIDE),
        "--precision",
        "fp32",
    ]
    more = ["decoder.keeps_original=false", "engine.attention=sdpa"]
    main(
        [
            *base,
            "--weight",
            str(run.file),
            *sizes,
            "--save_path",
            str(tmp_path / "out"),
            "--format",
            "sa2va",
            *more,
        ]
    )
    found = load_sa2va(tmp_path / "out").tensors
    want = merged(run.model.model, run.recipe.trainable.lora)
    assert set(found) == set(want)
    for name, value in found.items():
        torch.testing.assert_close(value.float(), want[name], rtol=1e-5, atol=1e-5, msg=name)


PLACES = [
    (f"{PEFT}model.layers.0.self_attn.q_proj.lora_A.default.weight", "llm.layers.0.self_attn.q_proj.lora_A.weight"),
    (f"{PEFT}model.layers.1.mlp.down_proj.lora_B.weight", "llm.layers.1.mlp.down_proj.lora_B.weight"),
    ("base_model.model.model.layers.1.mlp.up_proj.lora_A.weight", "llm.layers.1.mlp.up_proj.lora_A.weight"),
    (f"{PEFT}model.layers.0.self_attn.k_proj.base_layer.bias", "llm.layers.0.self_attn.k_proj.bias"),
    (f"{PEFT}model.embed_tokens.weight", "llm.embed_tokens.weight"),
    (f"{PEFT}model.embed_tokens.modules_to_save.default.weight", "llm.embed_tokens.weight"),
    (f"{PEFT}lm_head.weight", "llm.lm_head.weight"),
    (f"{PEFT}lm_head.modules_to_save.default.weight", "llm.lm_head.weight"),
    (f"{PEFT}model.tok_embeddings.weight", "llm.embed_tokens.weight"),
    (f"{PEFT}output.base_layer.weight", "llm.lm_head.weight"),
    (f"{PEFT}output.lora_B.default.weight", "llm.lm_head.lora_B.weight"),
    (f"{PEFT}model.layers.3.attention.wqkv.lora_A.default.weight", "llm.layers.3.self_attn.wqkv.lora_A.weight"),
    (f"{PEFT}model.layers.3.feed_forward.w2.lora_A.default.weight", "llm.layers.3.mlp.down_proj.lora_A.weight"),
    ("mllm.model.mlp1.0.bias", "projector.0.bias"),
    ("mllm.model.mlp1.3.weight", "projector.3.weight"),
    ("grounding_encoder.sam2_model.sam_mask_decoder.conv_s0.weight", "decoder.mask_decoder.conv_s0.weight"),
]  # fmt: skip
OTHERS = ["grounding_encoder.sam2_model.sam_mask_decoder.iou_token.weight", "text_hidden_fcs.0.weight"]


@pytest.mark.parametrize("theirs, ours", PLACES)
def test_a_name_of_the_training_has_its_place(theirs: str, ours: str) -> None:
    found = sa2va_training_names({name: torch.zeros(3, 3) for name in (theirs, *OTHERS)}, source="a")
    assert set(found) == {ours, "decoder.mask_decoder.iou_token.weight", "project.0.weight"}


def test_an_untrained_copy_of_pefts_is_left_out() -> None:
    kept = f"{PEFT}lm_head.modules_to_save.default.weight"
    tensors = {name: torch.ones(2, 2) for name in (kept, *OTHERS)}
    tensors[f"{PEFT}lm_head.original_module.weight"] = torch.zeros(2, 2)
    assert torch.equal(sa2va_training_names(tensors, source="a")["llm.lm_head.weight"], torch.ones(2, 2))


@pytest.mark.parametrize(
    "width, want", [(896, "sa2va_1b"), (2048, "sa2va_4b"), (4096, "sa2va_8b"), (1536, None)]
)
def test_the_recipe_of_a_training_is_told_by_the_width_of_its_llm(
    width: int, want: str | None, tmp_path: Path
) -> None:
    names_of = {
        OTHERS[0]: (1, 8),
        OTHERS[1]: (width, width),
        f"{PEFT}model.layers.0.mlp.up_proj.lora_A.default.weight": (8, width),
    }
    file = tmp_path / "iter_1.pth"
    torch.save({name: torch.zeros(1).expand(shape) for name, shape in names_of.items()}, file)
    if want is None:
        with pytest.raises(
            Ambiguous, match="trained weights of the original Sa2VA.*fits no recipe.*--recipe"
        ):
            identify(file)
        return
    found = identify(file)
    assert (found.layout, found.system, found.recipe) == ("sa2va_training", "sa2va", want)


# ---- what is wrong --------------------------------------------------------------------------------------------------
def test_a_training_is_no_model_by_itself(run: Run) -> None:
    with pytest.raises(
        AdapterOnly, match=r"without their base; .*merge_lora_weights_and_save_hf_model.py --version"
    ):
        open_weights(str(run.file))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"text_exist_fcs.0.weight": torch.zeros(2, 2)}, "names that the InternVL layout does not have"),
        ({"mllm.model.model.layers.0.mlp.up_proj.lora_A.default.weight": torch.zeros(2, 2)}, "does not have"),
        ({f"{PEFT}model.embed_tokens.modules_to_save.default.weight": torch.zeros(2, 2)}, "stand twice"),
        (
            {"text_hidden_fcs.0.weight": None, "text_hidden_fcs.2.weight": None},
            "trained weights are not in the file",
        ),
        (
            {f"{PEFT}model.layers.0.mlp.up_proj.lora_B.default.weight": None},
            "up_proj.lora_A.weight has no counterpart",
        ),
    ],
)
def test_a_name_too_many_or_too_few_is_told(
    change: dict[str, Tensor | None], message: str, sam2: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path, "qwen2", sam2)
    state = {**run.saved(), **change}
    file = tmp_path / "iter_30.pth"
    save(file, {name: value for name, value in state.items() if value is not None})
    with pytest.raises(WrongNames, match=message):
        loaded(run, file)


def test_a_save_of_deepspeeds_says_how_it_is_consolidated(tmp_path: Path) -> None:
    place = tmp_path / "iter_1000.pth"
    place.mkdir()
    for name in ("mp_rank_00_model_states.pt", "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"):
        torch.save({}, place / name)
    with pytest.raises(
        WeightsError,
        match=rf"deepspeed.utils.zero_to_fp32 {tmp_path} {tmp_path}/consolidated -t iter_1000.pth",
    ):
        layout_of(place)


def test_what_is_no_tensor_among_the_weights_is_named_and_other_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": np.zeros(3)}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="not plain tensors by name: a"):
        layout_of(tmp_path / "a.pth")
    torch.save({"state_dict": {}, "meta": Path("a")}, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match=r"it holds pathlib.*, which is code and not a tensor"):
        layout_of(tmp_path / "b.pth")
