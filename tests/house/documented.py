"""The commands that README.md and docs/ print, and what each of them says it needs.

A command is a line of a fenced `bash`, `sh` or `console` block, continued lines joined, or inline code that starts a program of
this repository. One with `...` or `<...>` in it is a form to be filled in, and no command. README.md explains the mark: a
command that ends with `# needs weights, data` asks for what no test has; in running text `(needs ...)` follows the code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.house.tree import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NEEDS = ("weights", "data", "gpu", "hours")
"""released weights at full size; published data sets; a CUDA GPU; hours of computing"""
FENCED = re.compile(r"^```(bash|sh|console)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
INLINE = re.compile(
    r"`((?:\w+=\S+ )*(?:bash|sh|python|deepspeed|torchrun|srun|make) [^`]+)`(?:[ \n]\(needs ([\w, ]+)\))?"
)
MARK = re.compile(r"\s+# needs ([\w, ]+)$")
COMMENT = re.compile(r"\s+# .*$")


@dataclass(frozen=True)
class Command:
    document: str
    line: str
    """as printed, without comment and the prompt of a console"""
    needs: tuple[str, ...] = ()


def documented(document: Path) -> list[Command]:
    """The commands of a document, those of its blocks first."""
    text = document.read_text(encoding="utf-8")
    found = []
    for language, block in FENCED.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if language == "console":
                if not line.startswith("$ "):
                    continue  # what the command says
                line = line.removeprefix("$ ")
            mark = MARK.search(line)
            found.append(Command(document.name, COMMENT.sub("", line), _words(mark[1] if mark else "")))
    found += [Command(document.name, line, _words(needs)) for line, needs in INLINE.findall(text)]
    return [one for one in found if one.line.strip() and not re.search(r"\.\.\.|<\w+>", one.line)]


def _words(needs: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in needs.split(",") if word.strip())


def commands(document: Path) -> list[str]:
    """Only the lines."""
    return [command.line for command in documented(document)]


ALL = [command for document in DOCUMENTS for command in documented(document)]
