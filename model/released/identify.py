"""What lies at a path: its layout, the system it belongs to and, where it can be told, the recipe.

Asked in this order: the manifest beside the weights, `config.json`, the names and shapes of the tensors. Several
answers, or none, are an error that lists the candidates; nothing is ever guessed in silence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seglm.model.backbones.base import BackboneChoice
from seglm.model.names import OF_TRAINING, is_canonical
from seglm.model.recipes import recipes
from seglm.model.released.config_keys import place as place_of
from seglm.model.released.config_keys import section
from seglm.model.released.errors import AdapterOnly, Ambiguous
from seglm.model.released.files import called, config_of, read_json, shapes
from seglm.model.released.glus import MARK as GLUS_MARK
from seglm.model.released.lisa import refuse_v0, unwrapped
from seglm.model.released.sam import is_hf_sam
from seglm.model.released.sam2 import is_sam2
from seglm.model.released.sam3_tracker import is_sam3
from seglm.utils.config import Choice, choices

Layout = Literal[
    "seglm",
    "portable",
    "lisa",
    "lisa_training",
    "training",
    "sa2va",
    "sa2va_training",
    "llava",
    "internvl",
    "sam",
    "sam2",
    "sam3",
    "clip",
    "backbone",
]
"""`seglm`: our merged folder; `portable`: our trained weights with a manifest; `lisa`: a merged LISA folder;
`lisa_training` and `training`: what zero_to_fp32 makes of the original's run or of ours; `sa2va`: a released Sa2VA;
`sa2va_training`: what xtuner makes of a run of its; `llava`, `internvl`, `sam`, `sam2`, `sam3`, `clip`: bases; `backbone`: one in
a layout that a file of model/backbones reads itself"""
WITHOUT_BASE: tuple[Layout, ...] = ("portable", "training", "lisa_training", "sa2va_training")
"""layouts of trained weights that need their base beside them"""
Shape = tuple[int, ...]
MANIFEST = "manifest.json"
ADAPTER_FILE = "adapter_config.json"
BASES: tuple[Layout, ...] = ("llava", "internvl", "backbone")
"""language models that a training begins with"""
PARENT = "lisa"  # a base that several systems start from is taken for this one, whose descendants they are
# (system, width of the LLM, generation of LLaMA or 0 for any, rows of the vocabulary) -> recipe
RELEASED: tuple[tuple[str, int, int, int, str], ...] = (
    ("lisa", 4096, 0, 32004, "lisa_7b"),
    ("lisa", 5120, 1, 32004, "lisa_13b"),
    ("lisa", 5120, 2, 32003, "lisa_llama2_13b"),
    ("gsva", 4096, 0, 32005, "gsva_7b"),
    ("gsva", 5120, 1, 32005, "gsva_13b"),
    ("gsva", 5120, 2, 32004, "gsva_llama2_13b"),
    ("keyseg", 4096, 0, 32005, "keyseg_7b"),
    ("videolisa", 3072, 0, 32039, "videolisa_3_8b"),
    ("glus", 4096, 0, 32004, "glus_a"),  # GLUS-S is no other model
)
MARKS = {"keyseg": "keyword_fusion.", "glus": GLUS_MARK}
"""GSVA's files have LISA's names and one row more; these systems' have names besides"""
SA2VA = {"qwen_chat": "sa2va_1b", "phi3_chat": "sa2va_4b", "internlm2_chat": "sa2va_8b"}
"""template in the config of a released Sa2VA -> recipe; sizes are the folder's own"""
SA2VA_WIDTHS = {896: "sa2va_1b", 2048: "sa2va_4b", 4096: "sa2va_8b"}
"""width of the LLM that a training of Sa2VA's has -> recipe (projects/llava_sam2/configs of magic-research/Sa2VA at d01bf3f)"""
SA2VA_QWEN = {"qwen2_5_vl_text": "sa2va_qwen2_5_3b", "qwen3_vl_text": "sa2va_qwen3_4b"}
"""`model_type` of the language model of one on a Qwen-VL -> recipe"""
GENERATION = {1e-6: 1, 1e-5: 2}
"""rms_norm_eps of LLaMA and Llama 2; early configs of Llama 2 give LLaMA's context length, so that does not tell them
apart"""
PATCH_TOKEN = "<im_patch>"  # LLaVA v1 on LLaMA added it; LLaVA on Llama 2 did not


@dataclass(frozen=True)
class Identified:
    """What was found and why."""

    layout: Layout
    system: str
    """file in model/systems; empty for a base, which any system may start from"""
    recipe: str
    """recipe name"""
    reason: str
    """one sentence for the log"""

    def __str__(self) -> str:
        return f"recipe {self.recipe} ({self.reason})"


def identify(path: str | Path) -> Identified:
    """The recipe of the weights at `path`.

    Raises Ambiguous that lists the candidates if several recipes fit or none does, AdapterOnly for a peft adapter folder,
    OldLayout for LISA v0, WeightsError for what cannot be read.
    """
    path = Path(path)
    manifest = manifest_of(path)
    if recipe := str(manifest.get("recipe", "")):
        system = str(manifest.get("system") or _system_of(recipe, path))
        return Identified(_layout_with_manifest(path), system, recipe, f"the manifest beside {path} says so")
    config = config_of(path)
    if config.get("model_type") == "seglm" and config.get("recipe"):
        recipe = str(config["recipe"])
        return Identified("seglm", _system_of(recipe, path), recipe, f"{path}/config.json says so")
    layout, seen = layout_of(path), shapes(path)
    fitting = (_by_base(path) if layout in BASES else []) or _fitting(path, layout, config, seen)
    reason = f"{_described(layout)}, {_facts(config, seen)}"
    if len(fitting) == 1:
        system, recipe = fitting[0]
        return Identified(layout, system, recipe, reason)
    what = f"fits {len(fitting)} recipes" if fitting else "fits no recipe"
    candidates = [recipe for _, recipe in fitting] or sorted(recipes())
    raise Ambiguous(f"{path}: {reason}: {what}; choose with --recipe one of: {', '.join(candidates)}")


def layout_of(path: str | Path) -> Layout:
    """How the weights at `path` are laid out. Raises as `identify`."""
    path = Path(path)
    if path.is_dir():
        refuse_v0(path)
        refuse_adapter(path)
    config = config_of(path)
    if config.get("model_type") == "seglm":
        return "seglm"
    names = shapes(path).keys()
    bare = {own for name in names if not (own := unwrapped(name)).startswith(OF_TRAINING)}
    wrapped = any(name.startswith("base_model.model.") or ".lora_" in name for name in names)
    if all(is_canonical(name) or name.startswith("backbone.") for name in bare):
        return _own(path, bare)
    if any(name.startswith(("model.visual_model.", "model.text_hidden_fcs.")) for name in bare):
        return "lisa_training" if wrapped else "lisa"
    if any(name.startswith("grounding_encoder.") for name in bare):
        is_whole = "llm_config" in config or any(
            "vision_model." in name or ".visual." in name for name in bare
        )
        return "sa2va" if is_whole and not wrapped else "sa2va_training"
    if any(name.startswith("mlp1.") or "multi_modal_projector.layer_norm." in name for name in bare):
        return "internvl"
    if is_sam3(bare):
        return "sam3"
    if is_sam2(bare):
        return "sam2"
    if any(name.startswith("image_encoder.") for name in bare) or is_hf_sam(dict.fromkeys(bare)):
        return "sam"
    if any("multi_modal_projector." in name or name.startswith("model.mm_projector.") for name in bare):
        return "llava"
    if any(name.startswith(("vision_model.", "embeddings.patch_embedding")) for name in bare):
        return "clip"
    if backbone_of(bare) is not None:
        return "backbone"
    some = ", ".join(sorted(bare)[:5])
    raise Ambiguous(
        f"{path}: the names of the tensors are of no layout that is known (seglm, LISA, LLaVA, SAM, SAM-2, SAM-3, CLIP), e.g. "
        f"{some}; "
        f"a plain language model is no LLaVA: it has no mm_projector. Recipes: {', '.join(sorted(recipes()))}"
    )


def backbone_of(names: Collection[str]) -> type[BackboneChoice] | None:
    """The backbone that reads a base with tensors of these names itself (`BackboneChoice.knows`); None if there is none."""
    recipes()  # reads the files of all backbones
    known = (one for one in choices(Choice).values() if issubclass(one, BackboneChoice))
    return next((one for one in known if one.knows(names)), None)


def manifest_of(path: Path) -> dict[str, Any]:
    """The manifest beside the weights, or an empty dictionary.

    A folder called `pytorch_model.bin` stands for the file it once was: its manifest lies beside it, in the run.
    """
    places = [path / MANIFEST] if path.is_dir() else [path.parent / MANIFEST]
    if path.is_dir() and path.suffix == ".bin":
        places.append(path.parent / MANIFEST)
    return next((read_json(file) for file in places if file.is_file()), {})


def refuse_adapter(path: Path) -> None:
    """Raises AdapterOnly for a folder of peft's or LLaVA's adapters."""
    found = [name for name in (ADAPTER_FILE, "non_lora_trainables.bin") if (path / name).is_file()]
    if found:
        raise AdapterOnly(
            f"{path}: an adapter ({', '.join(found)}), not a full model; give its base as --version, and merge with "
            f"merge_lora_weights_and_save_hf_model.py --version <base> --weight <trained weights>"
        )


def _own(path: Path, names: set[str]) -> Layout:
    if all(name.startswith("decoder.") for name in names):
        return "sam3" if is_sam3(names) else "sam2" if is_sam2(names) else "sam"
    return "portable" if (path if path.is_dir() else path.parent).joinpath(MANIFEST).is_file() else "training"


def _layout_with_manifest(path: Path) -> Layout:
    return "seglm" if config_of(path).get("model_type") == "seglm" else "portable"


def _system_of(name: str, path: Path) -> str:
    known = recipes()
    if name not in known:
        raise Ambiguous(
            f"{path}: made with recipe {name!r}, which this version does not have; choose with --recipe one of: "
            f"{', '.join(known)}"
        )
    return known[name]().system


def _by_base(path: Path) -> list[tuple[str, str]]:
    """(system, recipe) of every recipe that names this very base."""
    found = []
    for make in recipes().values():
        recipe = make()
        base = Path(recipe.backbone.weights)
        if path.resolve() == base.resolve() or (
            not base.exists() and called(path).lower() == base.name.lower()
        ):
            found.append((recipe.system, recipe.name))
    return _of_parent(found)


def _fitting(
    path: Path, layout: Layout, config: Mapping[str, Any], seen: Mapping[str, Shape]
) -> list[tuple[str, str]]:
    """(system, recipe) of every released recipe that these weights fit."""
    if layout in ("sam", "sam2", "sam3", "clip"):
        return []
    if layout == "backbone":
        own = backbone_of(seen.keys())
        return [
            (one.system, one.name) for make in recipes().values() if type((one := make()).backbone) is own
        ]
    if layout == "sa2va":
        kind = section(config, "text_config", source=str(path)).get("model_type")
        if kind in SA2VA_QWEN:
            return [("sa2va_qwen", SA2VA_QWEN[kind])]
        spoken = place_of(config, "template", source=str(path)) or ""
        return [("sa2va", name) for template, name in SA2VA.items() if template == spoken.replace("-", "_")]
    if layout == "sa2va_training":
        width = next(
            (
                shape[-1]
                for name, shape in seen.items()
                if shape and name.endswith("text_hidden_fcs.0.weight")
            ),
            0,
        )
        return [("sa2va", SA2VA_WIDTHS[width])] if width in SA2VA_WIDTHS else []
    width, generations = _width(config, seen), _generations(path, config)
    fitting = [
        (system, rows, recipe)
        for system, wide, generation, rows, recipe in RELEASED
        if width == wide and (not generation or generation in generations) and recipe in recipes()
    ]
    if layout in ("lisa", "lisa_training"):
        marked = {system for system, mark in MARKS.items() if any(mark in name for name in seen)}
        fitting = [one for one in fitting if {one[0]} & MARKS.keys() == marked]
        rows = _vocabulary(seen)
        if layout == "lisa" or any(one[1] == rows for one in fitting):  # GSVA never had a merged folder
            fitting = [one for one in fitting if one[1] == rows] or [
                one for one in fitting if one[0] != "gsva"
            ]
    found = [(system, recipe) for system, _, recipe in fitting]
    return _of_parent(found) if layout == "llava" else found


def _of_parent(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of the recipes that start from one base those of PARENT, where it is among them, and no variant of another."""
    found = [one for one in found if one[0] == PARENT] or found
    names = {name for _, name in found}
    return [(system, name) for system, name in found if recipes()[name]().parent not in names]


def _vocabulary(seen: Mapping[str, Shape]) -> int:
    """Rows of the embedding, 0 if it is not there."""
    return next((shape[0] for name, shape in seen.items() if name.endswith("embed_tokens.weight")), 0)


def _generations(path: Path, config: Mapping[str, Any]) -> set[int]:
    """The generations of LLaMA that config and added tokens speak for; both where nothing tells or they contradict
    each other."""
    votes = set()
    if eps := config.get("rms_norm_eps"):
        votes.add(GENERATION.get(float(eps), 0))
    added = (path if path.is_dir() else path.parent) / "added_tokens.json"
    if added.is_file():
        votes.add(1 if PATCH_TOKEN in read_json(added) else 2)
    return votes if len(votes) == 1 and votes <= {1, 2} else {1, 2}


def _width(config: Mapping[str, Any], seen: Mapping[str, Shape]) -> int:
    text = config.get("text_config") or config
    if text.get("hidden_size"):
        return int(text["hidden_size"])
    tables = [shape for name, shape in seen.items() if name.endswith("embed_tokens.weight")]
    return tables[0][1] if tables else 0


def _facts(config: Mapping[str, Any], seen: Mapping[str, Shape]) -> str:
    width = _width(config, seen)
    eps = config.get("rms_norm_eps")
    facts = [f"{len(seen)} tensors"]
    if width:
        facts.append(f"hidden size {width}")
    if eps:
        facts.append(f"rms_norm_eps {eps:g}")
    return ", ".join(facts)


def _described(layout: Layout) -> str:
    return {
        "seglm": "a SegLM model",
        "portable": "trained weights of SegLM",
        "training": "trained weights of SegLM, consolidated",
        "lisa": "a merged LISA model",
        "lisa_training": "trained weights of the original LISA",
        "sa2va": "a released Sa2VA",
        "sa2va_training": "trained weights of the original Sa2VA",
        "llava": "a LLaVA base",
        "internvl": "an InternVL base",
        "sam": "a SAM",
        "sam2": "a SAM-2",
        "sam3": "a SAM-3",
        "clip": "a CLIP vision tower",
        "backbone": "a base of a kind of its own",
    }[layout]
