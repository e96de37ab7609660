"""What lands in an environment: `seglm` and nothing else, whole, from a wheel, an editable install and a bare checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.house.tree import FOLDERS, ROOT, library, module_name, packages

USER_DATA = (
    "ade20k",
    "coco",
    "cocostuff",
    "llava_dataset",
    "mapillary",
    "reason_seg",
    "refer_seg",
    "vlpart",
    "YTVOS",
)
PROJECT = (
    *FOLDERS,
    "seglm",
    "setup.py",
    "pyproject.toml",
    "requirements.txt",
    "README.md",
    "LICENSE",
    "MANIFEST.in",
    "train_ds.py",
    ".gitignore",
)


def _copy(target: Path) -> Path:
    """The project's own files at `target`: what a clone would hold."""
    target.mkdir()
    skip = shutil.ignore_patterns("__pycache__", *USER_DATA)
    for name in PROJECT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=skip, symlinks=True)
        elif (ROOT / name).is_file():
            shutil.copy(ROOT / name, target / name)
    return target


def _run(*command: str | Path, cwd: Path, **environment: str) -> str:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _plant_user_data(root: Path) -> list[Path]:
    """Data as users of the original code keep them, with code in between that must not be taken for ours."""
    planted = [root / "dataset" / name / "api" / "__init__.py" for name in USER_DATA]
    planted += [root / "dataset" / name / "images" / "broken.py" for name in USER_DATA]
    for file in planted:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("import   os,sys\nthis is not python\n")
    return planted


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel of a checkout in which a user keeps data."""
    folder = tmp_path_factory.mktemp("a wheel")
    root = _copy(folder / "checkout")
    _plant_user_data(root)
    build = (
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        folder / "dist",
        ".",
    )
    _run(*build, cwd=root)
    (built,) = (folder / "dist").glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_seglm_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"seglm"}


def test_the_wheel_holds_every_module_and_no_data(wheel: zipfile.ZipFile) -> None:
    held = {
        name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for name in wheel.namelist()
        if name.endswith(".py")
    }
    assert held == {module_name(file) for file in library()}


def test_the_wheel_holds_what_is_not_python_but_needed(wheel: zipfile.ZipFile) -> None:
    held = set(wheel.namelist())
    wanted = {"seglm/py.typed"}
    wanted |= {f"seglm/{file.relative_to(ROOT)}" for file in (ROOT / "dataset" / "classes").glob("*.json")}
    wanted |= {f"seglm/{file.relative_to(ROOT)}" for file in (ROOT / "bases").rglob("*.safetensors")}
    assert wanted <= held, wanted - held
    assert not [name for name in held if name.endswith(".sh")], (
        "they set up a checkout, and source what lies there"
    )


def test_the_wheel_asks_for_what_requirements_txt_lists(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    text = wheel.read(metadata).decode()
    listed = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    asked = {
        line.split(": ")[1].split(";")[0]
        for line in text.splitlines()
        if line.startswith("Requires-Dist") and "extra" not in line
    }
    names = {line.split(">")[0].split("=")[0] for line in listed if line}
    assert {line.split(">")[0].split("<")[0].split("=")[0].replace("_", "-") for line in asked} == names
    assert "Requires-Python: >=3.11" in text


def test_git_keeps_a_link_for_every_folder() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-s", "seglm"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    links = {line.split("\t")[1] for line in listed.stdout.splitlines() if line.startswith("120000 ")}
    assert links == {f"seglm/{folder}" for folder in FOLDERS}
    assert {str((ROOT / link).readlink()) for link in links} == {f"../{folder}" for folder in FOLDERS}


@pytest.mark.parametrize(
    "line", ["-m seglm.doctor", "-m seglm.evaluation.run --help", "train_ds.py --list", "chat.py --help"]
)
def test_a_python_without_the_requirements_is_told_in_one_line_how_to_get_one_with_them(line: str) -> None:
    """-S: nothing of an environment is found, as where none is active."""
    done = subprocess.run(
        [sys.executable, "-S", *line.split(" ")],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith(f"error: {sys.executable} has no torch and no numpy")
    assert done.stderr.count("\n") == 1
    assert ".venv/bin/activate" in done.stderr and "bash run_tests.sh" in done.stderr


@pytest.mark.parametrize(("command", "start"), [("-c", "ImportError: "), ("train_ds.py", "error: ")])
def test_a_checkout_that_lost_its_links_says_so_in_one_line(command: str, start: str, tmp_path: Path) -> None:
    root = _copy(tmp_path / "a checkout")
    for folder in FOLDERS:  # as an unpacked zip has them on Windows
        (root / "seglm" / folder).unlink()
        (root / "seglm" / folder).write_text(f"../{folder}")
    argument = "import seglm.utils.types" if command == "-c" else "--help"
    done = subprocess.run(
        [sys.executable, command, argument],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stderr.splitlines()
    assert done.returncode == 1 and not done.stdout
    assert said[-1].startswith(f"{start}{root / 'seglm' / 'model'} is no folder") and "git clone" in said[-1]
    assert command == "-c" or len(said) == 1


def test_every_tracked_folder_with_code_is_a_package() -> None:
    listed = subprocess.run(
        ["git", "ls-files", *(f"{f}/*.py" for f in FOLDERS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    folders = {Path(name).parent for name in listed.stdout.split()}
    assert folders <= set(packages()), "a folder of code has no __init__.py and would be missing in the wheel"


def test_data_kept_in_the_code_folder_is_ignored(tmp_path: Path) -> None:
    root = _copy(tmp_path / "checkout")
    before = packages(root)
    planted = [str(file.relative_to(root)) for file in _plant_user_data(root)]
    _run("git", "init", "-q", cwd=root)
    assert _run("git", "check-ignore", *planted, cwd=root).split() == planted
    assert "dataset/toy" in _run("git", "status", "--porcelain", "-uall", "dataset", cwd=root)
    _run(sys.executable, "-m", "ruff", "check", "--select", "E9", "dataset", cwd=root)
    assert packages(root) == before


def test_data_sets_are_found_by_scanning_only_our_folder() -> None:
    folder = ROOT / "dataset" / "sources"
    if not folder.is_dir():
        pytest.skip("dataset/sources is not there yet")
    assert folder.relative_to(ROOT) in packages()


def test_a_bare_checkout_works_from_anywhere(tmp_path: Path) -> None:
    root = _copy(tmp_path / "a checkout")
    program = "import seglm.utils.config, seglm.model.recipes as r; print(r.__file__, seglm.__version__)"
    # -S hides the environment's editable install, if there is one; numpy and torch are named by hand.
    packages_of = str(Path(pytest.__file__).parents[1])
    found = _run(
        sys.executable, "-S", "-c", program, cwd=tmp_path, PYTHONPATH=f"{root}{os.pathsep}{packages_of}"
    )
    assert found.split(".py ")[0] == str(root / "seglm" / "model" / "recipes")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["editable", "wheel", "sdist"])
def test_an_install_works_beside_foreign_packages_of_the_same_names(how: str, tmp_path: Path) -> None:
    root = _copy(tmp_path / "a checkout")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "borrowed.pth").write_text(str(Path(pytest.__file__).parents[1]))
    target = root
    if how == "sdist":
        _run(
            sys.executable,
            "-c",
            "from setuptools.build_meta import build_sdist; build_sdist('dist')",
            cwd=root,
        )
        (target,) = (root / "dist").glob("*.tar.gz")
        with tarfile.open(target) as archive:
            assert not [name for name in archive.getnames() if "/runs/" in name or "/data/" in name]
    flags = ["-e"] if how == "editable" else []
    _run(
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        *flags,
        target,
        cwd=tmp_path,
    )
    for name in ("utils", "model", "dataset"):
        (tmp_path / "own" / name).mkdir(parents=True)
        (tmp_path / "own" / name / "__init__.py").write_text(f"mine = {name!r}\n")
    program = "import utils, model, seglm, seglm.utils.config as c; assert utils.mine and model.mine; print(c.__file__)"
    found = _run(python, "-c", program, cwd=tmp_path / "own").strip()
    assert found.startswith(str(root if how == "editable" else site))
