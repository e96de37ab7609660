"""How long a user waits for a command to begin, without a clock: what it loads, what it reads, and how its threads wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seglm.model.recipes import recipes
from tests.house.tree import ROOT, library, module_name

MERGED = ROOT / "tests" / "goldens" / "49f5cfb" / "merged_lisa"
ASIDE = {
    "seglm.bases.make",  # made the shipped bases, with one thread; nobody waits for it
    "seglm.evaluation.as_glus",  # takes its script's name: tests/evaluation/test_as_glus.py asks it the same
}
SLOW = ("torch", "transformers", "deepspeed", "peft", "matplotlib", "scipy", "pandas", "tokenizers")
NEVER = (
    *("deepspeed", "peft", "matplotlib", "pandas", "datasets", "torchvision", "bitsandbytes"),
    *("torch.utils.tensorboard", "tensorboard", "pycocotools", "seglm.training", "seglm.dataset.sources"),
)
"""what an answer in a chat needs nothing of; transformers' model files load torch.distributed and torch._dynamo themselves"""

ANSWER = """
import json, os, sys, threading
sys.path.insert(0, {root!r})
seen = {{"policy": [], "reads": [], "probes": 0}}

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            seen["policy"].append(os.environ.get("OMP_WAIT_POLICY"))

sys.meta_path.insert(0, Watch())
import chat
from seglm.model import probe
from seglm.model.released import files
read, opened = probe.read, files.safe_open
def count(model):
    seen["probes"] += 1
    return read(model)
def note(file, **options):
    seen["reads"].append(os.path.basename(file))
    return opened(file, **options)
probe.read, files.safe_open = count, note
chat.main(["--version", {model!r}, "--image", {image!r}, "--prompt", "Where is the ring?", "--max_new_tokens", "2",
           "--vis_save_path", {out!r}])
seen["never"] = [name for name in {never!r} if name in sys.modules]
print(json.dumps(seen))
"""


def _commands() -> list[str]:
    """Every module with a `main` that goes through the door of commands."""
    scripts = [file.stem for file in ROOT.glob("*.py") if "@command\n" in file.read_text(encoding="utf-8")]
    modules = [
        module_name(file)
        for file in library()
        if {"@command", "@one_line"} & set(file.read_text(encoding="utf-8").splitlines())
    ]
    return sorted({*scripts, *modules} - ASIDE)


def _python(code: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_list_of_commands_is_whole() -> None:
    assert {"chat", "train_ds", "merge_lora_weights_and_save_hf_model", "seglm.evaluation.run"} < set(
        _commands()
    )
    assert {"seglm.dataset.check", "seglm.preflight", "seglm.utils.launch"} < set(_commands())


def test_the_launcher_loads_nothing_large_before_its_main_runs() -> None:
    code = f"import sys, seglm.utils.launch; print([name for name in {SLOW!r} if name in sys.modules])"
    assert _python(code).strip() == "[]"


@pytest.mark.parametrize("command", [name for name in _commands() if name != "seglm.utils.launch"])
def test_a_command_loads_nothing_large_before_it_has_read_its_flags(command: str) -> None:
    code = (
        f"import sys, atexit\nfrom {command} import main\n"
        f"atexit.register(lambda: print([name for name in {SLOW!r} if name in sys.modules]))\n"
        "sys.argv[1:] = ['--help']\nmain()"
    )
    assert _python(code).splitlines()[-1] == "[]"


def test_the_recipes_are_listed_without_anything_large() -> None:
    code = f"import sys, train_ds\ntrain_ds.main(['--list'])\nprint([name for name in {SLOW!r} if name in sys.modules])"
    *lines, loaded = _python(code).splitlines()
    described = {name: (make.__doc__ or "").strip().splitlines()[0] for name, make in recipes().items()}
    assert {line[:24].strip(): line[24:] for line in lines} == described
    assert loaded == "[]"


def test_an_answer_reads_weights_once_asks_the_probe_once_and_loads_what_it_needs(tmp_path: Path) -> None:
    code = ANSWER.format(
        root=str(ROOT),
        model=str(MERGED),
        image=str(ROOT / "imgs" / "toy_ring.png"),
        out=str(tmp_path),
        never=NEVER,
    )
    seen = json.loads(_python(code).splitlines()[-1])
    assert sorted(seen["reads"]) == ["model.safetensors", "probe.safetensors"]
    assert seen["probes"] == 1
    assert seen["never"] == []
    assert seen["policy"] == ["PASSIVE"]


def test_what_the_user_says_about_threads_stays() -> None:
    code = (
        "import os\nfrom seglm.utils.threads import settle\nsettle()\nsettle(4)\n"
        "print(os.environ['OMP_WAIT_POLICY'], os.environ['OMP_NUM_THREADS'])"
    )
    assert _python(code, OMP_WAIT_POLICY="ACTIVE", OMP_NUM_THREADS="3").split() == ["ACTIVE", "3"]
