"""TLS contexts, all made here: for the listening socket, for peers whose certificate is known by its fingerprint, and for everybody else.

A fingerprint is `sha256:` and the 64 hex digits of the SHA-256 of the certificate (DER). A node that is known by its fingerprint needs no
authority, no name and no right clock: it is that certificate or it is not.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import certifi

PinOf = Callable[[str], str | None]
"""The fingerprint of the node at a URL (scheme://host:port, in its one spelling); None where none is known, so that authorities decide."""


class WrongCertificate(ssl.SSLError):
    """Another node answers, or one in the middle."""

    def __str__(self) -> str:
        return str(self.args[0])


def fingerprint(certificate: bytes) -> str:
    """Of a certificate in DER."""
    return f"sha256:{sha256(certificate).hexdigest()}"


def file_fingerprint(path: str | Path) -> str:
    """Of the first certificate in a PEM file, which is the node's own. Raises OSError, ValueError."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    _, found, rest = Path(path).read_text("ascii", "replace").partition(begin)
    body, ended, _ = rest.partition(end)
    if not found or not ended:
        raise ValueError("there is no certificate in it")
    return fingerprint(ssl.PEM_cert_to_DER_cert(begin + body + end))


def listening(certificate: str | Path, key: str | Path) -> ssl.SSLContext:
    """For the node's socket. Raises OSError (ssl.SSLError is one), ValueError where a password would be needed."""

    def password() -> str:
        raise ValueError("the key is locked with a password; give one that is not")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key, password)
    return context


def pinned(pin: str) -> ssl.SSLContext:
    """For a connection to the one node that has this certificate. Nothing is said to another: the handshake fails."""

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            _check(self, pin)

    class PinnedSocket(ssl.SSLSocket):
        def do_handshake(self, *arguments: Any) -> None:
            super().do_handshake(*arguments)
            _check(self, pin)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslobject_class, context.sslsocket_class = Pinned, PinnedSocket
    context.set_alpn_protocols(["http/1.1"])
    return context


def _check(made: ssl.SSLObject | ssl.SSLSocket, pin: str) -> None:
    found = fingerprint(made.getpeercert(binary_form=True) or b"")
    if found != pin:
        raise WrongCertificate(f"its certificate is {found}, not {pin}")


def trusting() -> ssl.SSLContext:
    """The system's certificate authorities; where it has none to show, certifi's."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not context.get_ca_certs() and not (paths.capath or paths.cafile):
        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


class Contexts:
    """For a client of many nodes: one context for each fingerprint, and one for all who have none."""

    def __init__(self, pin_of: PinOf | None = None) -> None:
        self._pin_of = pin_of or (lambda url: None)
        self._pinned: dict[str, ssl.SSLContext] = {}
        self._trusting: ssl.SSLContext | None = None

    def of(self, url: str) -> ssl.SSLContext | None:
        """None: no TLS there."""
        if not url.startswith("https:"):
            return None
        pin = self._pin_of(url)
        if pin is None:
            self._trusting = self._trusting or trusting()
            return self._trusting
        if pin not in self._pinned:
            if len(self._pinned) >= 4096:
                self._pinned.clear()
            self._pinned[pin] = pinned(pin)
        return self._pinned[pin]
