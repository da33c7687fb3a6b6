"""Certificates as an operator makes them: an authority, and what it has signed."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from auditspan.delivery.otlp_sink import TlsFiles

HOST = "127.0.0.1"
_DAY = timedelta(days=1)
_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, kw_only=True)
class Authority:
    """Signs certificates; its own lies in `directory`/ca.crt."""

    directory: Path
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        built = _builder(self.name, self.key.public_key(), self.name)
        built = built.add_extension(constraints, critical=True)
        built = built.add_extension(_SIGNS, critical=True)
        built = built.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
        )
        _write(self.certificate, built.sign(self.key, hashes.SHA256()))

    @property
    def name(self) -> x509.Name:
        """Whom its certificates name as their issuer; each authority has another."""
        return _name(f"auditspan test authority {self.directory.name}")

    @property
    def certificate(self) -> Path:
        """Its own certificate."""
        return self.directory / "ca.crt"

    def issue(self, who: str, *, server: bool = False) -> tuple[Path, Path]:
        """A certificate for this name, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))])
        built = _builder(_name(who), key.public_key(), self.name)
        built = built.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        built = built.add_extension(names, critical=False)
        built = built.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
            critical=False,
        )
        files = self.directory / f"{who}.crt", self.directory / f"{who}.key"
        _write(files[0], built.sign(self.key, hashes.SHA256()))
        _write_key(files[1], key)
        return files

    def client(self, who: str = "worker") -> TlsFiles:
        """What a client of this authority has."""
        certificate, key = self.issue(who)
        return TlsFiles(
            certificate=self.certificate, client_certificate=certificate, client_key=key
        )


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, issuer: x509.Name
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _write(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(Encoding.PEM))


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
