"""With whose key marks are signed: a studio's own certificate, or one that is made on this computer, once.

The profile is that of C2PA 2 (section 14.5, X.509 certificates): what it lacks, readers refuse.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from model_server.errors import ErrorKind, PoseDubError
from model_server.files import replacing
from model_server.surroundings import naming

SELF_MADE = "PoseDub, self-signed"
"""Organisation of certificates that are made here: whoever reads the mark must see that nobody vouches for it."""

_FILE = "signing.pem"
_YEARS = 10
_KEY_BEGINS = b"-----BEGIN PRIVATE KEY-----"


@dataclass(frozen=True)
class Certificate:
    """What marks are signed with.

    Attributes:
        chain: leaf first, PEM.
        key: of the leaf, PKCS#8 in PEM.
        algorithm: C2PA's name of the signature, "es256" for example.
    """

    chain: bytes
    key: bytes
    algorithm: str


def given_certificate(chain: Path, key: Path) -> Certificate:
    """A certificate and its key from PEM files; PoseDubError when they are none or not each other's."""
    contents = [_content(path) for path in (chain, key)]
    try:
        leaf = x509.load_pem_x509_certificates(contents[0])[0]
        loaded = serialization.load_pem_private_key(contents[1], None)
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm) as error:
        raise PoseDubError(
            f"{chain} and {key} are no certificate and unencrypted key in PEM ({error}); export them so."
        ) from error
    if loaded.public_key() != leaf.public_key():
        raise PoseDubError(f"The key {key} does not belong to the certificate {chain}; give the pair.")
    return Certificate(contents[0], _pkcs8(loaded), _algorithm(loaded, key))


def own_certificate(folder: Path | None) -> Certificate:
    """This computer's own certificate, made and kept in a folder at the first call; only this user may read it.

    Args:
        folder: None where there is none to keep it in; each process then has one of its own.
    """
    if folder is None:
        return Certificate(*_made(), "es256")
    path = folder / _FILE
    with naming(path):
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            chain, key = _made()
            with replacing(path, durable=True) as part, open(part, "xb", opener=_for_this_user) as file:
                file.write(chain + key)
        content = path.read_bytes()
    chain, begins, key = content.partition(_KEY_BEGINS)
    if not begins:
        raise PoseDubError(f"The certificate {path} is damaged; delete it, and a new one is made.", ErrorKind.CORRUPT)
    return Certificate(chain, begins + key, "es256")


def _for_this_user(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _made() -> tuple[bytes, bytes]:
    """Chain and key of a new leaf under an authority whose key is thrown away, so that it vouches for nothing else."""
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer, subject = _name("authority of one computer"), _name("made on this computer")
    above = _builder(issuer, issuer, authority.public_key(), authority.public_key(), is_authority=True)
    leaf = _builder(subject, issuer, key.public_key(), authority.public_key(), is_authority=False)
    signed = [one.sign(authority, hashes.SHA256()) for one in (leaf, above)]
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in signed), _pkcs8(key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signed_by: ec.EllipticCurvePublicKey,
    is_authority: bool,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks of other computers
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(_usage(is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by), critical=False)
    )
    if is_authority:
        return builder
    # Readers of C2PA refuse leaves that are for code or clients; that for mail is the one they take.
    return builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)


def _usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, SELF_MADE), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def _algorithm(key: PrivateKeyTypes, path: Path) -> str:
    """C2PA's name of the signatures of a key."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in (256, 384):
        return f"es{key.curve.key_size}"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    raise PoseDubError(f"The key {path} is of a kind that marks cannot have; use P-256, P-384, Ed25519 or RSA 2048.")


def _pkcs8(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PoseDubError(f"{path} cannot be read ({error.strerror}); check the path.", ErrorKind.NOT_FOUND) from error
