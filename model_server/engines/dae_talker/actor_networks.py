"""All networks that make frames of an actor, as one thing: their sizes, their tensors, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, cast, get_type_hints

import torch
from torch import Tensor, nn

from model_server.engines.dae_talker.weights import START_NOISE
from model_server.networks.dae_talker.autoencoder import DiffusionAutoencoder, DiffusionAutoencoderSize
from model_server.networks.dae_talker.picture_autoencoder import PictureAutoencoder, PictureAutoencoderSize
from model_server.networks.dae_talker.speech2latent import Speech2Latent, Speech2LatentSize
from model_server.networks.dae_talker.speech_features import SpeechNetwork
from model_server.networks.dae_talker.student import StudentDecoder
from model_server.networks.dae_talker.unet import UNetSize
from model_server.networks.dae_talker.wav2vec2 import Wav2Vec2, Wav2Vec2Size
from model_server.networks.speech_recogniser.recogniser import Recogniser, RecogniserSize

Size = TypeVar("Size")


@dataclass(frozen=True)
class ActorNetworks:
    """Networks of one actor.

    Attributes:
        speech: what it hears with, frozen.
        speech2latent: with the statistics of latents and poses.
        start_noise: x_T (1, channels, h, w) that all frames share.
        autoencoder: the diffusion autoencoder; None where only the student draws.
        student: draws in one step; None where there is none.
        pictures: in whose latents the other two work; None where they work in pixels.
    """

    speech: SpeechNetwork
    speech2latent: Speech2Latent
    start_noise: Tensor
    autoencoder: DiffusionAutoencoder | None = None
    student: StudentDecoder | None = None
    pictures: PictureAutoencoder | None = None

    def __post_init__(self) -> None:
        if self.autoencoder is None and self.student is None:
            raise ValueError("an actor needs an autoencoder or a student, to be drawn at all")
        if self.start_noise.shape[1:] != self.drawn.shape:
            raise ValueError(
                f"the start noise is {tuple(self.start_noise.shape)}, but must be {(1, *self.drawn.shape)}"
            )

    @property
    def drawn(self) -> UNetSize:
        """The size of what draws."""
        return self.autoencoder.size.unet if self.autoencoder else cast(StudentDecoder, self.student).size

    @property
    def resolution(self) -> int:
        """Width and height of the pictures."""
        return self.pictures.size.resolution if self.pictures else self.drawn.resolution

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """The networks that there are, by name."""
        for one in fields(self):
            network = getattr(self, one.name)
            if isinstance(network, nn.Module):
                yield one.name, network

    def to(self, device: str) -> ActorNetworks:
        """The same networks, moved to a device."""
        for _, network in self.modules():
            network.to(device)
        return replace(self, start_noise=self.start_noise.to(device))

    def state(self) -> dict[str, Tensor]:
        """All tensors, named by their network."""
        tensors = {
            f"{name}.{key}": value for name, network in self.modules() for key, value in network.state_dict().items()
        }
        return tensors | {START_NOISE: self.start_noise}

    def sizes(self) -> dict[str, Any]:
        """Sizes of the networks as plain data, by their names."""
        return {name: asdict(cast(Any, network).size) for name, network in self.modules()}

    @staticmethod
    def empty(sizes: Mapping[str, Any]) -> ActorNetworks:
        """Networks of such sizes, not trained; ValueError where the sizes make no sense."""
        try:
            networks = {name: _NETWORKS[name](given) for name, given in sizes.items()}
            speech, speech2latent = networks.pop("speech"), networks.pop("speech2latent")
            drawn = (networks.get("autoencoder") or networks["student"]).size
            shape = (drawn.unet if isinstance(drawn, DiffusionAutoencoderSize) else drawn).shape
        except (KeyError, TypeError, AttributeError) as problem:
            raise ValueError(f"sizes lack or misname {problem}") from problem
        return ActorNetworks(speech, speech2latent, torch.zeros(1, *shape), **networks)

    @staticmethod
    def built(sizes: Mapping[str, Any], state: Mapping[str, Tensor]) -> ActorNetworks:
        """Networks of such sizes with such tensors, for inference."""
        made = ActorNetworks.empty(sizes)
        for name, network in made.modules():
            own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            network.load_state_dict(own)
            network.eval().requires_grad_(False)
        return replace(made, start_noise=state[START_NOISE])


def shapes_of(sizes: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of networks of such sizes; ValueError where the sizes make no sense."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in ActorNetworks.empty(sizes).state().items()}


def counts_of(sizes: Mapping[str, Any]) -> dict[str, int]:
    """Parameters of each of the networks of such sizes."""
    with torch.device("meta"):
        made = ActorNetworks.empty(sizes)
    return {name: sum(one.numel() for one in network.parameters()) for name, network in made.modules()}


def _speech(given: Mapping[str, Any]) -> SpeechNetwork:
    if "units" in given:
        return Recogniser(size_of(RecogniserSize, given))
    return Wav2Vec2(size_of(Wav2Vec2Size, given))


_NETWORKS: dict[str, Any] = {
    "speech": _speech,
    "speech2latent": lambda given: Speech2Latent(size_of(Speech2LatentSize, given)),
    "autoencoder": lambda given: DiffusionAutoencoder(size_of(DiffusionAutoencoderSize, given)),
    "student": lambda given: StudentDecoder(size_of(UNetSize, given)),
    "pictures": lambda given: PictureAutoencoder(size_of(PictureAutoencoderSize, given)),
}


def size_of(cls: type[Size], given: Mapping[str, Any]) -> Size:
    """A size out of what `asdict` and JSON made of it."""
    types = get_type_hints(cls)
    return cls(**{name: _value(types[name], value) for name, value in given.items()})


def _value(kind: Any, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        classes = [one for one in (kind, *getattr(kind, "__args__", ())) if is_dataclass(one)]
        return size_of(cast(type, classes[0]), value)
    return value
