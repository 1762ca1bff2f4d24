"""Build backend: setuptools, after writing the gRPC message stubs from the protos.

`python protos/backend.py` writes the stubs alone. They are made with the oldest
supported protoc, so that every protobuf runtime from 4.25 to 7 loads them, and
live in a descriptor pool of their own, so that two versions of the add-on can
be loaded in one Blender session.
"""

import os
import re
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
TARGETS = (
    ROOT / "model_server" / "service" / "stubs",
    ROOT / "blender_addon" / "client" / "stubs",
)
INIT = '''"""Generated from protos/; do not edit."""

from google.protobuf import descriptor_pool

POOL = descriptor_pool.DescriptorPool()
'''


def _localised(code: str) -> str:
    """Make one generated module, or its type stub, relocatable: relative imports, private pool."""
    code = re.sub(r"^from posedub\.v1 import (\w+) as", r"from . import \1 as", code, flags=re.M)
    return code.replace("_descriptor_pool.Default()", "POOL").replace(
        "from google.protobuf import descriptor_pool as _descriptor_pool", "from . import POOL"
    )


def generate(targets=TARGETS) -> None:
    """Write `<name>_pb2.py` for each proto file into every target folder."""
    from grpc_tools import protoc

    sources = sorted(str(p.relative_to(PROTOS)) for p in PROTOS.glob("posedub/v1/*.proto"))
    for target in map(Path, targets):
        target.mkdir(parents=True, exist_ok=True)
        (target / "__init__.py").write_text(INIT)
        if protoc.main(["protoc", f"-I{PROTOS}", f"--python_out={target}", f"--pyi_out={target}", *sources]) != 0:
            raise SystemExit("protoc failed; see its message above")
        for made in (target / "posedub" / "v1").glob("*_pb2.py*"):
            (target / made.name).write_text(_localised(made.read_text()))
            made.unlink()
        os.removedirs(target / "posedub" / "v1")


def build_wheel(*args, **kwargs):
    """PEP 517 hook."""
    generate()
    return build_meta.build_wheel(*args, **kwargs)


def build_editable(*args, **kwargs):
    """PEP 660 hook."""
    generate()
    return build_meta.build_editable(*args, **kwargs)


if __name__ == "__main__":
    generate()
