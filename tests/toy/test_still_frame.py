"""Who sees one frame knows what is said of looks, and guesses what things do; as an asker it answers a benchmark of videos."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seglm.dataset.toy.families import HIDDEN_KINDS
from seglm.dataset.toy.layouts.takes import make_take
from seglm.dataset.toy.moving_language import expressions
from seglm.dataset.toy.still_frame import guess
from seglm.dataset.toy.write_videos import take_of
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.things import objects_of
from seglm.evaluation.asking.video_controls import still_frame
from seglm.evaluation.scores.first_mask import mask_of

TAKES = 160
SETS = (
    "mevis|valid_u",
    "mevis|v2|valid_u",
    "ref_youtube_vos|train",
    "ref_davis17|valid",
    "revos|valid",
    "reasonvos|test",
)


def test_looks_are_known_and_what_only_motion_tells_is_a_guess() -> None:
    """Of expressions about one thing; chance is 1 / the number of those whose looks fit."""
    right: defaultdict[str, list[tuple[bool, float]]] = defaultdict(list)
    for number in range(50_000, 50_000 + TAKES):
        take = make_take(number, world_seed=0, split="val", size=96)
        for one in expressions(take.clip, take.rng("mevis"), split="val"):
            phrase, found = one.pair.there, guess(take, one.pair.there.text)
            assert found is not None and len(found) == len(phrase.targets)
            is_right, name = found == phrase.targets, "looks" if one.family == "looks" else phrase.kind
            if len(phrase.targets) == 1 and name not in ("reasoning", "multi"):
                right[name].append((is_right, 1 / len(one.candidates)))
    assert set(right) == {"looks", "motion", "order", "growth", "interaction"}
    for name, answers in right.items():
        rate, chance = (float(np.mean(column)) for column in zip(*answers, strict=True))
        error = np.sqrt(chance * (1 - chance) / TAKES)  # expressions about one clip hang together
        if name == "looks":
            assert rate == 1
        elif name in HIDDEN_KINDS:
            assert rate == pytest.approx(chance, abs=3 * error), name
        else:
            assert rate > chance + error, name


@pytest.mark.parametrize("spec", SETS)
def test_the_oracle_answers_the_benchmarks_of_the_toy_world(videos: Path, spec: str) -> None:
    asked = benchmark(spec).open(videos)
    samples = [asked.sample(number) for number in range(len(asked))]
    found: defaultdict[str, list[bool]] = defaultdict(list)
    for drawn in still_frame(videos)(samples):
        sample = samples[drawn.sample]
        things = objects_of(asked, videos)(sample, drawn.frame)
        for target, answer in zip(sample.targets, drawn.answers, strict=True):
            if target.known_frames is not None and drawn.frame not in target.known_frames:
                continue
            mask, true = mask_of(answer, sample.size), target.masks([drawn.frame])[0]
            found[target.kind].append(bool((mask == true).all()))
            assert not (mask & ~things.any(axis=0)).any(), "what is drawn are things"
    assert all(found["attribute"]), "looks tell, in every frame"
    known = [guess(take_of(videos, Path(one.path).name), t.texts[0]) for one in samples for t in one.targets]
    kinds = [target.kind for sample in samples for target in sample.targets]
    strange = {kind for kind, things in zip(kinds, known, strict=True) if things is None}
    assert strange <= ({"attribute"} if "davis" in spec else set()), "every text is one of the sets' language"
    if spec == "mevis|v2|valid_u":
        assert "none" in kinds


def test_a_video_of_no_toy_world_is_refused(tmp_path: Path, videos: Path) -> None:
    asked = benchmark("mevis|valid_u").open(videos)
    with pytest.raises(ValueError, match="is no video of a toy world under"):
        next(still_frame(tmp_path)([asked.sample(0)]))


@pytest.mark.parametrize("spec", [*SETS, "youtube_vos|train", "lvvis|val"])
def test_everything_in_a_video_is_what_its_take_holds(videos: Path, spec: str) -> None:
    asked = benchmark(spec).open(videos)
    objects: Callable = objects_of(asked, videos)
    for sample in map(asked.sample, range(len(asked))):
        frame = sample.num_frames // 2
        things, parts = objects(sample, frame), len(objects(sample, 0))
        assert things.shape == (parts, *sample.size)
        for target in sample.targets:
            if target.known_frames is None or frame in target.known_frames:
                true = target.masks([frame])[0]
                inside = [one for one in things if (one & true).any()]
                assert (true == (np.any(inside, axis=0) if inside else False)).all()
