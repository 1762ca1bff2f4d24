"""`posedub` without its marks or without its sandbox, to see what either costs.

python -m tests.provenance.without marks dub --portrait ... --out dub.mp4     # or: sandbox, nothing
"""

from __future__ import annotations

import sys

from model_server.cli import marks as signing
from model_server.cli.main import main
from model_server.jobs import marks
from model_server.sandbox import limits


class Unsigned:
    """Signs nothing."""

    sign_movie = sign_folder = staticmethod(lambda *_arguments: None)


def without_marks() -> None:
    """Frames carry no XMP, neither movie nor folder is signed, and what signs is not even loaded."""
    marks.marking = lambda _mark: lambda png: png
    signing.dub_signer, signing.signed = lambda _options: None, lambda *_arguments: Unsigned


def without_sandbox() -> None:
    """Media are decoded in the command's own process."""
    limits.available = lambda: False


LEFT_OUT = {"marks": without_marks, "sandbox": without_sandbox, "nothing": lambda: None}

if __name__ == "__main__":
    LEFT_OUT[sys.argv.pop(1)]()
    sys.exit(main())
