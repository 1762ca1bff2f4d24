"""All networks of a run: those that make frames, and those that only teach them."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.layers.modulation import EqualizedLinear, ModulatedConv, StyledConv
from model_server.networks.pcavs.lower_face import LowerFaceGenerator
from model_server.networks.pcavs.model import Networks
from model_server.networks.pcavs.presets import PRESETS
from model_server.networks.pcavs.warping import WarpGenerator
from model_server.synthetic.pronunciation import UNITS
from model_server.training.averaging import average
from model_server.training.discriminator import Discriminator
from model_server.training.face_network import EMBEDDING, VISEMES, FaceNetwork
from model_server.training.pcavs.config import Config

CODE_PER_ANGLE_UNIT = 3.0


class Models(nn.Module):
    """Everything that a checkpoint holds.

    Args:
        config: sizes.
        people: number of identities in the training split.
    """

    def __init__(self, config: Config, people: int) -> None:
        super().__init__()
        self.networks = build_networks(config)
        preset = self.networks.preset
        self.averaged = copy.deepcopy(self.networks).requires_grad_(False)
        # Fixed, or the code could shrink while the read-out grows; without a bias, so that zero is about frontal.
        self.angle_readout = nn.Linear(config.pose_size, 3, bias=False)
        nn.init.orthogonal_(self.angle_readout.weight, 1 / CODE_PER_ANGLE_UNIT)
        self.lip_readout = LipReadout(preset.feature)
        self.content_readout = LipReadout(preset.feature)
        self.phoneme_readout = nn.Linear(preset.feature, 1 + len(UNITS))
        self.mouth_readout = nn.Linear(preset.mouth, 1 + VISEMES)
        self.classifier = nn.Linear(preset.identity_size, people)
        self.face = FaceNetwork(config.perceptual.width)
        self.face_classifier = nn.Linear(EMBEDDING, people)
        self.discriminator = Discriminator(config.generator.critic_width)
        self.lower_face_critic = Discriminator(config.lower_face.critic_width) if preset.lower_face else None

    def load(self, state: dict[str, Tensor]) -> bool:
        """Take over a checkpoint's tensors; the classifiers stay new if it knows another number of people.

        Returns:
            Whether everything was taken over.
        """
        own = self.state_dict()
        fitting = {name: value for name, value in state.items() if value.shape == own[name].shape}
        self.load_state_dict(own | fitting)
        return len(fitting) == len(own)

    def average(self, decay: float, step: int) -> None:
        """Move the averaged networks towards the learning ones after a step."""
        average(self.averaged, self.networks, decay, step)


class LipReadout(nn.Module):
    """Linear read-out of lip opening and visemes from a mouth feature or a speech content."""

    def __init__(self, feature: int) -> None:
        super().__init__()
        self.linear = nn.Linear(feature, 1 + VISEMES)

    def forward(self, content: Tensor) -> tuple[Tensor, Tensor]:
        """Opening (n,) and viseme logits (n, 17) of contents (n, feature)."""
        opening, visemes = self.linear(F.relu(content)).split([1, VISEMES], 1)
        return opening[:, 0], visemes


class AdaptiveNormConv(nn.Module):
    """The ablation's replacement of a modulated convolution: plain convolution, then AdaIN (Huang and Belongie 2017).

    Args:
        conv: the convolution whose weights and resampling it takes over.
    """

    def __init__(self, conv: ModulatedConv) -> None:
        super().__init__()
        outputs, style = conv.weight.shape[0], conv.modulation.weight.shape[1]
        self.conv = copy.deepcopy(conv)
        del self.conv.modulation
        self.affine = EqualizedLinear(style, 2 * outputs, bias=0.0)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """As `ModulatedConv.forward`."""
        plain = self.conv.convolve(x) * self.conv.scale
        scale, shift = self.affine(style)[..., None, None].chunk(2, 1)
        return F.instance_norm(plain) * (1 + scale) + shift


def build_networks(config: Config) -> Networks:
    """The preset's networks, with the configuration's pose size and modulation."""
    preset = PRESETS[config.preset]
    visibility, lids = (preset.warps and wanted for wanted in (config.visibility, config.lids))
    networks = Networks(replace(preset, pose=config.pose_size, visibility=visibility, lids=lids))
    for encoder in (networks.identity_encoder, networks.nonidentity_encoder, networks.speech_encoder):
        encoder.apply(_initialize)
    nn.init.ones_(_bias(networks.nonidentity_encoder.trunk.squeeze))
    if networks.lower_face:
        _initialize_lower_face(networks.lower_face)
    if config.modulation == "adaptive_norm":
        _adapt(networks)
    return networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def style_layers(networks: Networks) -> list[EqualizedLinear | nn.Linear]:
    """The linear layers of the generator that read the style vector, or the codes at its end."""
    generator = networks.generator
    layers: list[EqualizedLinear | nn.Linear] = [x for x in generator.modules() if isinstance(x, EqualizedLinear)]
    if isinstance(generator, WarpGenerator):
        layers += [generator.turn_head.reader, generator.speak_head.reader]
        layers += [generator.visibility.turned_head.reader] if generator.visibility else []
        layers += [generator.lids.move_head.reader] if generator.lids else []
    return layers


def _initialize(module: nn.Module) -> None:
    """He et al. 2015. PyTorch's own default shrinks a signal by each layer, until all faces have the same pose code."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv1d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _initialize_lower_face(network: LowerFaceGenerator) -> None:
    """The same for its convolutions, but for heads, which begin with nothing, and what scales channels by the style."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and "_head" not in name:
            _initialize(module)


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _adapt(networks: Networks) -> None:
    for layer in networks.generator.modules():
        if isinstance(layer, StyledConv):
            layer.conv = AdaptiveNormConv(layer.conv)  # type: ignore[assignment]
