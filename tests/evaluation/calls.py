"""Commands of the original codes, called in a folder of their own: what they load, and what they call in turn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LARGE = {"torch", "transformers", "scipy", "matplotlib"}


def help_of(script: str, folder: Path) -> str:
    """What `python SCRIPT --help` says in a folder, and it loads nothing large before; script: from the checkout's top."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(ROOT / script), "--help"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in loaded and not loaded & LARGE
    return done.stdout


def called(script: str, folder: Path, *arguments: str, **settings: str) -> tuple[int, list[list[str]], str]:
    """Exit status, what is called in which order, and what is said; the Python there notes its arguments and does nothing."""
    venv, notes = folder / "venv", folder / "notes"
    (venv / "bin").mkdir(parents=True, exist_ok=True)
    python = venv / "bin" / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec "{sys.executable}" "$@"\n[ "$2" = pip ] || (IFS="\t"; echo "$*" >> "{notes}")\n'
    )
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / script), *arguments],
        cwd=folder,
        env={**os.environ, "VIRTUAL_ENV": str(venv), "NGPU": "1", **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = notes.read_text().splitlines() if notes.exists() else []
    return done.returncode, [line.split("\t") for line in lines], done.stderr
