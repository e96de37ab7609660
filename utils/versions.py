"""Whether the installed packages are those that this code was tried with: the ranges of requirements.txt."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

LIST = Path(__file__).resolve().parents[1] / "requirements.txt"
PYTHON = (3, 11)


@dataclass(frozen=True)
class Package:
    """One line of the list, and what is installed of it."""

    wanted: Requirement
    installed: str | None
    """None if it is absent"""

    @property
    def fits(self) -> bool:
        return self.installed is not None and self.wanted.specifier.contains(self.installed, prereleases=True)

    def __str__(self) -> str:
        return f"{self.wanted.name} {self.installed or 'is absent'} (tried with {self.wanted.specifier or 'any'})"


def listed() -> list[Requirement]:
    """What SegLM needs at run time, by the checkout's list or by that of the installed package."""
    if LIST.is_file():
        lines = [line.partition("#")[0].strip() for line in LIST.read_text(encoding="utf-8").splitlines()]
        return [Requirement(line) for line in lines if line]
    return [wanted for wanted in map(Requirement, requires("seglm") or ()) if wanted.marker is None]


def packages(wanted: Iterable[Requirement] | None = None) -> list[Package]:
    """Each needed package with the version that is here."""
    return [Package(one, _installed(one.name)) for one in (listed() if wanted is None else wanted)]


def outside(found: Iterable[Package] | None = None) -> list[str]:
    """A line for each package that is absent or was not tried, Python included, and the command that mends it."""
    odd = [package for package in (packages() if found is None else found) if not package.fits]
    lines = [str(package) for package in odd]
    if sys.version_info < PYTHON:
        lines.append(f"Python {sys.version.split()[0]} (needed is {'.'.join(map(str, PYTHON))} or newer)")
    if odd:
        mended = " ".join(f'"{package.wanted}"' for package in odd)
        lines.append(f"next: pip install {mended}")
    return lines


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
