"""What `seglm.load` gives, which is also what transformers gives once this module is imported: AutoConfig and AutoModel then
know `model_type: seglm`, without remote code.

import seglm.hf
from transformers import AutoModel
model = AutoModel.from_pretrained("my-model")      # strict: a missing, unused or mis-shaped tensor is an error
model.predict("cup.jpg", "Please segment the cup in this image.").masks
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from seglm.dataset.faults import of_no_data_set
from seglm.dataset.given import sample_of
from seglm.evaluation.asking.folder import predict_folder
from seglm.evaluation.asking.open_model import device_named, open_model
from seglm.evaluation.asking.predict_forward import predict_forward
from seglm.evaluation.asking.question import Told, predict, predict_frames
from seglm.model.load import load as load_segmenter
from seglm.model.precision import Precision
from seglm.model.quantize import Bits
from seglm.model.recipe import Recipe
from seglm.model.segmenter import Segmenter
from seglm.utils.answers import Output
from seglm.utils.batch import Batch
from seglm.utils.prediction import FramePrediction, Prediction
from seglm.utils.resolve import resolve

if TYPE_CHECKING:
    from seglm.dataset.given import Film, Picture

log = logging.getLogger(__name__)

PRECISIONS: dict[object, Precision] = {
    torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16",
    "float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "auto": "fp32",
}  # fmt: skip


class SegLMConfig(PreTrainedConfig):
    """`config.json` of a merged folder."""

    model_type = "seglm"


class SegLMModel(PreTrainedModel):
    """A Segmenter that answers; made by `seglm.load` or `from_pretrained`, since it needs the folder's tokenizer."""

    config_class = SegLMConfig
    base_model_prefix = "segmenter"

    def __init__(self, config: SegLMConfig, segmenter: Segmenter | None = None) -> None:
        super().__init__(config)
        if segmenter is None:
            raise ValueError(
                "a SegLMModel needs the tokenizer in its folder: use AutoModel.from_pretrained(folder), not from_config"
            )
        self.segmenter = segmenter
        self.train(False)

    @property
    def recipe(self) -> Recipe:
        """The recipe the folder was made with."""
        return self.segmenter.recipe

    @classmethod
    def from_pretrained(  # type: ignore[override]  # it takes little on purpose
        cls, folder: str | Path, *unused: Any, **options: Any
    ) -> SegLMModel:
        """Opens a merged folder or hub id through our own strict loader, which asks the folder's probe again.

        options: `dtype` (or `torch_dtype`), `revision`, `config`, `device_map` (one device or {"": device}, `auto` for the GPU
        where there is one); what only tunes transformers' own loader is not taken.
        Raises ValueError for any other option, and as `seglm.model.load.load`.
        """
        config = options.pop("config", None)
        revision = options.pop("revision", None)
        wanted = options.pop("device_map", None) or "cpu"
        dtype = options.pop("dtype", options.pop("torch_dtype", None))
        if isinstance(wanted, dict) and list(wanted) == [""]:  # transformers' other way to name one device
            wanted = wanted[""]
        wanted = f"cuda:{wanted}" if isinstance(wanted, int) else str(wanted)
        device = device_named(None if wanted == "auto" else wanted)
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
                f"SegLMModel.from_pretrained takes dtype, device_map and revision, not {', '.join(odd) or 'positional arguments'}"
            )
        if dtype is not None and dtype not in PRECISIONS:
            raise ValueError(
                f"dtype={dtype} is not supported; known are {', '.join(str(known) for known in PRECISIONS)}"
            )
        path = resolve(folder, revision=revision)
        precision = None if dtype in (None, "auto") else PRECISIONS[dtype]
        segmenter, _ = load_segmenter(str(path), precision=precision, device=device)
        return cls(config or SegLMConfig.from_pretrained(path), segmenter)

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, *unused: Any, **options: Any
    ) -> None:
        """Always a ValueError: it would write the installed libraries' names; the merge script writes folders that
        prove themselves."""
        raise ValueError(
            f"{save_directory}: write merged folders with merge_lora_weights_and_save_hf_model.py --save_path, or copy the folder"
        )

    def predict(
        self,
        about: Picture | Film | None,
        text: str,
        *,
        history: Told | None = None,
        regions: NDArray[np.bool_] | None = None,
        max_new_tokens: int | None = None,
    ) -> Prediction:
        """The answer to a question about a picture or a video.

        about: a path (a picture, a video file, a folder of frames), a PIL image, uint8 [H, W, 3] of NumPy or uint8 [3, H, W] of
        PyTorch, RGB; of a video also a list of these, or an array with one axis more in front. None: nothing is shown.
        history: `history` of an earlier answer about the same picture or video; the question then follows it.
        regions: bool [R, H, W], things that the question calls region1, region2, ...; for systems that read them (Sa2VA).
        max_new_tokens: longest answer; default 512, of a system that is taught its slots alone (GLUS) what it is scored with.
        Raises FileNotFoundError, and ValueError for pixels of another type, range or order of axes (the message says what to
        write), for a file that cannot be read and for a blank question.
        """
        return predict(
            self.segmenter, about, text, history=history, regions=regions, max_new_tokens=max_new_tokens
        )

    def predict_frames(
        self,
        video: Picture | Film,
        text: str,
        *,
        history: Told | None = None,
        max_new_tokens: int | None = None,
    ) -> Iterator[FramePrediction]:
        """The same of a long video, one frame after the other while it is gone through; nothing of a frame is kept.

        Raises as `predict`; of a frame that cannot be decoded when it comes to it.
        """
        with of_no_data_set():
            sample = sample_of(video)
        return predict_frames(self.segmenter, sample, text, history=history, max_new_tokens=max_new_tokens)

    def predict_folder(
        self, folder: str | Path, text: str, out: str | Path, *, max_new_tokens: int | None = None
    ) -> list[dict[str, Any]]:
        """Asks about every picture and film below a folder; masks, overlays and JSONs go to `out`, a folder of their own.

        What is answered there already is not asked again. Returns what `out/answers.json` holds: `file`, `text`, `status` and
        `masks`, or `error` for a file that cannot be read. Raises ValueError if `out` holds answers to another question.
        """
        return predict_folder(self.segmenter, Path(folder), text, Path(out), max_new_tokens=max_new_tokens)

    def predict_forward(self, **call: Any) -> dict[str, Any]:
        """As Sa2VA's method of that name, for every system: see `seglm.evaluation.asking.predict_forward`."""
        return predict_forward(self.segmenter, **call)

    def forward(self, batch: Batch, counts: dict[str, float] | None = None) -> Output:
        """As `Segmenter.forward`."""
        output: Output = self.segmenter(batch, counts)
        return output


def load(
    path: str | Path,
    *,
    device: str | None = None,
    precision: Precision | None = None,
    bits: Bits | None = None,
    recipe: str | None = None,
    vision: str | None = None,
    decoder: str | None = None,
    revision: str | None = None,
    max_length: int | None = None,
) -> SegLMModel:
    """A model that answers: `seglm.load("runs/lisa_tiny/merged").predict("cup.jpg", "Please segment the cup.").masks`.

    path: a merged folder or a released model, or a hub id. device: `cpu`, `cuda`, `cuda:1`; None: the GPU where there is one.
    precision: `fp32`, `bf16`, `fp16`; bits: the LLM in `8bit` or `4bit`; vision, decoder: where CLIP and SAM lie, for releases
    that hold none; revision: of a hub id. None always means: as the weights were trained.
    Raises FileNotFoundError, WeightsError for weights that do not fit, ValueError for what this machine cannot do.
    """
    segmenter, line = open_model(
        str(path),
        device=device,
        precision=precision,
        bits=bits,
        recipe=recipe,
        vision=vision,
        decoder=decoder,
        revision=revision,
        max_length=max_length,
    )
    log.info(line)
    return SegLMModel(SegLMConfig(), segmenter)


AutoConfig.register(SegLMConfig.model_type, SegLMConfig, exist_ok=True)
AutoModel.register(SegLMConfig, SegLMModel, exist_ok=True)
