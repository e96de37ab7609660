"""The line that starts a run: one machine, a hostfile, SLURM."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from seglm.utils.launch import Nodes, command, find_nodes, find_processes, main, slurm_nodes

STEP = {
    "SLURM_JOB_ID": "77",
    "SLURM_NNODES": "2",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[1-2]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
    "SLURM_NODEID": "1",
    "SLURM_GPUS_ON_NODE": "8",
}


def _line(nodes: Nodes, processes: int | None = None) -> str:
    return shlex.join(
        command("train_ds.py", ["--exp_name", "a b"], nodes=nodes, processes=processes, port="29500")[3:]
    )


def test_one_machine_gets_a_number_of_processes() -> None:
    assert _line(Nodes(), 8) == "--master_port=29500 --num_gpus=8 train_ds.py --exp_name 'a b'"


@pytest.fixture
def hosts(tmp_path: Path) -> str:
    (tmp_path / "hosts").write_text("# all\nfirst slots=8\n\nsecond slots=8\n")
    return str(tmp_path / "hosts")


def test_a_hostfile_is_left_to_ssh(hosts: str) -> None:
    nodes = find_nodes({"HOSTFILE": hosts})
    assert _line(nodes) == f"--master_port=29500 --hostfile={hosts} train_ds.py --exp_name 'a b'"


def test_a_node_rank_starts_the_processes_of_one_machine(hosts: str) -> None:
    nodes = find_nodes({"HOSTFILE": hosts, "NODE_RANK": "1", "MASTER_ADDR": "first"})
    want = f"--hostfile={hosts} --master_addr=first --no_ssh --node_rank=1 train_ds.py"
    assert want in _line(nodes)


def test_a_node_rank_without_the_first_machine_is_an_error(hosts: str) -> None:
    with pytest.raises(ValueError, match="NODE_RANK=1 needs MASTER_ADDR"):
        _line(find_nodes({"HOSTFILE": hosts, "NODE_RANK": "1"}))


@pytest.mark.parametrize(
    "variables, said",
    [
        ({"HOSTFILE": "/nope"}, "HOSTFILE=/nope: No such file or directory"),
        ({"HOSTFILE": "/"}, "HOSTFILE=/: Is a directory"),
        ({"HOSTFILE": "empty"}, "HOSTFILE=empty: it names no machine; each line is `name slots=8`"),
        ({"HOSTFILE": "names"}, "HOSTFILE=names: 'first 8' is no line of a hostfile"),
        ({"HOSTFILE": "none"}, "HOSTFILE=none: 'first slots=00' is no line of a hostfile"),
        ({"HOSTFILE": "twice"}, "HOSTFILE=twice: it names first twice; each machine has one line"),
        ({"HOSTFILE": "hosts", "NODE_RANK": "x"}, "NODE_RANK=x: it has to be a number from 0 to 1"),
        ({"HOSTFILE": "hosts", "NODE_RANK": "2"}, "NODE_RANK=2: it has to be a number from 0 to 1"),
        ({"HOSTFILE": "hosts", "NODE_RANK": "-1"}, "NODE_RANK=-1: it has to be a number from 0 to 1"),
        ({"NODE_RANK": "1"}, "NODE_RANK=1 needs HOSTFILE"),
        ({"NGPU": "two"}, "NGPU=two: it has to be a number from 1"),
        ({"NGPU": "0"}, "NGPU=0: it has to be a number from 1"),
        ({"NGPU": "-1"}, "NGPU=-1: it has to be a number from 1"),
        ({"NGPU": "1", "MASTER_PORT": "abc"}, "MASTER_PORT=abc: it has to be a number from 1 to 65535"),
        ({"NGPU": "1", "MASTER_PORT": "70000"}, "MASTER_PORT=70000: it has to be a number from 1 to 65535"),
        ({"NGPU": "1", "MASTER_PORT": "0"}, "MASTER_PORT=0: it has to be a number from 1 to 65535"),
        ({"SLURM_NNODES": "many"}, "SLURM_NNODES=many: it has to be a number from 0"),
    ],
)
def test_a_wrong_variable_is_named(
    variables: dict[str, str], said: str, hosts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(hosts).parent)
    Path("empty").write_text("# nobody\n")
    Path("none").write_text("second slots=2\nfirst slots=00\n")
    Path("twice").write_text("first slots=2\nsecond slots=2\nfirst slots=4\n")
    Path("names").write_text("first 8\n")
    for name in ("HOSTFILE", "NODE_RANK", "NGPU", "MASTER_PORT", "SLURM_NNODES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(["--print", "train_ds.py"])
    assert str(ended.value).startswith(f"error: {said}")


def test_a_slurm_step_writes_the_hostfile_and_takes_its_rank(tmp_path: Path) -> None:
    nodes = slurm_nodes(STEP, ["gpu1", "gpu2"], tmp_path)
    assert (tmp_path / "seglm-hostfile-77-1").read_text() == "gpu1 slots=8\ngpu2 slots=8\n"
    assert "--master_addr=gpu1 --no_ssh --node_rank=1" in _line(nodes)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)"}, "srun --ntasks-per-node=1"),
        ({"SLURM_GPUS_ON_NODE": ""}, "--gpus-per-node, or set NGPU"),
    ],
)
def test_a_slurm_step_that_cannot_be_understood_says_what_to_ask_for(
    change: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        slurm_nodes(STEP | change, ["gpu1", "gpu2"], tmp_path)


def test_a_job_of_several_machines_outside_srun_is_an_error_not_a_hang() -> None:
    with pytest.raises(ValueError, match="srun --ntasks-per-node=1 bash run_train.sh"):
        find_nodes({"SLURM_NNODES": "2", "SLURM_JOB_ID": "77"})


def test_devices_chosen_by_the_user_are_left_to_deepspeed() -> None:
    assert find_processes({"CUDA_VISIBLE_DEVICES": "2,3"}, Nodes()) is None
    assert find_processes({"NGPU": "3"}, Nodes()) == 3


def test_the_line_can_be_looked_at_before_it_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "seglm.utils.launch", "--print", "train_ds.py", "--recipe", "lisa_7b"],
        env={"NGPU": "2", "MASTER_PORT": "1234", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    want = "-m deepspeed.launcher.runner --master_port=1234 --num_gpus=2 train_ds.py --recipe lisa_7b"
    assert done.stdout.strip().endswith(want)


def test_a_question_about_the_flags_needs_no_launcher() -> None:
    root = Path(__file__).parents[2]
    line = [sys.executable, "-m", "seglm.utils.launch", "train_ds.py", "--recipe", "lisa_7b", "--list"]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "name=lisa_7b"


@pytest.mark.parametrize(
    "wrong, said",
    [
        (["--lrr", "1"], "error: unknown flag '--lrr'; did you mean --lr or --lora_r? (train_ds.py --help)"),
        (
            ["--recipe", "lisa_tiny", "optim.lrr=1"],
            "error: unknown setting 'optim.lrr'; did you mean optim.lr ",
        ),
    ],
)
def test_a_wrong_argument_is_refused_before_the_launcher_starts(wrong: list[str], said: str) -> None:
    """One line and no more: DeepSpeed, which adds lines of its own, was not there yet."""
    root = Path(__file__).parents[2]
    line = [sys.executable, "-m", "seglm.utils.launch", "train_ds.py", *wrong]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith(said), done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout


# A launcher, a second one, and the process of a training that says what it is told, as DeepSpeed starts them.
TRAINING = """
import os, signal, sys, time
def told(number, frame):
    os.write(1, f"told {number}\\n".encode())  # not print, in the middle of which it may come
    time.sleep(0.5)
    os._exit(7)
for number in (1, 2, 10, 15):
    signal.signal(number, told)
print(os.getppid(), flush=True)
time.sleep(60)
"""
STARTS = (
    "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', *sys.argv[2:], *sys.argv[1:2]]))"
)
# Under nohup a SIGHUP is ignored from the start, behind `&` a SIGINT, and these tests may run so.
OURS = """
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
from seglm.utils.launch import run
sys.exit(run(sys.argv[1:]))
"""


def launched(*line: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OURS, sys.executable, "-c", *line],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )


@pytest.mark.parametrize("sent, told", [(15, 15), (2, 2), (10, 10), (1, 15)])
def test_the_training_is_told_what_its_launcher_is_told(sent: int, told: int) -> None:
    """A closed terminal (1) as a SIGTERM; the launcher ends with the training's status."""
    process = launched(STARTS, TRAINING, STARTS)
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(sent)
    assert process.communicate(timeout=60)[0] == f"told {told}\n" and process.returncode == 7


def test_a_training_whose_launcher_was_killed_is_stopped_and_waited_for() -> None:
    process = launched(STARTS, TRAINING, STARTS)
    assert process.stdout is not None
    second = psutil.Process(int(process.stdout.readline()))
    second.parent().kill()
    assert process.communicate(timeout=60)[0].startswith("told 15\n") and process.returncode == 128 + 9


def test_what_is_told_while_the_launcher_starts_is_not_lost() -> None:
    """Between its start and the next line of ours: before, it was left behind."""
    at_once = """
import os, subprocess
begin = subprocess.Popen
def and_ctrl_c(*line, **how):
    process = begin(*line, **how)
    os.kill(os.getpid(), signal.SIGINT)
    return process
subprocess.Popen = and_ctrl_c
"""
    line = [sys.executable, "-c", "import time; time.sleep(60)"]
    ours = OURS.replace("sys.exit(", f"{at_once}sys.exit(")
    env = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", ours, *line], env=env, timeout=50, capture_output=True, text=True
    )
    assert done.returncode == 128 + 15, done.stderr


def test_a_launcher_that_has_started_nothing_yet_is_stopped() -> None:
    process = launched("print('here', flush=True); import time; time.sleep(60)")
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(2)
    process.communicate(timeout=60)
    assert process.returncode == 128 + 15
