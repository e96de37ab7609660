"""Published numbers as records: whose weights, which benchmark, how it was scored, what came out, and who says so.

`python -m seglm.evaluation.run --reproduce list` prints them; `--reproduce gsva-7b-pt/grefcoco-val --version ...` runs one.
Their numbers could not be read, so they are not here: KeySeg (Sensors 2025, 25(20), 6353) and DeSa2VA; its parent Sa2VA is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from seglm.evaluation.scores.results import Convention
from seglm.model.precision import Precision
from seglm.model.settings import Protocol
from seglm.utils.did_you_mean import unknown

CARRIED = "-po"
"""how the name of a model ends whose masks another program carried"""


@dataclass(frozen=True)
class Source:
    """Who says so, and how the numbers were made."""

    cited: str
    protocol: Protocol
    convention: Convention | None
    """None for the default of each benchmark"""
    precision: Precision
    tolerance: float
    """points of a percent that a measured value may differ by"""
    conventions: Mapping[str, Convention] = field(default_factory=dict)
    """those of single benchmarks, where they are others"""


@dataclass(frozen=True)
class Row:
    """One published result: a model on a benchmark."""

    name: str
    """MODEL/BENCHMARK, as `--reproduce` takes it"""
    recipe: str
    weights: str
    """file or hub id under which they were released; empty if they were not"""
    benchmark: str
    pictures: int | None
    """how many there have to be; None if nobody says"""
    expressions: int | None
    values: Mapping[str, float]
    """metric (a field of `Score`) -> percent"""
    source: Source

    @property
    def is_carried(self) -> bool:
        """Whether another program carried the masks of a few frames through the videos (VideoLISA's post-optimisation)."""
        return self.name.partition("/")[0].endswith(CARRIED)


@dataclass(frozen=True)
class Sheet:
    """The columns that a line of values fills: for each benchmark these metrics."""

    metrics: tuple[str, ...]
    benchmarks: tuple[str, ...]


# (pictures or videos, sentences), None where nobody says it; gRefCOCO's pictures are in the log of GSVA's README.
COUNTS: Mapping[str, tuple[int | None, int | None]] = {
    "ReasonSeg|val": (200, 200),
    "ReasonSeg|test": (779, 779),
    "refcoco|unc|val": (1500, 10834),
    "refcoco|unc|testA": (750, 5657),
    "refcoco|unc|testB": (750, 5095),
    "refcoco+|unc|val": (1500, 10758),
    "refcoco+|unc|testA": (750, 5726),
    "refcoco+|unc|testB": (750, 4889),
    "refcocog|umd|val": (1300, 4896),
    "refcocog|umd|test": (2600, 9602),
    "grefcoco|unc|val": (1500, None),
    "grefcoco|unc|testA": (750, None),
    "grefcoco|unc|testB": (750, None),
    "mevis|valid": (140, None),
    "mevis|valid_u": (50, None),
    "refytvos|valid": (202, None),
    "refdavis|valid": (30, None),
    "revos|valid": (416, None),
    "reasonvos|test": (91, 458),
}
REFCOCO = tuple(name for name in COUNTS if name.startswith("refcoco"))
GREFCOCO = tuple(name for name in COUNTS if name.startswith("grefcoco"))
SHEETS: Mapping[str, Sheet] = {
    "grefcoco": Sheet(("giou", "ciou", "n_acc", "t_acc"), GREFCOCO),
    "grefcoco 3": Sheet(("giou", "ciou", "n_acc"), GREFCOCO),
    "refcoco": Sheet(("ciou",), REFCOCO),
    "refcoco val": Sheet(("ciou",), tuple(name for name in REFCOCO if name.endswith("|val"))),
    "reasonseg": Sheet(
        ("giou", "ciou"),
        ("ReasonSeg|val", "ReasonSeg|test|short", "ReasonSeg|test|long", "ReasonSeg|test"),
    ),
    "video": Sheet(
        ("jf",),
        (
            "mevis|valid",
            "mevis|valid_u",
            "refytvos|valid",
            "refdavis|valid",
            "revos|valid",
            "reasonvos|test",
        ),
    ),
}
README, PAPER, HEARSAY = (
    0.2,
    0.5,
    1.0,
)  # points: measured with the code that is out; printed; quoted by others
SOURCES: Mapping[str, Source] = {
    "gsva readme": Source(
        "README of LeapLabTHU/GSVA at 618dc79: logs of 2024-09-08", "forced", "gsva", "fp32", README
    ),
    "gsva paper": Source("GSVA, CVPR 2024, table 1, second hand", "forced", "gsva", "fp32", HEARSAY),
    "gsva refcoco": Source("GSVA, CVPR 2024, table 3", "forced", "lisa", "fp32", PAPER),
    "lisa": Source("LISA, CVPR 2024, tables 1 and 2", "forced", "lisa", "bf16", PAPER),
    "videolisa": Source(
        "VideoLISA, NeurIPS 2024", "forced", None, "bf16", PAPER, conventions={"refdavis|valid": "official"}
    ),
    "glus": Source("README of GLUS-video/GLUS at 8fd138b", "generate", None, "bf16", PAPER),
    "sa2va": Source("Sa2VA, tables 6, 8 and 14", "generate", None, "bf16", PAPER),
}
# (model, recipe, weights, source, sheet, values: metrics of a benchmark joined by /, - where there is none)
LINES: tuple[tuple[str, str, str, str, str, str], ...] = (
    ("gsva-7b-pt", "gsva_7b", "gsva-7b-pt.bin", "gsva readme", "grefcoco",
     "63.47/61.65/56.98/99.54 69.99/69.17/63.39/98.46 61.34/60.26/58.68/98.95"),
    ("gsva-7b-ft-gres", "gsva_7b", "gsva-7b-ft-gres.bin", "gsva readme", "grefcoco",
     "66.43/63.19/62.56/99.62 71.06/69.87/65.72/98.69 62.20/60.35/60.72/99.10"),
    ("gsva-7b-paper", "gsva_7b", "gsva-7b-pt.bin", "gsva paper", "grefcoco 3",
     "63.32/61.70/56.45 70.11/69.23/63.50 61.34/60.26/58.42"),
    ("gsva-7b-ft-paper", "gsva_7b", "gsva-7b-ft-gres.bin", "gsva paper", "grefcoco 3",
     "66.47/63.29/62.43 71.08/69.93/65.31 62.23/60.47/60.56"),
    ("gsva-llama2-13b-ft", "gsva_llama2_13b", "", "gsva paper", "grefcoco 3", "70.04/66.38/66.02 - -"),
    ("lisa-7b", "lisa_7b", "", "gsva paper", "grefcoco 3", "32.2/38.7/2.7 - -"),
    ("lisa-7b-ft", "lisa_7b", "", "gsva paper", "grefcoco 3", "61.63/61.76/54.67 - -"),
    ("gsva-7b", "gsva_7b", "", "gsva refcoco", "refcoco", "76.4 77.4 72.8 64.5 67.7 58.6 71.1 72.0"),
    ("gsva-7b-ft", "gsva_7b", "", "gsva refcoco", "refcoco", "77.2 78.9 73.5 65.9 69.6 59.8 72.7 73.3"),
    ("gsva-13b", "gsva_13b", "", "gsva refcoco", "refcoco", "77.7 79.9 74.2 68.0 71.5 61.5 73.2 73.9"),
    ("gsva-13b-ft", "gsva_13b", "", "gsva refcoco", "refcoco", "78.2 80.4 74.2 67.4 71.5 60.9 74.2 75.6"),
    ("gsva-llama2-13b-ft", "gsva_llama2_13b", "", "gsva refcoco", "refcoco",
     "79.2 81.7 77.1 70.3 73.8 63.6 75.7 77.0"),
    ("lisa-7b", "lisa_7b", "", "lisa", "refcoco", "74.1 76.5 71.1 62.4 67.4 56.5 66.4 68.5"),
    ("lisa-7b-ft", "lisa_7b", "", "lisa", "refcoco", "74.9 79.1 72.3 65.1 70.8 58.1 67.9 70.6"),
    ("lisa-13b", "lisa_13b", "", "gsva refcoco", "refcoco", "73.4 76.2 69.5 62.3 66.6 56.3 68.2 68.5"),
    ("lisa-7b", "lisa_7b", "", "lisa", "reasonseg", "44.4/46.0 37.6/34.4 36.6/34.7 36.8/34.1"),
    ("lisa-7b-ft", "lisa_7b", "", "lisa", "reasonseg", "52.9/54.0 40.6/40.6 49.4/51.0 47.3/48.4"),
    ("lisa-13b", "lisa_13b", "", "lisa", "reasonseg", "48.9/46.9 39.9/43.3 46.4/46.5 44.8/45.8"),
    ("lisa-13b-ft", "lisa_13b", "", "lisa", "reasonseg", "56.2/62.9 44.3/42.0 54.0/54.3 51.7/51.1"),
    ("lisa-llama2-13b-ft", "lisa_llama2_13b", "", "lisa", "reasonseg", "60.0/67.8 - - -"),
    ("lisa-7b-llava1.5", "lisa_7b_llava15", "", "lisa", "reasonseg", "53.6/52.3 47.1/48.5 49.2/48.9 48.7/48.8"),
    ("lisa-7b-llava1.5-ft", "lisa_7b_llava15", "", "lisa", "reasonseg",
     "61.3/62.9 48.3/46.3 57.9/59.7 55.6/56.9"),
    ("lisa-13b-llava1.5", "lisa_13b_llava15", "", "lisa", "reasonseg",
     "57.7/60.3 50.8/50.0 54.7/50.9 53.8/50.8"),
    ("lisa-13b-llava1.5-ft", "lisa_13b_llava15", "", "lisa", "reasonseg",
     "65.0/72.9 55.4/50.6 63.2/65.3 61.3/62.2"),
    ("lisa-7b", "lisa_7b", "", "videolisa", "video", "- 43.2 50.2 58.4 - 31.1"),
    ("lisa-13b", "lisa_13b", "", "videolisa", "video", "- - 52.6 60.7 - -"),
    ("videolisa-3.8b", "videolisa_3_8b", "ZechenBai/VideoLISA-3.8B", "videolisa", "reasonseg",
     "61.4/67.1 43.8/42.7 56.9/57.7 53.8/54.4"),
    ("videolisa-3.8b", "videolisa_3_8b", "ZechenBai/VideoLISA-3.8B", "videolisa", "refcoco",
     "73.8 76.6 68.8 63.4 68.8 56.2 68.3 68.8"),
    ("videolisa-3.8b", "videolisa_3_8b", "ZechenBai/VideoLISA-3.8B", "videolisa", "video",
     "42.3 51.7 61.7 67.7 - 45.1"),
    ("videolisa-3.8b-po", "videolisa_3_8b", "ZechenBai/VideoLISA-3.8B", "videolisa", "video",
     "44.4 54.5 63.7 68.8 - 47.5"),
    ("glus-s-partial", "glus_s_partial", "Swindl/GLUS-S-partial", "glus", "video", "49.5 - 65.2 - - -"),
    ("glus-s", "glus_s", "Swindl/GLUS-S", "glus", "video", "50.3 - 66.6 - - -"),
    ("glus-a", "glus_a", "Swindl/GLUS-A", "glus", "video", "51.3 - 67.3 - 54.9 49.9"),
    ("sa2va-1b", "sa2va_1b_released", "", "sa2va", "video", "41.7 50.8 65.3 72.3 47.6 -"),
    ("sa2va-4b", "sa2va_4b_released", "", "sa2va", "video", "46.2 52.1 70.0 73.8 53.2 -"),
    ("sa2va-8b", "sa2va_8b_released", "", "sa2va", "video", "46.9 57.0 70.7 75.2 57.6 -"),
    ("sa2va-26b", "sa2va_26b", "", "sa2va", "video", "46.2 57.3 70.1 77.0 58.4 -"),
    ("sa2va-1b-internvl2.5", "sa2va_1b_released", "ByteDance/Sa2VA-1B", "sa2va", "video", "- 53.4 68.0 69.5 - -"),
    ("sa2va-4b-internvl2.5", "sa2va_4b_released", "ByteDance/Sa2VA-4B", "sa2va", "video", "- 55.9 71.3 73.7 - -"),
    ("sa2va-8b-internvl2.5", "sa2va_8b_released", "ByteDance/Sa2VA-8B", "sa2va", "video", "- 58.9 72.3 75.9 - -"),
    ("sa2va-26b-internvl2.5", "sa2va_26b", "ByteDance/Sa2VA-26B", "sa2va", "video", "- 61.8 75.1 78.6 - -"),
    ("sa2va-1b", "sa2va_1b", "", "sa2va", "refcoco val", "77.4 69.9 72.3"),
    ("sa2va-4b", "sa2va_4b", "", "sa2va", "refcoco val", "80.4 74.3 76.7"),
    ("sa2va-8b", "sa2va_8b", "", "sa2va", "refcoco val", "81.9 76.5 78.9"),
    ("sa2va-26b", "sa2va_26b", "", "sa2va", "refcoco val", "82.5 78.8 79.7"),
    ("sa2va-1b-internvl2.5", "sa2va_1b", "ByteDance/Sa2VA-1B", "sa2va", "refcoco val", "79.6 73.6 77.7"),
    ("sa2va-4b-internvl2.5", "sa2va_4b", "ByteDance/Sa2VA-4B", "sa2va", "refcoco val", "82.4 77.6 79.7"),
    ("sa2va-8b-internvl2.5", "sa2va_8b", "ByteDance/Sa2VA-8B", "sa2va", "refcoco val", "82.6 78.0 80.3"),
    ("sa2va-26b-internvl2.5", "sa2va_26b", "ByteDance/Sa2VA-26B", "sa2va", "refcoco val", "82.9 79.3 81.2"),
)  # fmt: skip
MAKERS = ("unc", "umd")  # left out of a row's name, as papers do


@cache
def rows() -> Mapping[str, Row]:
    """Name -> row, in the order of LINES."""
    found: dict[str, Row] = {}
    for model, recipe, weights, source, sheet, values in LINES:
        columns, cells = SHEETS[sheet], values.split()
        for benchmark, cell in zip(columns.benchmarks, cells, strict=True):
            if cell == "-":
                continue
            numbers = [float(number) for number in cell.split("/")]
            pictures, expressions = COUNTS.get(benchmark, (None, None))
            name = f"{model}/{short(benchmark)}"
            assert name not in found, f"two rows are called {name}"
            found[name] = Row(
                name=name,
                recipe=recipe,
                weights=weights,
                benchmark=benchmark,
                pictures=pictures,
                expressions=expressions,
                values=dict(zip(columns.metrics, numbers, strict=True)),
                source=SOURCES[source],
            )
    return found


def short(benchmark: str) -> str:
    """`grefcoco|unc|val` -> `grefcoco-val`, `ReasonSeg|test|short` -> `reasonseg-test-short`."""
    name, *fields = benchmark.split("|")
    return "-".join([name.lower(), *(field for field in fields if field not in MAKERS)])


def row(name: str) -> Row:
    """The row of that name; upper and lower case do not matter. Raises ValueError with the nearest names if there is none."""
    known = rows()
    plain = {one.lower(): one for one in known}
    if name.lower() not in plain:
        raise ValueError(unknown("published row", name, known, more=f"{len(known)} rows: --reproduce list"))
    return known[plain[name.lower()]]


def listing(word: str = "") -> str:
    """A heading, and a line for each row: its values in percent, the recipe, the weights, who published it.

    word: only rows that have it in one of these; upper and lower case do not matter. Raises ValueError if none has.
    """
    lines = []
    for one in rows().values():
        values = ", ".join(f"{metric} {value:g}" for metric, value in one.values.items())
        weights = one.weights or "(weights not released)"
        lines.append(_line(one.name, values, one.recipe, weights, one.source.cited))
    chosen = [line for line in lines if word.lower() in line.lower()]
    if not chosen:
        models = ", ".join(dict.fromkeys(name.partition("/")[0] for name in rows()))
        raise ValueError(f"--reproduce list:{word}: no row has this word; models are {models}")
    heading = _line("row", "published, percent", "recipe", "weights", "source")
    return "\n".join(
        [
            heading,
            *chosen,
            f"{len(chosen)} of {len(lines)} rows; --reproduce list:WORD shows those with a word",
        ]
    )


def _line(name: str, values: str, recipe: str, weights: str, source: str) -> str:
    return f"{name:42}{values:58}{recipe:18}{weights:28}{source}"
