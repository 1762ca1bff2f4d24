"""Files of equal pictures are equal, whatever process writes them and whatever it wrote before."""

from __future__ import annotations

import hashlib
import subprocess
import sys

# Flat pictures, as many as show it: of isal's levels 1 and 2 a file in some thousands differs from process to process.
WRITING = """
import hashlib, random, sys
import numpy as np
from model_server.pipeline.media.encode import encode_png
order = list(range(12_000))
random.Random(int(sys.argv[1])).shuffle(order)
written = {}
for number in order:
    colour = random.Random(number).choices(range(256), k=3)
    written[number] = hashlib.sha256(encode_png(np.full((64, 64, 3), colour, np.uint8))).digest()
sys.stdout.buffer.write(b"".join(written[number] for number in sorted(written)))
"""


def test_files_do_not_depend_on_what_was_written_before() -> None:
    written = [subprocess.run([sys.executable, "-c", WRITING, str(seed)], check=True, capture_output=True).stdout
               for seed in range(3)]  # fmt: skip
    size = hashlib.sha256().digest_size
    differing = [at for at in range(0, len(written[0]), size) if len({one[at : at + size] for one in written}) > 1]
    assert len(written[0]) == 12_000 * size and not differing
