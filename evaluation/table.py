"""Several scores side by side: rows are models and controls, columns are kinds of expressions; as Markdown and as a picture.

python -m seglm.evaluation.table --out FOLDER [--title T] "untrained=runs/a/eval" "trained=runs/b/eval" ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageDraw

from seglm.evaluation.pictures.text import BAND, FAINT, INK, LINE, Colour, blank, font, shortened, write
from seglm.evaluation.scores import columns
from seglm.evaluation.scores.columns import Column
from seglm.evaluation.scores.report import read_scores
from seglm.evaluation.scores.results import Scores
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable
from seglm.utils.ranges import place

MISSING = "-"
NAME_WIDTH, CELL_WIDTH, CELL_HEIGHT, MARGIN = 250, 86, 30, 16
HEAD_HEIGHT, TITLE_HEIGHT = 48, 46
GOOD: Colour = (0, 158, 115)
SHADE = 0.55  # how strongly a cell of 1.0 is coloured


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    counts: tuple[int, ...]
    """how many expressions a column is about"""
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    """(name, a value from 0 to 1 for each column or None)"""
    note: str = ""
    """below the table: convention and protocol, of each row where they differ, and whose weights have seen these data"""


def table(rows: Mapping[str, Scores], *, title: str) -> Table:
    """gIoU or J&F over all and for every kind, then the other numbers; where some expressions have no referent, the number of the
    others stands beside the overall one, and N-acc and T-acc at the end.

    rows: name -> scores, all of one benchmark. Raises ValueError if they are of several, as their numbers do not compare.
    """
    benchmarks = sorted({scores.benchmark for scores in rows.values()})
    if len(benchmarks) != 1:
        raise ValueError(f"a table is about one benchmark, not {len(benchmarks)}: {', '.join(benchmarks)}")
    found = {name: numbers(scores) for name, scores in rows.items()}
    names = tuple(dict.fromkeys(name for row in found.values() for name in row))
    counts = tuple(next(row[name].n for row in found.values() if name in row) for name in names)
    lines = tuple(
        (name, tuple(row[one].value if one in row else None for one in names)) for name, row in found.items()
    )
    leaks = [f"LEAK: {name}: {scores.leak}" for name, scores in rows.items() if scores.leak]
    convention = _of_each({name: scores.convention for name, scores in rows.items()})
    asked = {name: f"{scores.all.n} expressions" for name, scores in rows.items()}
    others = [
        *(
            ["NOT COMPARABLE, averaged differently"]
            if len({one.convention for one in rows.values()}) > 1
            else []
        ),
        *([f"NOT COMPARABLE, {_of_each(asked)}"] if len(set(asked.values())) > 1 else []),
    ]
    protocol = _of_each({name: scores.protocol for name, scores in rows.items()})
    return Table(
        title, names, counts, lines, note=". ".join([*others, convention, f"Protocol {protocol}", *leaks])
    )


def numbers(scores: Scores) -> dict[str, Column]:
    """The columns of a benchmark's table by name, in order: the number it is known by, the same for each kind, the rest."""
    every = {column.name: column for column in columns.columns(scores.all, short=True)}
    kinds = {kind: Column(kind, score.n, columns.main(score)) for kind, score in scores.kinds.items()}
    front = {
        name: every.pop(name) for name in (columns.name_of(scores.all), columns.POSITIVES) if name in every
    }
    return {**front, **kinds, **every}


def markdown(content: Table) -> str:
    """The table as Markdown, values in percent with one decimal."""
    names = [f"{column} ({count})" for column, count in zip(content.columns, content.counts, strict=True)]
    lines = [
        f"### {content.title}",
        "",
        "| | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
        *(
            f"| {name} | " + " | ".join(_spell(value) for value in values) + " |"
            for name, values in content.rows
        ),
        "",
        f"Percent. {content.note}.",
    ]
    return "\n".join(lines) + "\n"


def save_picture(content: Table, path: Path) -> None:
    """The table as a PNG, cells shaded by value."""
    width = 2 * MARGIN + NAME_WIDTH + CELL_WIDTH * len(content.columns)
    note_height = 20 * (1 + int(font(11).getlength(content.note)) // (width - 2 * MARGIN)) + 12
    bottom = TITLE_HEIGHT + HEAD_HEIGHT + CELL_HEIGHT * len(content.rows)
    image, pen = blank(width, bottom + note_height + MARGIN)
    write(pen, (MARGIN, 14), content.title, width=width - 2 * MARGIN, size=16, bold=True)
    pen.rectangle((0, TITLE_HEIGHT, width, TITLE_HEIGHT + HEAD_HEIGHT - 1), fill=BAND)
    for number, (column, count) in enumerate(zip(content.columns, content.counts, strict=True)):
        left = MARGIN + NAME_WIDTH + number * CELL_WIDTH
        _centred(pen, left, TITLE_HEIGHT + 8, column, size=12, bold=True)
        _centred(pen, left, TITLE_HEIGHT + 27, f"n = {count}", size=10, colour=FAINT)
    for line, (name, values) in enumerate(content.rows):
        top = TITLE_HEIGHT + HEAD_HEIGHT + line * CELL_HEIGHT
        write(pen, (MARGIN, top + 7), shortened(name, NAME_WIDTH - 8, font(13)), width=NAME_WIDTH, size=13)
        for number, value in enumerate(values):
            left = MARGIN + NAME_WIDTH + number * CELL_WIDTH
            if value is not None:
                pen.rectangle(
                    (left + 1, top + 1, left + CELL_WIDTH - 2, top + CELL_HEIGHT - 2), fill=_shade(value)
                )
            _centred(pen, left, top + 7, _spell(value), size=13, colour=INK if value is not None else FAINT)
        pen.line((MARGIN, top + CELL_HEIGHT, width - MARGIN, top + CELL_HEIGHT), fill=LINE)
    note = f"Percent. {content.note}."
    write(pen, (MARGIN, bottom + 10), note, width=width - 2 * MARGIN, size=11, colour=FAINT, max_lines=12)
    image.save(path, optimize=True)


def write_table(folder: Path, rows: Mapping[str, Scores], *, title: str) -> str:
    """Writes table.md and table.png into `folder`; returns the Markdown."""
    content = table(rows, title=title)
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(content)
    (folder / "table.md").write_text(text, encoding="utf-8")
    save_picture(content, folder / "table.png")
    return text


@command
def main(arguments: Sequence[str] | None = None) -> str:
    """The command line at the top of this file; returns the Markdown."""
    parser = Parser(prog="python -m seglm.evaluation.table", description="scores side by side")
    parser.add_argument("--out", type=place, required=True, help="folder for table.md and table.png")
    parser.add_argument("--title", default="Scores")
    parser.add_argument(
        "rows", nargs="+", metavar="NAME=FOLDER", help="a row: its name and the folder with its scores.json"
    )
    given = parser.parse_args(arguments)
    check_writable(given.out, "--out")
    rows: dict[str, Scores] = {}
    for row in given.rows:
        name, equals, folder = row.partition("=")
        if not equals:
            parser.error(f"{row!r} is not NAME=FOLDER")
        if name in rows:
            parser.error(f"two rows are called {name!r}; give each a name of its own")
        rows[name] = read_scores(Path(folder))
    return write_table(given.out, rows, title=given.title)


def _of_each(said: Mapping[str, str]) -> str:
    """What is said of all rows, or each of it behind the names of its rows."""
    groups: dict[str, list[str]] = {}
    for name, one in said.items():
        groups.setdefault(one, []).append(name)
    return "; ".join(
        groups if len(groups) == 1 else [f"{', '.join(own)}: {one}" for one, own in groups.items()]
    )


def _spell(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.1f}"


def _shade(value: float) -> Colour:
    share = SHADE * min(1.0, max(0.0, value))
    red, green, blue = (round(255 + (tone - 255) * share) for tone in GOOD)
    return red, green, blue


def _centred(
    pen: ImageDraw.ImageDraw,
    left: int,
    top: int,
    text: str,
    *,
    size: int,
    bold: bool = False,
    colour: Colour = INK,
) -> None:
    face = font(size, bold=bold)
    short = shortened(text, CELL_WIDTH - 6, face)
    pen.text((left + (CELL_WIDTH - face.getlength(short)) / 2, top), short, font=face, fill=colour)


if __name__ == "__main__":
    print(main())  # noqa: T201
