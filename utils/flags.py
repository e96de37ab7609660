"""Flags of the commands that read them with argparse: what is wrong with them is one line, and a slip gets the nearest name.

Half a name is none: `--dataset reason_seg`, a flag of train_ds.py, would be taken for the beginning of `--dataset_dir`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from seglm.utils.cli import BY_NAME
from seglm.utils.did_you_mean import unknown

WRONG_FLAGS = 2  # argparse's own exit status


class Parser(argparse.ArgumentParser):
    """An argparse parser that ends in one `error:` line, without the usage, and names the flag that was meant."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(allow_abbrev=False, **arguments)

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"error: {message} ({self.prog} --help)\n")
        sys.exit(WRONG_FLAGS)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's; a flag that there is not is said first, whatever else is missing because of it. Settings may stand
        before, behind and between flags."""
        known = self._option_string_actions
        for word in sys.argv[1:] if args is None else args:
            name = word.partition("=")[0]
            if name == "--":
                break
            is_flag = name.startswith("--") and " " not in name
            if is_flag and name not in known:
                flags = [flag for flag in known if flag.startswith("--")]
                self.error(unknown("flag", name, flags) + self._as_setting(name))
        return super().parse_intermixed_args(args, namespace)

    def _as_setting(self, name: str) -> str:
        """How a command that takes `field=value` is told what a flag of train_ds.py says there."""
        flag = BY_NAME.get(name.removeprefix("--").replace("-", "_"))
        if flag is None or not flag.sets or all(action.dest != "settings" for action in self._actions):
            return ""
        return f" Here {flag.sets[0]}=VALUE says what --{flag.name} says to train_ds.py"
