"""Set-up: which Python is taken, what is said where none fits, and that a space in the path does no harm."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.house.tree import ROOT


def _checkout(folder: Path) -> Path:
    root = folder / "a checkout"
    (root / "utils").mkdir(parents=True)
    for name in (
        "utils/environment.sh",
        "requirements.txt",
        "pyproject.toml",
        "setup.py",
        "run_train.sh",
        "run_tests.sh",
    ):
        shutil.copy(ROOT / name, root / name)
    return root


def _python(path: Path, version: str, *, new_enough: bool, then: str = "") -> Path:
    """A stand-in that answers as a Python of that version would, and writes down how pip and venv were called.

    then: what it does, in shell, behind each of the two.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "#!/bin/bash\n"
        f'case "$1" in -V) echo "Python {version}";; -c) exit {int(not new_enough)};;\n'
        f'-m) echo "$@" >> "{path}.log"; [ "$2" != venv ] || install -D "$0" "$4/bin/python"; {then};; esac\n'
    )
    path.chmod(0o755)
    return path


def _source(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Sources it, and then in a script that is started from there, as tests start scripts."""
    env = {"PATH": os.environ["PATH"]} | environment
    command = [
        "bash",
        "-c",
        '. utils/environment.sh; echo "PYTHON=$PYTHON"; bash -c ". utils/environment.sh"',
    ]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)


def test_python_3_10_stops_the_set_up_with_one_line_that_names_3_11(tmp_path: Path) -> None:
    old = _python(tmp_path / "python3.10", "3.10.13", new_enough=False)
    done = _source(_checkout(tmp_path), PYTHON=str(old))
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    assert "needs Python 3.11 or newer" in line and "is Python 3.10.13" in line


def test_an_active_environment_of_python_3_10_stops_it_too(tmp_path: Path) -> None:
    _python(tmp_path / "env" / "bin" / "python", "3.10.13", new_enough=False)
    done = _source(_checkout(tmp_path), VIRTUAL_ENV=str(tmp_path / "env"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "needs Python 3.11 or newer" in line and str(tmp_path / "env") in line


def test_the_active_environment_is_used_and_installed_into_once(tmp_path: Path) -> None:
    root, python = (
        _checkout(tmp_path),
        _python(tmp_path / "my env" / "bin" / "python", "3.11.7", new_enough=True),
    )
    for _ in range(2):
        done = _source(root, VIRTUAL_ENV=str(tmp_path / "my env"))
        assert done.returncode == 0, done.stderr
        assert f"PYTHON={python}" in done.stdout
    installs = Path(f"{python}.log").read_text().splitlines()
    assert len(installs) == 1 and installs[0].endswith("-e .[dev]")
    (root / "requirements.txt").write_text("torch\n")
    _source(root, VIRTUAL_ENV=str(tmp_path / "my env"))
    assert len(Path(f"{python}.log").read_text().splitlines()) == 2


def test_without_an_environment_one_is_made_in_the_checkout(tmp_path: Path) -> None:
    root, python = _checkout(tmp_path), _python(tmp_path / "python3.12", "3.12.1", new_enough=True)
    done = _source(root, PYTHON=str(python))
    assert done.returncode == 0, done.stderr
    assert f"PYTHON={root}/.venv/bin/python" in done.stdout
    assert Path(f"{python}.log").read_text().splitlines()[0] == f"-m venv --clear {root}/.venv"
    assert {path.name for path in root.glob(".venv*")} == {".venv", ".venv.lock"}


def test_an_environment_whose_making_was_stopped_is_made_anew(tmp_path: Path) -> None:
    root, path = _checkout(tmp_path), tmp_path / "python3.12"
    stopped = _python(path, "3.12.1", new_enough=True, then='kill "$PPID"; exit 1')
    assert _source(root, PYTHON=str(stopped)).returncode == -signal.SIGTERM
    assert (root / ".venv" / "bin" / "python").exists()
    (root / ".venv" / "bin" / "python").write_text("#!/bin/sh\necho No module named pip >&2; exit 1\n")
    done = _source(root, PYTHON=str(_python(path, "3.12.1", new_enough=True)))
    assert done.returncode == 0, done.stderr
    made = Path(f"{path}.log").read_text().splitlines()
    assert made[:2] == [f"-m venv --clear {root}/.venv"] * 2 and made[2].endswith("-e .[dev]")


@pytest.mark.skipif(not shutil.which("flock"), reason="no flock here, and no lock")
def test_of_two_first_calls_at_once_one_makes_the_environment(tmp_path: Path) -> None:
    root, python = (
        _checkout(tmp_path),
        _python(tmp_path / "python3.12", "3.12.1", new_enough=True, then="sleep 0.5"),
    )
    with ThreadPoolExecutor() as both:
        ends = list(both.map(lambda _: _source(root, PYTHON=str(python)), range(2)))
    assert [done.returncode for done in ends] == [0, 0], ends
    made, installed = Path(f"{python}.log").read_text().splitlines()
    assert made.startswith("-m venv") and installed.endswith("-e .[dev]")


@pytest.mark.parametrize("active", [True, False])
def test_a_python_that_is_no_program_is_an_error_also_where_it_is_not_needed(
    active: bool, tmp_path: Path
) -> None:
    root = _checkout(tmp_path)
    _python(tmp_path / "env" / "bin" / "python", "3.11.7", new_enough=True)
    done = _source(root, PYTHON="/nothing", **({"VIRTUAL_ENV": str(tmp_path / "env")} if active else {}))
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("SegLM: PYTHON=/nothing is no program; ") and done.stderr.count("\n") == 1


def test_the_newest_of_everything_has_an_environment_of_its_own_and_is_asked_for_each_time(
    tmp_path: Path,
) -> None:
    root, python = _checkout(tmp_path), _python(tmp_path / "python3.12", "3.12.1", new_enough=True)
    active = _python(tmp_path / "env" / "bin" / "python", "3.11.7", new_enough=True)
    for _ in range(2):
        done = _source(root, PYTHON=str(python), VIRTUAL_ENV=str(tmp_path / "env"), SEGLM_LATEST="1")
        assert done.returncode == 0, done.stderr
        assert f"PYTHON={root}/.venv-latest/bin/python" in done.stdout
    assert not Path(f"{active}.log").exists()
    made, *installs = Path(f"{python}.log").read_text().splitlines()
    assert made == f"-m venv --clear {root}/.venv-latest" and len(installs) == 2
    assert all("--upgrade --upgrade-strategy eager -e .[dev]" in line for line in installs)


def test_the_newest_of_everything_has_no_upper_bound_but_torch_s(tmp_path: Path) -> None:
    listed = {}
    for latest in ("", "1"):
        (tmp_path / f"info{latest}").mkdir()
        command = [sys.executable, "setup.py", "-q", "egg_info", "-e", str(tmp_path / f"info{latest}")]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"SEGLM_LATEST": latest}, check=True)
        text = (tmp_path / f"info{latest}" / "seglm.egg-info" / "requires.txt").read_text()
        listed[latest] = text.partition("[")[0].split()
    assert any("<" in line for line in listed[""] if not line.startswith("torch"))
    bounded = [line for line in listed["1"] if "<" in line or "==" in line]
    assert bounded == [line for line in listed[""] if line.startswith("torch<") or line.startswith("torch>")]
    assert len(listed["1"]) == len(listed[""]) > 10


def test_arguments_reach_the_launcher_whole_from_any_directory(tmp_path: Path) -> None:
    root, python = (
        _checkout(tmp_path),
        _python(tmp_path / "env" / "bin" / "python", "3.11.7", new_enough=True),
    )
    command = [
        "bash",
        str(root / "run_train.sh"),
        "--recipe",
        "lisa_7b",
        "--dataset",
        "sem_seg||vqa",
        "--exp_name",
        "a b",
    ]
    env = {"PATH": os.environ["PATH"], "VIRTUAL_ENV": str(tmp_path / "env")}
    subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True)
    last = Path(f"{python}.log").read_text().splitlines()[-1]
    want = f"-m seglm.utils.launch {root}/train_ds.py --recipe lisa_7b --dataset sem_seg||vqa --exp_name a b"
    assert last == want


@pytest.mark.parametrize("script", ["run_train.sh", "run_tests.sh", "utils/environment.sh", ".ci/run"])
def test_the_scripts_are_sound_shell(script: str) -> None:
    subprocess.run(["bash", "-n", script], cwd=ROOT, check=True)


def test_setup_py_names_the_python_it_needs() -> None:
    assert sys.version_info >= (3, 11)
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text()
