"""A world is the same whoever writes it."""

from __future__ import annotations

from pathlib import Path

from seglm.dataset.toy.write import JOBS, write


def test_two_processes_write_the_bytes_of_one(tmp_path: Path) -> None:
    sizes = {"images": 20, "val_images": 4, "test_images": 4, "seed": 3, "size": 64}
    shown: list[str] = []

    def told(jobs: object, label: str) -> object:
        shown.append(label)
        return jobs

    worlds = [
        write(tmp_path / str(processes), processes=processes, progress=told, **sizes)  # type: ignore[arg-type]
        for processes in (1, 2)
    ]
    one, two = (
        {file.relative_to(root): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (tmp_path / "1", tmp_path / "2")
    )
    assert one == two and len(one) > len(JOBS)
    assert list(worlds[0].counts) == list(worlds[1].counts)  # in one order, whoever was ready first
    assert shown == ["toy world", "toy world"]
