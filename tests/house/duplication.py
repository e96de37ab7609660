"""The duplication gate: the share of code lines that lie in a window of eight which occurs a second time.

Whitespace, comments, docstrings and imports do not count. Run as `python -m tests.house.duplication [--list]`; fails above MOST.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable

from tests.house.tree import ROOT, sources

WINDOW = 8
MOST = 0.03
SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}

Line = tuple[int, str]
"""(line number, the line's tokens joined by spaces)"""


def code_lines(source: str) -> list[Line]:
    """The lines of code in `source` without whitespace, comments, docstrings and imports."""
    skipped: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        is_text = (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        )
        if is_text or isinstance(node, (ast.Import, ast.ImportFrom)):
            skipped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    words: dict[int, list[str]] = defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in SILENT and token.start[0] not in skipped:
            words[token.start[0]].append(token.string)
    # A line that only closes brackets says nothing.
    lines = ((number, " ".join(words[number])) for number in sorted(words))
    return [line for line in lines if line[1].strip(" )]},:")]


def repeats(files: Iterable[tuple[str, list[Line]]]) -> tuple[dict[str, set[int]], int]:
    """For each file the numbers of its repeated lines, and the number of all code lines."""
    places: dict[tuple[str, ...], list[tuple[str, list[int]]]] = defaultdict(list)
    total = 0
    for name, lines in files:
        total += len(lines)
        for start in range(len(lines) - WINDOW + 1):
            window = lines[start : start + WINDOW]
            places[tuple(text for _, text in window)].append((name, [number for number, _ in window]))
    found: dict[str, set[int]] = defaultdict(set)
    for copies in places.values():
        if len(copies) > 1:
            for name, numbers in copies:
                found[name].update(numbers)
    return found, total


def main(arguments: list[str]) -> int:
    """Prints the share, with --list also every repeated stretch; returns 1 above MOST."""
    read = [(str(file.relative_to(ROOT)), code_lines(file.read_text(encoding="utf-8"))) for file in sources()]
    found, total = repeats(read)
    count = sum(len(numbers) for numbers in found.values())
    share = count / max(1, total)
    if "--list" in arguments or share > MOST:
        for name, numbers in sorted(found.items(), key=lambda item: -len(item[1])):
            print(f"{name}: {len(numbers)} lines, from {min(numbers)} to {max(numbers)}")
    print(f"{count} of {total} lines of code repeat ({share:.1%}; at most {MOST:.0%})")
    return int(share > MOST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
