"""Every tunable of a node, with its default and its unit, in one place.

cli.py fills it from flag, environment, file, default (in that order); tests fill it by hand. It is immutable: what changes
while a node runs is state, and lives with whoever changes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Settings:
    """Sizes in bytes, times in seconds."""

    role: str = "manager"
    """`manager` or `peer`."""
    upstream: str | None = None
    """Absolute http(s) URL, without a trailing slash; a peer learns it from its manager."""
    manager: str | None = None
    """Absolute URL of the manager; peers only."""
    host: str = "0.0.0.0"
    port: int = 11000
    advertise: str | None = None
    """The URL at which others reach this node; None: the address that the manager sees, and our port."""
    may_ask_upstream: bool = True
    """False: this peer owns nothing, and never contacts the upstream; peers only."""
    workers_count: int = 1
    """Processes that share the port, each a peer of its own; 0: as many as there are cores. Peers only."""
    cache_dir: Path | None = None
    memory_bytes: int = 256 * MIB
    disk_bytes: int = 20 * GIB
    small_bytes: int = 4 * MIB
    """Bodies up to this many bytes live in memory; larger ones, and those of unknown length, on disk."""
    log: str | None = None
    """A file's path, `-` for standard output, or None. Managers write; peers send to the manager."""
    log_file_bytes: int = 64 * MIB
    """The log file is renamed to FILE.1 … FILE.`log_files_kept` at this size."""
    log_files_kept: int = 5

    # Who may do what (docs/security.md)
    token: str | None = field(default=None, repr=False)
    """What all nodes of a cluster know, and nobody else; None: whoever reaches a node may speak as one."""
    token_file: str | None = None
    """Where the token was read from; for the line that is printed for others."""
    tls_cert: str | None = None
    tls_key: str | None = None
    """PEM files; None: no TLS."""
    fingerprint: str | None = None
    """`sha256:` and 64 hex digits: the manager's certificate; None: authorities decide. Peers only."""

    # Membership
    renew_seconds: float = 5.0
    window_seconds: float = 15.0
    """A peer silent for this long is out."""
    probe_seconds: float = 3.0
    """How long the manager waits for an answer when it tries a peer's advertised address."""
    peers_max: int = 4096
    upstream_leases_max: int = 2
    """So many nodes may ask the upstream for one file as a last resort, at a time."""
    lease_seconds: float = 300.0
    """A lease that is not given back ends by itself."""

    # Waits
    connect_seconds: float = 5.0
    upstream_read_seconds: float = 60.0
    """The longest silence of the upstream, before its head and between its bytes."""
    peer_connect_seconds: float = 2.0
    peer_read_seconds: float = 75.0
    """Longer than the upstream's: the owner's verdict about a silent upstream must arrive first."""
    client_stall_seconds: float = 300.0
    """A client that takes no byte for this long is cut off."""
    peer_aside_seconds: float = 5.0
    """A peer that could not be talked to is left alone for moments that grow up to this; 0: never."""
    drain_seconds: float = 3600.0
    """A warm close waits this long for downloads at most."""

    # Caps; 0: none
    up_bytes_per_second: int = 0
    """To peers, and to clients on other machines."""
    down_bytes_per_second: int = 0
    """From peers and the upstream."""
    upstream_bytes_per_second: int = 0
    """From the upstream to all nodes together, in equal shares; a peer learns it from its manager."""

    # Bounds
    connections_max: int = 0
    """Connections that are served at a time; 0: as many as the limit of open files allows (core/shedding.py)."""
    upstream_connections_max: int = 64
    peer_connections_max: int = 256
    upload_slots_count: int = 0
    """How many pieces for other peers may wait for this node's uplink at once before more askers are referred; 0: as many as the measured
    uplink serves within a second."""
    log_lines_buffered_max: int = 10_000

    # Caching rules (docs/caching.md)
    grace_seconds: float = 7 * 24 * 3600.0
    """How long past its freshness a body may be served when the upstream fails."""
    negative_seconds: float = 10.0
    """Lifetime of an error answer (404, 410 …) that came without one."""
    heuristic: bool = True
    obey_request_directives: bool = True
    follows_redirects: bool = False
    """Redirects of the upstream are followed here, and the client gets what they lead to."""
    ignored_query: tuple[str, ...] = ()
    """Names of query parameters that are no part of the key (signatures, session ids); the upstream still gets them."""
    default_ttls: tuple[tuple[str, float], ...] = ()
    """(pattern, lifetime) pairs for responses that say nothing of theirs; the first shell pattern that fits the key counts."""
