"""All networks of a run, each with the average of its weights while it learns."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.dae_talker.autoencoder import DiffusionAutoencoder
from model_server.networks.dae_talker.diffusion import start_noise
from model_server.networks.dae_talker.picture_autoencoder import PictureAutoencoder
from model_server.networks.dae_talker.speech2latent import Speech2Latent
from model_server.networks.dae_talker.speech_features import SpeechReader
from model_server.networks.dae_talker.student import StudentDecoder
from model_server.training.dae_talker.config import DaeConfig, StageName
from model_server.training.face_network import FaceNetwork

AVERAGED = "averaged."
_LEARNING = "learning."


class DaeModels:
    """Networks by the name of the stage that they learn in.

    Args:
        config: sizes.
        reader: what speech is read with; without it there is no speech2latent.
    """

    def __init__(self, config: DaeConfig, reader: SpeechReader | None = None) -> None:
        self.config = config
        self.networks: dict[str, nn.Module] = {}
        for number, (name, network) in enumerate(_built(config, reader)):
            torch.manual_seed(config.seed + number)
            # Channels last: convolutions on processors take two thirds of the time.
            self.networks[name] = network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = {name: copy.deepcopy(network).requires_grad_(False).eval()
                         for name, network in self.networks.items()}  # fmt: skip
        self.start = start_noise(config.size.unet.shape, config.start_seed)
        self._kept: dict[str, Tensor] = {}

    @property
    def face(self) -> FaceNetwork:
        """The trained face network."""
        return cast(FaceNetwork, self.averaged["face"])

    @property
    def pictures(self) -> PictureAutoencoder | None:
        """The trained autoencoder of pictures, where the preset has one."""
        return cast("PictureAutoencoder | None", self.averaged.get("pictures"))

    @property
    def autoencoder(self) -> DiffusionAutoencoder:
        """The averaged diffusion autoencoder."""
        return cast(DiffusionAutoencoder, self.averaged["autoencoder"])

    @property
    def speech2latent(self) -> Speech2Latent:
        """The averaged network from speech to latents."""
        return cast(Speech2Latent, self.averaged["speech2latent"])

    @property
    def student(self) -> StudentDecoder:
        """The averaged student."""
        return cast(StudentDecoder, self.averaged["student"])

    def rendered(self, latents: Tensor, steps: int) -> Tensor:
        """What the averaged autoencoder draws of latents (n, latent) from the shared noise."""
        start = self.start.to(latents.device).expand(len(latents), -1, -1, -1)
        return self.config.size.sampler(steps).render(self.autoencoder.denoiser(latents), start)

    def decoded(self, drawn: Tensor) -> Tensor:
        """Pictures (n, 3, s, s) of what was drawn."""
        return self.pictures.decode(drawn).float() if self.pictures else drawn.float()

    def to(self, device: torch.device) -> DaeModels:
        """Move all networks."""
        for network in (*self.networks.values(), *self.averaged.values()):
            network.to(device)
        return self

    def finish(self, name: StageName) -> None:
        """What a finished stage hands on is the average."""
        self.networks[name].load_state_dict(self.averaged[name].state_dict())

    def state(self, steps: dict[str, int]) -> dict[str, Tensor]:
        """Tensors of all networks whose stage has begun; finished ones are kept once."""
        state = dict(self._kept)
        for name, network in self.networks.items():
            if not steps.get(name):
                continue
            state |= {f"{AVERAGED}{name}.{key}": value for key, value in self.averaged[name].state_dict().items()}
            if steps[name] < getattr(self.config, name).steps:
                state |= {f"{_LEARNING}{name}.{key}": value for key, value in network.state_dict().items()}
        return state

    def load(self, state: dict[str, Tensor], source: Path) -> None:
        """Take over what `state` gave; what belongs to networks that are not here is kept.

        Args:
            source: where it is from.

        Raises:
            PoseDubError: its networks have other sizes.
        """
        try:
            self._load(state)
        except RuntimeError as error:
            raise PoseDubError(
                f"The networks in {source} have other sizes than those of the preset {self.config.name}; choose the "
                "preset that they were made with, or train them anew.",
                ErrorKind.UNSUPPORTED,
            ) from error

    def _load(self, state: dict[str, Tensor]) -> None:
        self._kept = {}
        parts: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            kind, name, rest = key.split(".", 2)
            if name in self.networks:
                parts.setdefault(f"{kind}.{name}", {})[rest] = value
            else:
                self._kept[key] = value
        for name, network in self.networks.items():
            if f"{AVERAGED}{name}" in parts:
                self.averaged[name].load_state_dict(parts[f"{AVERAGED}{name}"])
                network.load_state_dict(parts.get(f"{_LEARNING}{name}", parts[f"{AVERAGED}{name}"]))


def _built(config: DaeConfig, reader: SpeechReader | None) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Name and maker of each network."""
    size = config.size
    yield "face", lambda: FaceNetwork(config.face.width)
    pictures = size.pictures
    if pictures:
        yield "pictures", lambda: PictureAutoencoder(pictures)
    yield "autoencoder", lambda: DiffusionAutoencoder(size)
    yield "student", lambda: StudentDecoder(replace(size.unet, width=config.student.width or size.unet.width))
    if reader:
        heard = replace(
            config.speech_size, layers=reader.layers, features=reader.features, prosody=reader.prosody
        )  # fmt: skip
        yield "speech2latent", lambda: Speech2Latent(heard, config.speech2latent.dropout)
