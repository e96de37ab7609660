"""From the name of a set in a mixture to a score that is refused: what is trained on is no benchmark, for each set of videos."""

import pytest

from seglm.dataset.description import Description, is_for_training
from seglm.dataset.sources import descriptions, open_sources
from seglm.evaluation.asking.leak import refuse_leak

SPLITS = [
    (about, split)
    for about in descriptions()
    if about.family in ("vos", "ref_vos") and about.scored
    for split in (*about.scored_splits, *about.scored.served)
    if not is_for_training(split)
]


@pytest.mark.parametrize("about, split", SPLITS, ids=[f"{about.name}-{split}" for about, split in SPLITS])
def test_a_score_on_what_a_mixture_names_is_refused(
    request: pytest.FixtureRequest, about: Description, split: str
) -> None:
    world = request.getfixturevalue("sa2va" if about.name == "ref_sav" else "videos")
    spec = f"{about.name}|{split}"
    family = about.families[-1]

    def trained(*names: str) -> dict[str, object]:
        return {"data": [source.name for source in open_sources(world, {family: names})]}

    if is_served := about.scored is not None and split in about.scored.served:
        with pytest.raises(ValueError, match="cannot be trained on: only a server has its masks"):
            trained(spec)
    with pytest.raises(ValueError, match="LEAK: the manifest beside a lists"):
        refuse_leak(spec, version="a", manifest={"data": [spec]} if is_served else trained(spec), allow=False)
    if about.splits[0] != split:  # by its plain name it is its training split
        refuse_leak(spec, version="a", manifest=trained(about.name), allow=False)
