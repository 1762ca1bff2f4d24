"""What frozen encoders said of frames is what they would say again."""

from pathlib import Path

import numpy as np
import torch

from model_server.training.pcavs.config import Config
from model_server.training.pcavs.data import ClipStore
from model_server.training.pcavs.feature_bank import fill, read_pictures, read_sound
from model_server.training.pcavs.models import Models
from model_server.training.pcavs.samplers import sample_chunks, sample_pairs

CPU = torch.device("cpu")


def never() -> bool:
    return False


def test_banked_features_are_those_of_the_encoders(small: Config, corpus: Path, tmp_path: Path) -> None:
    networks = Models(small, 3).networks.eval()
    store = ClipStore([corpus], "train", CPU, 8)
    assert fill(store, tmp_path, networks.nonidentity_encoder.trunk, lambda c: read_pictures(networks, c, 1.0), never)
    assert fill(store, tmp_path, networks.speech_encoder, lambda c: read_sound(networks, c), never)
    pairs = sample_pairs(store, 4, 2, np.random.default_rng(2))
    with torch.no_grad():
        seen = networks.nonidentity_encoder(pairs.target.images)
        content = networks.speech_encoder(pairs.target.windows)
    torch.testing.assert_close(pairs.target.seen, seen, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(pairs.target.content, content, rtol=2e-2, atol=2e-2)
    assert pairs.target.blind.shape == seen.shape and not torch.allclose(pairs.target.blind, pairs.target.seen)
    assert sample_chunks(store, 2, 6, np.random.default_rng(2)).images.numel() == 0


def test_a_bank_is_filled_over_several_calls_and_read_anew_for_other_weights(
    small: Config, corpus: Path, tmp_path: Path
) -> None:
    networks = Models(small, 3).networks.eval()
    store, read = ClipStore([corpus], "train", CPU, 8), []

    def reader(clip):  # type: ignore[no-untyped-def]
        read.append(clip.clip.name)
        return read_sound(networks, clip)

    answers = iter([False, True])
    assert not fill(store, tmp_path, networks.speech_encoder, reader, lambda: next(answers))
    assert not store.banked and len(read) == 1
    assert fill(store, tmp_path, networks.speech_encoder, reader, never)
    assert read == [name for _, name in store.clips]
    with torch.no_grad():
        networks.speech_encoder.readout.bias.add_(1)
    assert fill(store, tmp_path, networks.speech_encoder, reader, never)
    assert len(read) == 2 * len(store)
