"""What generator and discriminator learn (PC-AVS, section 3.3), with what the warp head needs besides."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.pcavs.generator import Generator
from model_server.networks.pcavs.model import OwnCodes
from model_server.networks.pcavs.presets import IMAGE_SIZE
from model_server.networks.pcavs.warping import Drawing, WarpGenerator, enlarged
from model_server.training import augment
from model_server.training.face_network import ANGLE_UNIT, VISEMES
from model_server.training.losses import (
    Losses,
    class_cross_entropy,
    critic_hinge,
    feature_matching,
    generator_hinge,
    info_nce,
    known_binary_cross_entropy,
    known_cross_entropy,
    known_l1,
    perceptual,
    weighted,
)
from model_server.training.pcavs.config import Config, GeneratorStage
from model_server.training.pcavs.data import FLOW_SIZE, Frames, Pairs
from model_server.training.pcavs.encoder_tasks import learn_only, shrunk
from model_server.training.pcavs.feature_bank import blinded
from model_server.training.pcavs.models import Models
from model_server.training.pcavs.perceptual_networks import Vgg19

Critic = Callable[[Tensor], tuple[list[Tensor], list[list[Tensor]]]]

# Beyond this yaw the far half of a face hides behind the near one, and landmarks do not mark the same skin.
SIDEWAYS = 25.0
# iBUG points from the brows on; those of the jaw slide over the skin as the head turns.
_SKIN_POINTS = slice(17, 68)
# Lips are a third of them, and what a dub is about.
_POINT_WEIGHTS = torch.tensor([[1.0]] * 31 + [[3.0]] * 20)


@dataclass(frozen=True)
class Codes:
    """What the style is made of, besides the identity.

    Attributes:
        mouth: (n, mouth) codes, of sound or of the target's lips.
        pose: (n, pose) codes of the targets with other mouths.
        seen_pose: (n, pose) codes of the targets as they are.
        own: codes of the p portraits, n / p targets each.
        lids: (n, 2) closures of the targets' lids and of their portraits'.
    """

    mouth: Tensor
    pose: Tensor
    seen_pose: Tensor
    own: OwnCodes
    lids: Tensor


class GeneratorTask(nn.Module):
    """Draws targets from portraits, sound and pose, and measures how far off they are."""

    def __init__(self, models: Models, config: Config) -> None:
        super().__init__()
        self.networks = models.networks
        self.angle_readout = models.angle_readout
        self.mouth_readout = models.mouth_readout
        self.classifier = models.classifier
        self.face = models.face
        self.vgg = Vgg19(Path(config.perceptual.vgg)) if config.perceptual.vgg else None
        self.weights = config.generator
        self.strength = config.augmentation
        self._render = _renderer(self.networks.generator, config.compiled)
        learn_only(models, self.networks, self.mouth_readout, self.classifier)
        if self.vgg:
            self.vgg.requires_grad_(False)
        if not self.weights.train_encoders:
            self._freeze_space()

    def train(self, mode: bool = True) -> GeneratorTask:
        """Batch normalisation stays as the encoders learnt it: that is how frames will be made."""
        super().train(False)
        return self

    def forward(self, pairs: Pairs, step: int, critic: Critic | None) -> tuple[Tensor, Losses, Tensor]:
        """Total loss, single losses, and the frames drawn (n, 3, 224, 224), without gradient."""
        codes = self._codes(pairs)
        identity = self.networks.identity_encoder(pairs.portrait.images)
        drawing = self._draw(pairs, identity, codes)
        losses = self._picture_losses(drawing, pairs) | self._code_losses(codes, pairs, step)
        losses["identity"] = class_cross_entropy(self.classifier(identity[0]), pairs.portrait.identity)
        losses |= self._reading_losses(drawing.image, pairs.target)
        if critic:
            losses |= self._critic_losses(drawing.image, pairs.target.images, critic)
        return weighted(losses, self.weights), losses, drawing.image.detach()

    def draw(self, pairs: Pairs) -> Drawing:
        """Frames from sound and pose, as when dubbing."""
        encoder = self.networks.nonidentity_encoder
        seen = encoder(pairs.target.images)
        mouth = encoder.mouth_code(self._heard(self.networks.speech_encoder(pairs.target.windows), seen, pairs.target))
        pose, own = encoder.pose_code(seen), encoder(pairs.portrait.images)
        identity = self.networks.identity_encoder(pairs.portrait.images)
        codes = Codes(mouth, pose, pose, self.networks.own_codes(own), _closures(pairs))
        return self._draw(pairs, identity, codes)

    def _freeze_space(self) -> None:
        encoder = self.networks.nonidentity_encoder
        for part in (encoder.trunk, encoder.mouth_head, self.networks.speech_encoder):
            part.requires_grad_(False)

    def _codes(self, pairs: Pairs) -> Codes:
        target, encoder = pairs.target, self.networks.nonidentity_encoder
        seen_lips = math.ceil(len(target) * (1 - self.weights.audio_share))
        with torch.set_grad_enabled(self.weights.train_encoders and torch.is_grad_enabled()):
            blind, seen, own = self._features(pairs)
            content = target.content if target.content.numel() else self.networks.speech_encoder(target.windows)
            content = self._heard(content, seen, target)
            if seen_lips:
                looks = augment.draw(seen_lips, self.strength, target.images.device)
                lips = encoder.mouth_feature(encoder(looks.images(target.images[:seen_lips])))
                content = torch.cat([lips, content[seen_lips:]])
        pose, seen_pose = encoder.pose_code(torch.cat([blind, seen])).chunk(2)
        own_codes = self.networks.own_codes(own)
        return Codes(encoder.mouth_code(content), pose, seen_pose, own_codes, _closures(pairs))

    def _heard(self, content: Tensor, seen: Tensor, target: Frames) -> Tensor:
        """Speech contents, and where nothing is heard what the lips say, by non-identity features (n, feature)."""
        lips = self.networks.nonidentity_encoder.mouth_feature(seen)
        return torch.where(target.silent[:, None], lips.to(content.dtype), content)

    def _features(self, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Non-identity features of the targets with other mouths, of the targets, and of the portraits."""
        portrait, target = pairs.portrait, pairs.target
        if target.blind.numel():
            return target.blind, target.seen, portrait.seen
        views = torch.cat([blinded(target, self.strength), target.images, portrait.images])
        blind, seen, own = self.networks.nonidentity_encoder(views).split([len(target), len(target), len(portrait)])
        return blind, seen, own

    def _draw(self, pairs: Pairs, identity: tuple[Tensor, Tensor], codes: Codes) -> Drawing:
        """Draw the targets of portraits of which the identity encoder said `identity`."""
        portrait, each = pairs.portrait.images, pairs.each
        known = (*identity, *codes.own, shrunk(portrait, self.weights.drawn_size))
        vector, identity_map, *own, portrait = (value.repeat_interleave(each, 0) for value in known)
        style = self.networks.joined_style(vector, codes.mouth, codes.pose, OwnCodes(*own), codes.lids)
        generator = self.networks.generator
        noise = [torch.randn(1, 1, size, size, device=portrait.device) for size in generator.noise_sizes]
        return self._render(identity_map, style, noise, portrait, pairs.turned)

    def _picture_losses(self, drawing: Drawing, pairs: Pairs) -> Losses:
        real = shrunk(pairs.target.images, drawing.image.shape[-1])
        lips = augment.box_mask(augment.lip_boxes(pairs.target.landmarks), real.shape[-1])
        eyes = _eyes(pairs.target, real.shape[-1])
        losses = {
            "image": F.l1_loss(drawing.image, real),
            "mouth": known_l1(drawing.image, real, lips),
            "eyes": known_l1(drawing.image, real, eyes),
        }
        if isinstance(self.networks.generator, WarpGenerator):
            losses |= _warp_losses(drawing, real, pairs, lips, self.weights)
        return losses

    def _code_losses(self, codes: Codes, pairs: Pairs, step: int) -> Losses:
        """The pose code starts from the known angles, the mouth code from the known visemes."""
        target, portrait = pairs.target, pairs.portrait
        fading = max(0.1, 1 - step / self.weights.angles_decay)
        opening, visemes = self.mouth_readout(torch.cat([codes.mouth, codes.own.mouth])).split([1, VISEMES], 1)
        real_opening, real_visemes = (
            torch.cat([getattr(frames, name) for frames in (target, portrait)]) for name in ("opening", "visemes")
        )
        known = known_l1(self.angle_readout(codes.pose), target.angles / ANGLE_UNIT)
        seen = known_l1(self.angle_readout(codes.seen_pose), target.angles / ANGLE_UNIT)
        lips = known_cross_entropy(visemes, real_visemes) + known_l1(opening[:, 0], real_opening)
        return {
            "angles": (known + seen) / 2 * fading,
            "visemes": lips,
            "steadiness": F.l1_loss(codes.seen_pose.float(), codes.pose.float()),
        }

    def _reading_losses(self, image: Tensor, target: Frames) -> Losses:
        """Losses that other networks read off the frames; those networks do not learn from them."""
        weights = self.weights
        if not any((weights.perceptual, weights.lips, weights.likeness, weights.contrastive)):
            return {}
        small, small_real = (shrunk(x, self.weights.loss_size) for x in (image, target.images))
        read = self.face(small)
        with torch.no_grad():
            real = self.face(small_real)
        opening = torch.where(torch.isfinite(target.opening), target.opening, real.opening.float())
        visemes = F.kl_div(read.visemes.float().log_softmax(1), real.visemes.float().softmax(1), reduction="batchmean")
        features = (read.features, real.features)
        if self.vgg:
            features = (self.vgg.features(small), self.vgg.features(small_real))
        return {
            "perceptual": perceptual(*features),
            "lips": known_l1(read.opening, opening) * 4 + visemes * 0.3,
            "likeness": 1 - F.cosine_similarity(read.embedding.float(), real.embedding.float()).mean(),
            "contrastive": self._contrastive(image, target),
        }

    def _contrastive(self, image: Tensor, target: Frames) -> Tensor:
        """InfoNCE between the lips drawn and the sound, within the batch."""
        if not self.weights.contrastive:
            return image.new_zeros(())
        encoder, heard = self.networks.nonidentity_encoder, ~target.silent
        if not heard.any():
            return image.new_zeros(())
        sound = self.networks.speech_encoder(target.windows[heard])
        return info_nce(encoder.mouth_feature(encoder(image[heard])), sound, self.weights.temperature)[0]

    def _critic_losses(self, image: Tensor, real: Tensor, critic: Critic) -> Losses:
        scores, features = critic(torch.cat([shrunk(x, self.weights.loss_size) for x in (real, image)]))
        return {"gan": generator_hinge(scores), "feature": feature_matching(features)}


class CriticTask(nn.Module):
    """Tells real frames from drawn ones by the hinge loss."""

    def __init__(self, models: Models, config: Config) -> None:
        super().__init__()
        self.discriminator = models.discriminator
        self.size = config.generator.loss_size

    def forward(self, real: Tensor, drawn: Tensor) -> tuple[Tensor, Losses]:
        """Total and single losses of frames (n, 3, 224, 224)."""
        scores, _ = self.discriminator(torch.cat([shrunk(x, self.size) for x in (real, drawn)]))
        loss = critic_hinge(scores)
        return loss, {"critic": loss}


def _warp_losses(drawing: Drawing, real: Tensor, pairs: Pairs, lips: Tensor, weights: GeneratorStage) -> Losses:
    """The portrait must move to the right place by itself, and the mouth be painted where it is hidden there."""
    offsets = F.avg_pool2d(drawing.offsets, drawing.offsets.shape[-1] // FLOW_SIZE)
    moving = augment.box_mask(augment.mouth_boxes(pairs.target.landmarks), FLOW_SIZE)
    moving = moving.maximum(_eyes(pairs.target, FLOW_SIZE))
    small, hidden = drawing.rgb.shape[-1], 1 - torch.nan_to_num(pairs.visible, nan=1.0)
    # Where the portrait hides something, no place of it is right: bent there it would only grow a second brow.
    shown = 1 - enlarged(hidden, real.shape[-1])
    return {
        "warped": known_l1(drawing.warped, real, shown),
        "paint": known_l1(drawing.rgb, shrunk(real, small), shrunk(lips, small) + 0.1),
        "hidden": known_l1(drawing.rgb, shrunk(real, small), enlarged(hidden, small)),
        "visibility": _visibility_loss(drawing.mask, pairs.visible),
        "flow": known_l1(offsets, pairs.flow, 1 + (weights.mouth_cells - 1) * moving),
        "points": _points_loss(drawing.offsets, pairs),
    }


def _visibility_loss(mask: Tensor, visible: Tensor) -> Tensor:
    """Cross-entropy of the portrait's share with what it shows.

    All cells count alike, so that the share is as likely as it says: with hidden ones counting more, soft paint spread
    over ears and cheeks that the portrait shows well enough.
    """
    return known_binary_cross_entropy(F.avg_pool2d(mask, mask.shape[-1] // visible.shape[-1]), visible)


def _eyes(frames: Frames, size: int) -> Tensor:
    """Where eyes are, (n, 1, size, size)."""
    left, right = (augment.box_mask(boxes, size) for boxes in augment.eye_boxes(frames.landmarks))
    return left.maximum(right)


def _closures(pairs: Pairs) -> Tensor:
    """(n, 2) closures of the targets' lids and of their portraits'; where nothing is known, eyes are open."""
    own = pairs.portrait.lids.repeat_interleave(pairs.each, 0)
    return torch.nan_to_num(torch.stack([pairs.target.lids, own], 1))


def _points_loss(offsets: Tensor, pairs: Pairs) -> Tensor:
    """Distance between where the flow finds the landmarks of the portrait and where they are."""
    target = pairs.target.landmarks[:, _SKIN_POINTS]
    source = pairs.portrait.landmarks[:, _SKIN_POINTS].repeat_interleave(pairs.each, 0)
    yaw = pairs.target.angles[:, 0].abs().maximum(pairs.portrait.angles[:, 0].abs().repeat_interleave(pairs.each, 0))
    wanted = torch.where((yaw < SIDEWAYS)[:, None, None], source - target, torch.nan) * (2 / IMAGE_SIZE)
    places = torch.nan_to_num(target) * (2 / IMAGE_SIZE) - 1
    found = F.grid_sample(offsets, places[:, :, None], padding_mode="border", align_corners=False)[..., 0]
    return known_l1(found.transpose(1, 2), wanted, _POINT_WEIGHTS.to(wanted))


def _renderer(generator: WarpGenerator | Generator, compiled: bool) -> Callable[..., Drawing]:
    """What draws: (identity map, style, noise, portrait, turned) to a drawing."""
    if isinstance(generator, WarpGenerator):
        return torch.compile(generator.draw) if compiled else generator.draw
    return lambda identity_map, style, noise, *_: _painted(generator(identity_map, style, noise).float())


def _painted(image: Tensor) -> Drawing:
    """A frame of a generator that paints every pixel, in the form of a drawing."""
    nothing = image.new_zeros(len(image), 2, FLOW_SIZE, FLOW_SIZE)
    return Drawing(image, image, nothing, nothing, nothing[:, :1], image)
