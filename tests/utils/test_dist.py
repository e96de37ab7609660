from __future__ import annotations

import os

import pytest

from seglm.utils import dist


def test_plain_python_is_a_world_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    world = dist.start()
    assert (world.rank, world.size, world.is_main) == (0, 1, True)
    assert dist.start() is world
    assert dist.all_sum([1, 2.5]) == [1.0, 2.5] and dist.gather("x") == ["x"] and dist.from_main(3) == 3
    dist.barrier()
    dist.stop()
    assert "RANK" not in os.environ, "a process started later must not take itself for a part of this run"


def test_before_start_everything_works_for_one() -> None:
    assert dist.world().is_main and dist.all_sum([2]) == [2.0]
    dist.barrier()


@pytest.mark.parametrize(
    "name, value",
    [("RANK", "x"), ("RANK", "-1"), ("WORLD_SIZE", "0"), ("WORLD_SIZE", ""), ("LOCAL_RANK", "1.5")],
)
def test_a_launchers_variable_that_is_no_number_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one, good in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", name: value}.items():
        monkeypatch.setenv(one, good)
    with pytest.raises(RuntimeError, match=f"^{name}={value}: it has to be a number from [01]; "):
        dist.start()


def test_half_a_launcher_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(RuntimeError, match="RANK is set but its partner is not"):
        dist.start()
