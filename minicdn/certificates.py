"""`minicdn cert`: a private authority, and certificates by it, for nodes that have none.

    ca.pem, ca-key.pem          the authority, made once for a folder; clients are given ca.pem, and nobody ca-key.pem
    node.pem, node-key.pem      a node's certificate with its key; --name gives others

Keys are on the curve P-256. A certificate lives for 800 days, as some systems refuse more than 825.
"""

from __future__ import annotations

import datetime
import os
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from minicdn.errors import OperatorError, UsageError
from minicdn.wire.address import guess_own_address
from minicdn.wire.tls import file_fingerprint

NODE_DAYS, AUTHORITY_DAYS = 800, 3650


def make(folder: Path, name: str, hosts: Iterable[str]) -> str:
    """Writes what is missing; returns the text for the person. OperatorError, UsageError."""
    hosts = [*dict.fromkeys([*hosts] or _own_names())]
    certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    if name == "ca" or Path(name).name != name:
        raise UsageError(f"--name {name}: write a plain name, such as laptop1")
    for path in (certificate, key):
        if path.exists():
            raise OperatorError(f"{path} is there already; choose another --name, or another folder with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, certificate, key, hosts)
    except OSError as error:
        raise OperatorError(f"{folder}: {error.strerror or error}") from None
    return "\n".join(
        [
            f"{certificate} and {key}, for {', '.join(hosts)}",
            f"  fingerprint {file_fingerprint(certificate)}",
            f"  a node takes them with: --tls-cert {certificate} --tls-key {key}",
            f"  clients trust them with: curl --cacert {folder / 'ca.pem'}",
        ]
    )


def _write(folder: Path, certificate: Path, key: Path, hosts: list[str]) -> None:
    names = [_general_name(host) for host in hosts]
    authority, authority_key = _authority(folder)
    made_key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = (
        _begin(hosts[0], made_key, NODE_DAYS)
        .issuer_name(authority.subject)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
    )
    made = builder.sign(authority_key, hashes.SHA256())
    _put_key(key, made_key)
    _put(certificate, _pem(made) + _pem(authority), 0o644)


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The folder's; made where there is none."""
    path, key_path = folder / "ca.pem", folder / "ca-key.pem"
    if path.exists() and key_path.exists():
        try:
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
            found = x509.load_pem_x509_certificate(path.read_bytes())
        except (ValueError, TypeError) as error:
            raise OperatorError(f"{folder}: ca.pem and ca-key.pem can't be read: {error}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise OperatorError(f"{key_path} is not a key that minicdn cert has made")
        return found, key
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # to sign certificates and lists of revoked ones
    builder = (
        _begin(name := f"minicdn at {socket.gethostname()}", key, AUTHORITY_DAYS)
        .issuer_name(_subject(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    made = builder.sign(key, hashes.SHA256())
    _put_key(key_path, key)
    _put(path, _pem(made), 0o644)
    return made, key


def _begin(name: str, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    """Valid since yesterday, for clocks that are behind."""
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(_subject(name)).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    return builder.not_valid_after(now + datetime.timedelta(days=days))


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        pass
    if not host.isascii() or not host or any(char in host for char in " /:@"):
        raise UsageError(f"--host {host}: neither a host's name nor an address")
    return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _put_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _put(path, data, 0o600)


def _put(path: Path, data: bytes, mode: int) -> None:
    """Never over a file that is there; a key is nobody else's from its first moment."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def _own_names() -> list[str]:
    return [socket.gethostname(), "localhost", guess_own_address(), "127.0.0.1", "::1"]
