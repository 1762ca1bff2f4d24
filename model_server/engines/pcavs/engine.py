"""The PC-AVS engine: the four networks, on a processor a frame for each core, on a GPU in batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_server.engines.base import (
    MARGIN,
    Condition,
    Engine,
    FrameSource,
    Performance,
    PrecisionChoice,
    Relief,
    Views,
    WeightsInfo,
)
from model_server.engines.pcavs.conditioning import WindowConditioning
from model_server.engines.pcavs.cuda_graphs import Draw, Drawings, copies_from, fitting_pictures
from model_server.engines.pcavs.identity import Identity, held, surface_of
from model_server.engines.pcavs.in_place import InPlaceIdentity, LowerFaces
from model_server.engines.pcavs.precision import drawing, optimized, reading
from model_server.engines.pcavs.spoken_lips import LipReader
from model_server.engines.pcavs.weights import NAME
from model_server.engines.registry import check_size
from model_server.engines.runtime import setting as runtime_setting
from model_server.engines.runtime.priority_lock import PriorityLock, in_a_hurry
from model_server.engines.runtime.row_cache import RowCache, row_groups
from model_server.engines.runtime.thread_pool import crew_for
from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.cpu import loops
from model_server.networks.pcavs.model import Networks, OwnCodes
from model_server.networks.pcavs.presets import PresetName

Result = TypeVar("Result")
log = logging.getLogger(__name__)

# Rows of one encoder call. A processor makes several calls side by side.
ROWS = {"cpu": 4, "cuda": 16, "mps": 16, "xpu": 16}
# Pictures of one call of a processor's generator: of a small one more, or calling takes longer than drawing. A GPU
# draws as many as its memory holds.
PICTURES: dict[PresetName, int] = {"full": 2, "lite": 4, "lite-in-place": 4}
# Calls of the generator in a batch, for each processor: at a batch's end they wait for each other, and what is drawn is
# encoded only then. On a GPU pictures of the first are copied while the second is drawn.
CALLS = 2


class PcavsEngine:
    """Implements `Engine` with PC-AVS networks.

    All pictures are uint8 RGB and have already lost the border that the networks do not see. A result depends only on
    its own row, never on the other rows of a call.

    Args:
        networks: in evaluation mode; the engine takes them over.
        weights: what the networks were filled with.
        device: "cpu", or a kind of GPU.
        precision: of the generator and, on a processor, of the pose encoder, "auto" for what pays by measurement; the
            other encoders are cheap and always run in float32.
        rows: and pictures of one call, the device's default when None. It may change a picture's last bits.
    """

    def __init__(
        self,
        networks: Networks,
        weights: WeightsInfo,
        device: str,
        precision: PrecisionChoice,
        rows: int | None = None,
    ) -> None:
        self.weights, self.device = weights, device
        self._threads = crew_for(device)
        self._networks, self.precision = optimized(networks, device, precision)
        preset, measured = networks.preset.name, device == "cuda"
        self._rows = rows or ROWS[device]
        self._pictures = rows or (fitting_pictures(self._networks, self.precision) if measured else PICTURES[preset])
        self._draw: Draw = Drawings(self._drawn) if device == "cuda" else self._drawn
        self._copies = copies_from(device)
        self.forget()
        self._noise: tuple[int, list[Tensor]] | None = None
        self._turns = PriorityLock()

    @property
    def compiling(self) -> bool:
        """See `Engine.compiling`."""
        return self.device == "cpu" and loops.busy()

    @property
    def batch_size(self) -> int:
        """See `Engine.batch_size`."""
        alone = self.device == "cpu" and self._threads.size == 1  # nobody waits for anybody
        return max(self._pictures, self._rows) if alone else self._pictures * CALLS * self._threads.size

    @property
    def first_batch(self) -> int:
        """See `Engine.first_batch`."""
        return self._pictures * self._threads.size

    def identity_of(self, portrait: Views | None, size: int) -> Identity:
        """See `Engine.identity_of`."""
        if portrait is None:
            raise ValueError("PC-AVS draws the person of a portrait")
        check_size(size, self.weights)
        return self._in_turn(lambda: self._identity(portrait.seen[None], portrait.surrounded, portrait.relief))

    def identity_in(self, references: Sequence[FrameSource]) -> InPlaceIdentity | Identity:
        """See `Engine.identity_in`."""
        if self._networks.lower_face is None:
            return self.identity(np.stack([reference.picture for reference in references]))
        look = LowerFaces.of(self._networks, self.device).identity
        return self._in_turn(lambda: self._threads.run(partial(look, references)))

    def identity(
        self, crops: NDArray[np.uint8], portrait: NDArray[np.uint8] | None = None, relief: Relief | None = None
    ) -> Identity:
        """Identity of a portrait; several crops of one person are averaged.

        Args:
            crops: (n, 224, 224, 3).
            portrait: what the first crop shows, (size, size, 3) with the size that frames shall have; the first crop
                when None.
            relief: of the first crop; without it the codes alone tell how the head turns.

        Raises:
            PoseDubError: these weights cannot draw at that size.
        """
        picture = crops[0] if portrait is None else portrait
        check_size(picture.shape[0], self.weights)
        around = picture.shape[0] // MARGIN
        surrounded = np.pad(picture, ((around, around), (around, around), (0, 0)), "edge")
        return self._in_turn(lambda: self._identity(crops, surrounded, relief))

    def pose_codes(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.pose_codes`."""

        def encode() -> NDArray[np.float32]:
            groups = self._threads.map(self._read, np.array_split(crops, range(self._rows, len(crops), self._rows)))
            return np.concatenate([poses for _, poses in groups])

        return self._in_turn(encode)

    def speech_contents(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Speech contents (n, feature size) of log-mel windows (n, 80, 20) in [0, 1]; they are remembered."""
        return self._in_turn(lambda: self._contents(windows).cpu().numpy())

    def conditioning(self, performance: Performance) -> WindowConditioning:
        """See `Engine.conditioning`."""
        if not performance.in_place or self._lips is None:
            return WindowConditioning(performance)
        return WindowConditioning(performance, partial(self._lips.shapes, performance.speech, performance.fps))

    def draw(
        self, identity: Identity | InPlaceIdentity, conditions: Sequence[Condition], seed: int
    ) -> NDArray[np.uint8]:
        """See `Engine.draw`."""
        if isinstance(identity, InPlaceIdentity):
            return self._in_turn(lambda: self._in_place(identity, conditions))
        windows, gains, codes, lids, _ = zip(*(condition.value for condition in conditions), strict=True)
        gain, closed = np.array(gains, np.float32), np.array(lids, np.float32)
        return self.frames(identity, np.stack(windows), np.stack(codes), gain, seed, closed)

    def frames(
        self,
        identity: Identity,
        windows: NDArray[np.float32],
        codes: NDArray[np.float32],
        gain: float | NDArray[np.float32],
        seed: int,
        lids: float | NDArray[np.float32] = 0.0,
    ) -> NDArray[np.uint8]:
        """Draw frames (n, size, size, 3).

        Args:
            identity: of the person to draw.
            windows: log-mel windows (n, 80, 20) in [0, 1].
            codes: pose codes (n, 12).
            gain: of the speech content, 1.2 in the published recipe; one for all frames, or (n,).
            seed: of the generator's noise, in [0, 2^64); the same for all frames of a job.
            lids: how far they are closed, 0 to 1; one for all frames, or (n,). The portrait's count as open. Weights
                that do not know lids leave them as they are.
        """
        count = len(windows)
        gains, closed = (np.broadcast_to(np.float32(value), count)[:, None] for value in (gain, lids))

        def make() -> NDArray[np.uint8]:
            noise = self._noise_maps(seed)
            styles = self._styles(identity, self._contents(windows), gains, codes, closed)[:count]
            turned = identity.turned(codes, self.weights.pose_map, self._threads)
            return self._pictures_of(identity, self._padded(styles), self._padded(turned), noise)[:count].numpy()

        return self._in_turn(make)

    def _in_place(self, identity: InPlaceIdentity, conditions: Sequence[Condition]) -> NDArray[np.uint8]:
        """Lower faces RGBA (n, side, side, 4) drawn into n frames."""
        faces = LowerFaces.of(self._networks, self.device)
        contents = self._contents(np.stack([condition.value.window for condition in conditions]))

        def draw(row: int) -> NDArray[np.uint8]:
            said, source = conditions[row].value, conditions[row].source
            if source is None:
                raise ValueError("a frame that is drawn into must be given")
            return faces.draw(identity, source, contents[row : row + 1], said)

        return np.stack(self._threads.map(draw, range(len(conditions))))

    def _styles(
        self,
        identity: Identity,
        contents: Tensor,
        gains: NDArray[np.float32],
        codes: NDArray[np.float32],
        lids: NDArray[np.float32],
    ) -> Tensor:
        """Style vectors (n or more, style size) of contents (n, feature), gains (n, 1), poses and lids (n, 1)."""

        @torch.inference_mode()
        def style(rows: NDArray[np.intp]) -> Tensor:
            content = contents[torch.from_numpy(rows)] * self._tensor(gains[rows])
            return self._style(identity, content, self._tensor(codes[rows]), self._tensor(lids[rows]))

        return torch.cat(self._threads.map(style, row_groups(len(codes), self._rows)))

    def _pictures_of(self, identity: Identity, styles: Tensor, turned: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Pictures uint8 (n, size, size, 3), in the host's memory, of style vectors and offsets for whole calls."""

        @torch.inference_mode()
        def draw(call: tuple[Tensor, Tensor]) -> Tensor:
            style, offsets = call
            return self._copies.begin(self._draw(identity.map, style, identity.portrait, self._moved(offsets), *noise))

        calls = zip(styles.split(self._pictures), turned.split(self._pictures), strict=True)
        pictures = self._giving_way(draw, list(calls))
        self._copies.finish()
        return torch.cat(pictures)

    def _giving_way(self, draw: Callable[[Any], Tensor], calls: Sequence[Any]) -> list[Tensor]:
        """What is drawn in each call; none begins while somebody in a hurry waits for the engine."""
        if in_a_hurry():
            return self._threads.map(draw, calls)
        made: dict[int, Tensor] = {}
        while left := [n for n in range(len(calls)) if n not in made]:
            self._turns.give_way()
            drawn = self._threads.map(lambda n: None if self._turns.wanted() else draw(calls[n]), left)
            made |= {n: pictures for n, pictures in zip(left, drawn, strict=True) if pictures is not None}
        return [made[n] for n in range(len(calls))]

    @cached_property
    def _lips(self) -> LipReader | None:
        """What tells lips from speech; None where these weights do without."""
        network = self._networks.lip_shape
        return LipReader.of(network, self.device, self._threads, self._in_turn) if network else None

    def draw_plainly(self) -> None:
        """Record no drawings from now on."""
        self._draw = self._drawn

    def forget(self) -> None:
        """Begin as a new engine would: with nothing remembered."""
        self._contents = RowCache(self._encoded_speech)

    def fingerprint(self) -> str:
        """See `Engine.fingerprint`."""
        return f"{setting(self.weights, self.device)} {self.precision} rows={self._rows},{self._pictures}"

    @torch.inference_mode()
    def _encoded(self, crop: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        return self._networks.identity_encoder(self._images(crop))

    @torch.inference_mode()
    def _read(self, crops: NDArray[np.uint8]) -> tuple[Tensor, NDArray[np.float32]]:
        """Non-identity features and pose codes of any number of crops."""
        encoder = self._networks.nonidentity_encoder
        with reading(self.device, self.precision, self._networks.preset.nonidentity):
            features = [encoder(self._images(crops[rows])).float() for rows in row_groups(len(crops), self._rows)]
        poses = [encoder.pose_code(feature).cpu().numpy() for feature in features]
        return torch.cat(features), np.concatenate(poses)[: len(crops)]

    @torch.inference_mode()
    def _shown(self, crops: NDArray[np.uint8]) -> tuple[OwnCodes, NDArray[np.float32]]:
        """Codes of the first crop, and pose codes of all."""
        features, poses = self._read(crops)
        return self._networks.own_codes(features[:1]), poses

    def _encoded_speech(self, windows: NDArray[np.float32]) -> Tensor:
        """Speech contents of any number of windows, on the device."""

        @torch.inference_mode()
        def encode(rows: NDArray[np.intp]) -> Tensor:
            return self._networks.speech_encoder(self._tensor(windows[rows])[:, None])

        return torch.cat(self._threads.map(encode, row_groups(len(windows), self._rows)))[: len(windows)]

    def _style(self, identity: Identity, content: Tensor, codes: Tensor, lids: Tensor) -> Tensor:
        """Style vectors of speech contents, gain included, pose codes and closures of the lids (n, 1)."""
        count = len(content)
        own = identity.own.map(lambda code: code.expand(count, -1))
        closures = torch.cat([lids, torch.zeros_like(lids)], 1)
        return self._networks.spoken_style(identity.vector.expand(count, -1), content, codes, own, closures)

    def _drawn(self, feature_map: Tensor, style: Tensor, portrait: Tensor, turned: Tensor, *noise: Tensor) -> Tensor:
        """Pictures uint8 (n, height, width, 3), on the device; `turned` is (n, 0) where it is not known."""
        known, maps = turned if turned.numel() else None, feature_map.expand(len(style), -1, -1, -1)
        margin = portrait.shape[-1] // (MARGIN + 2)
        with drawing(self.device, self.precision):
            image = self._networks.draw(maps, style, noise, portrait, known, margin)
        return (image.float() * 127.5 + 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)

    def _padded(self, rows: Tensor) -> Tensor:
        """Rows for whole calls of the generator: a picture's last bits depend on how many are drawn at once."""
        return torch.cat([rows, *[rows[-1:]] * (-len(rows) % self._pictures)])

    def _images(self, crops: NDArray[np.uint8]) -> Tensor:
        return self._tensor(crops).permute(0, 3, 1, 2).float() / 127.5 - 1

    def _tensor(self, array: NDArray[np.uint8] | NDArray[np.float32]) -> Tensor:
        return self._moved(torch.tensor(array))

    def _moved(self, host: Tensor) -> Tensor:
        if self.device == "cuda":
            return host.pin_memory().to(self.device, non_blocking=True)
        return host.to(self.device)

    def _noise_maps(self, seed: int) -> list[Tensor]:
        if self._noise is None or self._noise[0] != seed:
            normal = np.random.default_rng(seed)
            sizes = self._networks.generator.noise_sizes
            maps = [normal.standard_normal((1, 1, size, size), dtype=np.float32) for size in sizes]
            self._noise = seed, [self._tensor(noise) for noise in maps]
        return self._noise[1]

    def _identity(self, crops: NDArray[np.uint8], surrounded: NDArray[np.uint8], relief: Relief | None) -> Identity:
        tasks: list[Callable[[], Any]] = [partial(self._shown, crops)]
        tasks += [partial(self._encoded, crop[None]) for crop in crops]
        (own, poses), *pairs = self._threads.map(lambda task: task(), tasks)
        vector, feature_map = self._threads.map(lambda some: torch.stack(some).mean(0), list(zip(*pairs, strict=True)))
        image, relief = self._images(surrounded[None]), relief if self._networks.preset.warps else None
        pose = held(relief, self.weights.pose_map, poses.mean(0))
        if relief:
            own = own._replace(pose=self._tensor(pose[None]))
        return Identity(vector, feature_map, pose, image, own, surface_of(relief))

    def _in_turn(self, work: Callable[[], Result]) -> Result:
        """`work` when its turn has come, and again with half as many rows at once where memory does not suffice."""
        with self._turn():
            while True:
                with suppress(torch.OutOfMemoryError):
                    return work()
                self._halve()

    def _halve(self) -> None:
        if self._pictures == 1:
            raise PoseDubError(
                "The GPU has no memory left for even one frame; close other programs that use it, or start the server "
                "with --device cpu.",
                ErrorKind.UNAVAILABLE,
            )
        self._rows, self._pictures = (max(1, size // 2) for size in (self._rows, self._pictures))
        self.forget()  # speech encoded in calls that large
        if isinstance(self._draw, Drawings):
            self._draw = Drawings(self._drawn)  # those recorded hold memory
        if self.device == "cuda":
            torch.cuda.empty_cache()
        log.warning("the GPU's memory is short; from now on %d frames are made at once", self._pictures)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self.device == "cpu":
                loops.finish()
            stack.enter_context(self._turns)
            stack.enter_context(torch.inference_mode())
            if self.device == "cuda":
                stack.enter_context(torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False))
            yield


def as_pcavs(engine: Engine) -> PcavsEngine:
    """The engine, for what takes only this one; PoseDubError when it is another."""
    if isinstance(engine, PcavsEngine):
        return engine
    raise PoseDubError(f"{engine.weights.name} is made for the engine {engine.weights.engine}; name PC-AVS weights.")


def setting(weights: WeightsInfo, device: str) -> str:
    """What decides pictures besides requests and precision."""
    return runtime_setting.setting(
        NAME, weights, device, Path(__file__).parent, ("pcavs", "speech_recogniser", "layers", "cpu")
    )
