"""The parser of all subcommands."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NoReturn

from model_server.cli.options import path

WRONG_USAGE = 2


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; all options are listed by --help. Paths are never empty."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", Path, path)

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USAGE, f"{self.prog}: {message}{self.form_of(message)}; see {self.prog} --help.\n")

    def form_of(self, message: str) -> str:
        """How the value is written that an option lacks; what begins with a minus is taken for an option."""
        lacking = re.fullmatch(r"argument (\S+): expected one argument", message)
        action = self._option_string_actions.get(lacking[1].split("/")[0]) if lacking else None
        return f": {action.metavar}" if action and action.metavar else ""
