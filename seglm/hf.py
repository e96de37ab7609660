"""`import seglm.hf` lets transformers open our merged folders: AutoConfig and AutoModel know `model_type: seglm`,
without remote code.

import seglm.hf
from transformers import AutoModel
model = AutoModel.from_pretrained("my-model")      # strict: a missing, unused or mis-shaped tensor is an error
model.segmenter                                    # the seglm.model.segmenter.Segmenter itself
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from seglm.model.load import load
from seglm.model.precision import Precision
from seglm.model.recipe import Recipe
from seglm.model.segmenter import Segmenter
from seglm.utils.answers import Output
from seglm.utils.resolve import resolve
from seglm.utils.types import Batch

PRECISIONS: dict[object, Precision] = {
    torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16",
    "float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "auto": "fp32",
}  # fmt: skip


class SegLMConfig(PreTrainedConfig):
    """`config.json` of a merged folder."""

    model_type = "seglm"


class SegLMModel(PreTrainedModel):
    """A Segmenter in transformers' clothes; made by `from_pretrained` only, since it needs the folder's tokenizer."""

    config_class = SegLMConfig
    base_model_prefix = "segmenter"

    def __init__(self, config: SegLMConfig, segmenter: Segmenter | None = None) -> None:
        super().__init__(config)
        if segmenter is None:
            raise ValueError(
                "a SegLMModel needs the tokenizer in its folder: use AutoModel.from_pretrained(folder), not from_config"
            )
        self.segmenter = segmenter

    @property
    def recipe(self) -> Recipe:
        """The recipe the folder was made with."""
        return self.segmenter.recipe

    @classmethod
    def from_pretrained(  # type: ignore[override]  # it takes little on purpose
        cls, folder: str | Path, *unused: Any, **options: Any
    ) -> SegLMModel:
        """Opens a merged folder or hub id through our own strict loader, which asks the folder's probe again.

        options: `dtype` (or `torch_dtype`), `revision`, `config`; what only tunes transformers' own loader is not taken.
        Raises ValueError for any other option, and as `seglm.model.load.load`.
        """
        config = options.pop("config", None)
        revision = options.pop("revision", None)
        dtype = options.pop("dtype", options.pop("torch_dtype", None))
        harmless = (
            "trust_remote_code",
            "_from_auto",
            "adapter_kwargs",
            "local_files_only",
            "low_cpu_mem_usage",
            "_commit_hash",
        )
        odd = [name for name, value in options.items() if name not in harmless and value is not None]
        if unused or odd:
            raise ValueError(
                f"SegLMModel.from_pretrained takes dtype and revision, not {', '.join(odd) or 'positional arguments'}"
            )
        if dtype is not None and dtype not in PRECISIONS:
            raise ValueError(
                f"dtype={dtype} is not supported; known are {', '.join(str(known) for known in PRECISIONS)}"
            )
        path = resolve(folder, revision=revision)
        precision = None if dtype in (None, "auto") else PRECISIONS[dtype]
        segmenter, _ = load(str(path), precision=precision)
        return cls(config or SegLMConfig.from_pretrained(path), segmenter)

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, *unused: Any, **options: Any
    ) -> None:
        """Always a ValueError: it would write the installed libraries' names; the merge script writes folders that
        prove themselves."""
        raise ValueError(
            f"{save_directory}: write merged folders with merge_lora_weights_and_save_hf_model.py --save_path, or copy the folder"
        )

    def forward(self, batch: Batch, counts: dict[str, float] | None = None) -> Output:
        """As `Segmenter.forward`."""
        output: Output = self.segmenter(batch, counts)
        return output


AutoConfig.register(SegLMConfig.model_type, SegLMConfig, exist_ok=True)
AutoModel.register(SegLMConfig, SegLMModel, exist_ok=True)
