"""Signed marks in movies, pictures and beside frames: what they say, and what is noticed when either is changed."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

from model_server.errors import PoseDubError
from model_server.files import file_digest
from model_server.provenance.certificate import SELF_MADE, given_certificate, own_certificate
from model_server.provenance.reading import check_list, verify
from model_server.provenance.record import COMPOSED, MADE, DubRecord, Record, Source
from model_server.provenance.signing import LIST, SIDECAR, Signer, digests
from tests.conftest import drawn_head, write_movie

WEIGHTS = {"id": "ab" * 32, "name": "PoseDub lite", "kind": "trained", "preset": "lite"}


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(own_certificate(tmp_path_factory.mktemp("certificate")))


def source(role: str, path: Path) -> Source:
    return Source(role, file_digest(path), path.name, path)


@pytest.fixture
def record(media: Path) -> Record:
    used = (source("footage", media / "pose.mp4"), source("speech", media / "speech.wav"))
    return Record((DubRecord("job7", WEIGHTS, used, composed=True, consent="own face"),))


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    return write_movie(tmp_path / "dub.mp4", [drawn_head(k / 20) for k in range(20)], Fraction(25))


def picture(folder: Path, suffix: str) -> Path:
    path = folder / f"dub{suffix}"
    Image.fromarray(drawn_head()).save(path)
    return path


def changed_in_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as movie:
        return [frame.to_ndarray() for frame in movie.decode(video=0)]


def test_a_movie_says_who_made_it_from_what(signer: Signer, record: Record, movie: Path) -> None:
    before = pictures(movie)
    signer.sign_file(movie, record)
    found = verify(movie)
    assert (found.state, found.signer, found.self_signed, found.problems) == ("intact", SELF_MADE, True, ())
    assert found.record == record
    assert found.record.dubs[0].sources[0].path is None, "where files lie on a computer is nobody's business"
    np.testing.assert_array_equal(pictures(movie), before)


def test_the_librarys_own_reader_finds_actions_and_ingredients(signer: Signer, record: Record, movie: Path) -> None:
    signer.sign_file(movie, record)
    data = json.loads(c2pa.Reader(movie).json())
    active = data["manifests"][data["active_manifest"]]
    found = {(one["title"], one["relationship"]) for one in active["ingredients"]}
    assert found == {("pose.mp4", "parentOf"), ("speech.wav", "componentOf"), ("PoseDub lite", "inputTo")}
    (actions,) = (one["data"]["actions"] for one in active["assertions"] if one["label"] == "c2pa.actions.v2")
    assert [one["action"] for one in actions] == ["c2pa.opened", "c2pa.edited"]
    assert actions[1]["digitalSourceType"] == COMPOSED


def test_what_is_drawn_from_nothing_recorded_is_created(signer: Signer, record: Record, movie: Path) -> None:
    (dub,) = record.dubs
    made = Record((replace(dub, composed=False, sources=(replace(dub.sources[1], path=None),)),))
    signer.sign_file(movie, made)
    assert verify(movie).record == made and made.digital_source_type == MADE
    assert Record(made.dubs, composed=True).digital_source_type == COMPOSED


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_pictures(signer: Signer, record: Record, tmp_path: Path, suffix: str) -> None:
    path = picture(tmp_path, suffix)
    before = np.asarray(Image.open(path))
    signer.sign_file(path, record)
    assert verify(path).record == record
    np.testing.assert_array_equal(np.asarray(Image.open(path)), before)


@pytest.mark.parametrize("suffix", [".mp4", ".png"])
def test_one_changed_byte_is_noticed(signer: Signer, record: Record, movie: Path, suffix: str) -> None:
    path = movie if suffix == ".mp4" else picture(movie.parent, suffix)
    signer.sign_file(path, record)
    changed_in_the_middle(path)
    found = verify(path)
    assert found.state == "changed" and "changed" in found.problems[0]


def test_a_changed_mark_is_noticed(signer: Signer, record: Record, movie: Path) -> None:
    signer.sign_file(movie, record)
    movie.write_bytes(movie.read_bytes().replace(b"own face", b"own fake"))
    assert verify(movie).state == "changed"


def test_files_without_marks(movie: Path, tmp_path: Path) -> None:
    assert verify(movie).state == verify(picture(tmp_path, ".png")).state == verify(tmp_path).state == "unmarked"
    for path in (tmp_path / "nothing.mp4", picture(tmp_path, ".bmp")):
        with pytest.raises(PoseDubError):
            verify(path)


def test_a_marked_source_keeps_its_mark_inside(signer: Signer, record: Record, movie: Path, tmp_path: Path) -> None:
    signer.sign_file(movie, record)
    again = shutil.copy(movie, tmp_path / "again.mp4")
    (dub,) = record.dubs
    signer.sign_file(Path(again), Record((replace(dub, sources=(source("footage", movie),)),)))
    assert verify(Path(again)).others == ("dub.mp4",)


def test_a_source_that_is_damaged_or_of_no_known_kind_is_named(signer: Signer, movie: Path, tmp_path: Path) -> None:
    damaged, raw = tmp_path / "plate.mp4", tmp_path / "plate.braw"
    for path in (damaged, raw):
        path.write_bytes(b"no movie")
    used = (source("footage", damaged), source("portrait", raw), Source("speech", "cd" * 32, "gone.wav"))
    record = Record((DubRecord("job7", WEIGHTS, used, composed=True),))
    signer.sign_file(movie, record)
    found = verify(movie)
    assert found.state == "intact" and found.record == record


def frames(folder: Path, count: int = 3) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{k:06}.png" for k in range(count)]
    for k, path in enumerate(paths):
        Image.fromarray(drawn_head(k / 10)).save(path)
    return paths


def test_frames_in_a_folder_are_signed_beside_them(signer: Signer, record: Record, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    paths = frames(folder)
    before = digests(paths)
    signer.sign_frames(folder, before, record)
    assert digests(paths) == before
    assert verify(folder).state == verify(paths[1]).state == "intact"
    assert verify(folder).record == record
    assert (folder / LIST).stat().st_size + (folder / SIDECAR).stat().st_size < 10_000


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: changed_in_the_middle(folder / "000001.png"), "000001.png"),
        (lambda folder: (folder / "000001.png").unlink(), "000001.png"),
        (lambda folder: (folder / LIST).write_text('{"frames": {}}'), "content was changed"),
        (lambda folder: (folder / LIST).write_text("[]"), "content was changed"),
        (lambda folder: (folder / LIST).unlink(), "is gone"),
        (lambda folder: changed_in_the_middle(folder / SIDECAR), ""),
    ],
    ids=["a frame", "a frame gone", "the list", "another list", "no list", "the mark"],
)
def test_changes_in_a_folder_are_noticed(
    signer: Signer, record: Record, tmp_path: Path, change: Callable[[Path], object], told: str
) -> None:
    folder = tmp_path / "frames"
    signer.sign_frames(folder, digests(frames(folder)), record)
    change(folder)
    found = verify(folder)
    assert found.state == "changed" and told in " ".join(found.problems)


def test_a_frame_that_is_not_on_the_list_has_no_mark(signer: Signer, record: Record, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    signer.sign_frames(folder, digests(frames(folder)), record)
    shutil.copy(folder / "000001.png", folder / "000007.png")
    assert verify(folder / "000007.png").state == "unmarked"


def test_a_frame_that_was_put_in_is_not_covered(signer: Signer, record: Record, tmp_path: Path) -> None:
    frames = [picture(tmp_path, ".png")]
    signer.sign_frames(tmp_path, digests(frames), record)
    (tmp_path / "notes.txt").write_text("no picture")
    assert verify(tmp_path).uncovered == 0
    shutil.copy(frames[0], tmp_path / "000900.png")
    found = verify(tmp_path)
    assert (found.state, found.uncovered) == ("intact", 1)


def test_a_changed_byte_that_is_not_noticed_changes_nothing_that_is_said(
    signer: Signer, record: Record, movie: Path
) -> None:
    """C2PA's own filling is neither signed nor read."""
    signer.sign_file(movie, record)
    content, said = movie.read_bytes(), verify(movie)
    random, unnoticed = np.random.default_rng(5), 0
    for at in random.integers(0, len(content), 120):
        movie.write_bytes(content[:at] + bytes([content[at] ^ 1 << int(random.integers(8))]) + content[at + 1 :])
        found = verify(movie)
        if found.state == "intact":
            unnoticed += 1
            assert found == said
    assert unnoticed < 60
    for end in random.integers(0, len(content), 30):
        movie.write_bytes(content[:end])
        assert verify(movie).state != "intact"


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"frames": {"../../etc/passwd": "x"}}', b"\xff", b"{}"])
def test_hostile_lists_are_changes(signer: Signer, record: Record, tmp_path: Path, content: bytes) -> None:
    frame = picture(tmp_path, ".png")
    signer.sign_frames(tmp_path, digests([frame]), record)
    (tmp_path / LIST).write_bytes(content)
    assert verify(tmp_path).state == "changed"
    assert verify(frame).state in ("changed", "unmarked")


def test_no_file_is_too_large_to_look_at(signer: Signer, record: Record, tmp_path: Path) -> None:
    frame = picture(tmp_path, ".png")
    signer.sign_frames(tmp_path, digests([frame]), record)
    with (tmp_path / SIDECAR).open("r+b") as file:
        file.truncate(40 << 30)  # without taking any of the disk
    found = verify(tmp_path)
    assert (found.state, found.problems) == ("changed", (f"{SIDECAR} is too large for a mark.",))


def test_lists_of_others_are_not_replaced(tmp_path: Path) -> None:
    check_list(tmp_path)
    (tmp_path / LIST).write_text("my own notes")
    with pytest.raises(PoseDubError, match="choose another folder"):
        check_list(tmp_path)


def test_names_that_are_no_text_are_written_as_what_they_are(signer: Signer, movie: Path) -> None:
    strange = {"role": "speech", "sha256": "cd" * 32, "name": "take\udcff.wav"}
    dub = {"job": "job7", "weights": WEIGHTS, "sources": [strange]}
    signer.sign_file(movie, Record.from_json({"format": 1, "version": "1", "dubs": [dub]}))
    assert verify(movie).record.dubs[0].sources[0].name == "take\\udcff.wav"


def test_a_certificate_that_cannot_be_kept_signs_all_the_same(record: Record, movie: Path) -> None:
    Signer(own_certificate(None)).sign_file(movie, record)
    assert verify(movie).self_signed


def test_a_files_own_certificate_is_made_once_and_only_for_its_user(tmp_path: Path) -> None:
    folder = tmp_path / "certificate"
    assert own_certificate(folder) == own_certificate(folder)
    (kept,) = folder.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.write_text("damaged")
    with pytest.raises(PoseDubError, match="delete it"):
        own_certificate(folder)


def studio(folder: Path, key, usage=ExtendedKeyUsageOID.EMAIL_PROTECTION) -> tuple[Path, Path, bytes]:  # noqa: ANN001
    """Certificate and key of a studio under an authority of its own, and that."""
    above, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "S")]),
    )
    parts = []
    for holder, ca in ((key, False), (above, True)):
        builder = x509.CertificateBuilder(
            name, name, holder.public_key(), x509.random_serial_number(), datetime.now(UTC) - timedelta(days=1),
            datetime.now(UTC) + timedelta(days=9),
        )  # fmt: skip
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        signs = x509.KeyUsage(not ca, False, False, False, False, ca, False, False, False)
        builder = builder.add_extension(signs, critical=True)
        known = x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key())
        builder = builder.add_extension(known, critical=False)
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        parts.append(builder.sign(above, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    chain, kept = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(parts))
    kept.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        if not isinstance(key, ed25519.Ed25519PrivateKey)
        else key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return chain, kept, parts[1]


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-384", "Ed25519", "RSA"],
)
def test_a_studio_signs_with_its_own_certificate_and_trusts_it(
    record: Record, movie: Path, tmp_path: Path, key: object
) -> None:
    chain, kept, authority = studio(tmp_path, key)
    Signer(given_certificate(chain, kept)).sign_file(movie, record)
    found = verify(movie)
    assert (found.state, found.signer, found.self_signed, found.trusted) == ("intact", "S", False, False)
    assert verify(movie, authority).trusted
    *_, stranger = studio(tmp_path, ed25519.Ed25519PrivateKey.generate())
    assert not verify(movie, stranger).trusted


def test_certificates_that_are_none_or_for_something_else(record: Record, movie: Path, tmp_path: Path) -> None:
    chain, kept, _ = studio(tmp_path, ec.generate_private_key(ec.SECP256R1()), ExtendedKeyUsageOID.CODE_SIGNING)
    before = movie.read_bytes()
    with pytest.raises(PoseDubError, match="certificate"):
        Signer(given_certificate(chain, kept)).sign_file(movie, record)
    assert movie.read_bytes() == before
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(PoseDubError, match="does not belong"):
        given_certificate(chain, studio(other, ec.generate_private_key(ec.SECP256R1()))[1])
    with pytest.raises(PoseDubError, match="in PEM"):
        given_certificate(movie, kept)


def test_records_of_another_form_are_refused() -> None:
    for data in ({}, [], {"format": 2, "dubs": [1]}, {"format": 1, "dubs": [{}], "version": "1"}, None):
        with pytest.raises(ValueError):
            Record.from_json(data)
