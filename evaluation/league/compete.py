"""Every row with every seed, some at a time; what is done is kept and never done again."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from seglm.evaluation.league.entrants import Budget, Entrant, fingerprint, parts, stages
from seglm.evaluation.league.work import Work
from seglm.evaluation.scores.report import scores_of
from seglm.evaluation.scores.results import Scores
from seglm.utils.manifest import commit, write_manifest

log = logging.getLogger(__name__)
T = TypeVar("T")
SECONDS = 60


@dataclass(frozen=True)
class Played:
    """A row with one seed."""

    row: str
    seed: int
    steps: tuple[int, ...]
    """optimizer steps of each stage, the same for all seeds of a row"""
    seconds_per_step: tuple[float, ...]
    """CPU seconds in the trials, from which `steps` follow"""
    trained: float
    """CPU seconds that the trainings took, starting and saving included; 0 if it was found done"""
    commit: str
    folder: str
    scores: Mapping[str, Scores]
    """benchmark, as it was asked for -> scores"""


@dataclass(frozen=True)
class Failed:
    """A row that did not come to its end."""

    row: str
    seed: int | None
    """None if its trial failed"""
    why: str


def compete(
    rows: Sequence[Entrant], seeds: Sequence[int], budget: Budget, work: Work, *, out: Path, jobs: int
) -> tuple[list[Played], list[Failed]]:
    """All results, in the order of rows and seeds, and what failed; a failure stops nobody else.

    Results are kept in `out/results`, the trials' in `out/trials`, under a hash of what they depend on.
    """
    failed: list[Failed] = []
    with ThreadPoolExecutor(jobs) as pool:
        try:
            trials = [(row, pool.submit(_trials, row, budget, work, out)) for row in rows]
            paces = {row.name: pace for row, trial in trials if (pace := _taken(trial, row, None, failed))}
            games = [
                (row, seed, pool.submit(_game, row, seed, paces[row.name], budget, work, out))
                for seed in seeds
                for row in rows
                if row.name in paces
            ]
            played = [game for row, seed, one in games if (game := _taken(one, row, seed, failed))]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            work.stop()
            raise
    names = [row.name for row in rows]
    return sorted(played, key=lambda game: (names.index(game.row), seeds.index(game.seed))), failed


def steps_of(minutes: float, seconds_per_step: float) -> int:
    """How many steps fit into the minutes; at least one."""
    return max(1, int(minutes * SECONDS / seconds_per_step))


def _taken(result: Future[T], row: Entrant, seed: int | None, failed: list[Failed]) -> T | None:
    """The result, or None after a note of what went wrong."""
    try:
        return result.result()
    except (RuntimeError, ValueError, OSError) as error:
        log.error("%s%s: %s", row.name, "" if seed is None else f", seed {seed}", error)
        failed.append(Failed(row.name, seed, str(error)))
        return None


def _trials(row: Entrant, budget: Budget, work: Work, out: Path) -> tuple[float, ...]:
    """CPU seconds a step of each stage."""
    found = []
    for one, share in stages(row):
        pace = _trial(one, budget, work, out)
        log.info(
            "%s: %.3f CPU seconds a step, %d steps", one.name, pace, steps_of(share * budget.minutes, pace)
        )
        found.append(pace)
    return tuple(found)


def _trial(row: Entrant, budget: Budget, work: Work, out: Path) -> float:
    key = fingerprint(row, replace(budget, minutes=0, benchmarks=()))  # how fast it is depends on neither
    kept = out / "trials" / f"{row.slug}-{key}.json"
    if not kept.is_file():
        log.info("%s: how long does a step take?", row.name)
        pace = sum(share * work.seconds_per_step(part) for part, share in parts(row))
        _keep(kept, {"row": row.name, "seconds_per_step": pace})
    return float(json.loads(kept.read_text(encoding="utf-8"))["seconds_per_step"])


def _game(row: Entrant, seed: int, paces: tuple[float, ...], budget: Budget, work: Work, out: Path) -> Played:
    shares = [share for _, share in stages(row)]
    steps = tuple(steps_of(share * budget.minutes, pace) for share, pace in zip(shares, paces, strict=True))
    key = fingerprint(row, budget, seed=seed, steps=steps)
    kept = out / "results" / f"{row.slug}-seed{seed}-{key}.json"
    if not kept.is_file():
        folder = out / "runs" / f"{row.slug}-seed{seed}-{key}"
        folder.mkdir(parents=True, exist_ok=True)
        scores, trained = work.play(row, seed=seed, steps=steps, folder=folder)
        inside = str(folder.relative_to(out))
        _keep(kept, asdict(Played(row.name, seed, steps, paces, trained, commit(), inside, scores)))
        log.info("%s, seed %d: done", row.name, seed)
    return _read(kept)


def _keep(path: Path, content: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(path, content)


def _read(path: Path) -> Played:
    content = json.loads(path.read_text(encoding="utf-8"))
    scores = {spec: scores_of(values) for spec, values in content.pop("scores").items()}
    steps, paces = (tuple(content.pop(name)) for name in ("steps", "seconds_per_step"))
    return Played(**content, steps=steps, seconds_per_step=paces, scores=scores)
