"""Every option, once: its flag, environment twin, toml key, the setting it fills, and its line of help.

cli.py makes flags of this table, config.py reads environment and file by it, and a test holds README.md against it.
Options that the whole cluster must agree on are the manager's alone; peers are told them when they join.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from minicdn.settings import Settings
from minicdn.values import (
    format_duration,
    format_rate,
    format_size,
    parse_base_url,
    parse_count,
    parse_duration,
    parse_fingerprint,
    parse_lifetimes,
    parse_names,
    parse_node_url,
    parse_port,
    parse_rate,
    parse_size,
    parse_switch,
    parse_text,
    parse_token,
)

PEER_PORT = 11001
MANAGER, PEER, BOTH = ("manager",), ("peer",), ("manager", "peer")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is written: the word in help texts, its parser, and the toml types that may stand for it."""

    metavar: str
    parse: Callable[[str], object]
    toml_types: tuple[type, ...] = (str,)
    toml_example: str = '"text"'


URL = Kind("URL", parse_base_url, toml_example='"https://files.example.com"')
NODE_URL = Kind("URL", parse_node_url, toml_example='"http://192.168.1.5:11000"')
TEXT = Kind("TEXT", parse_text)
FOLDER = Kind("DIR", parse_text)
FILE = Kind("FILE", parse_text)
SECRET = Kind("TOKEN", parse_token)
FINGERPRINT = Kind("SHA256", parse_fingerprint, toml_example='"sha256:…"')
PORT = Kind("PORT", parse_port, (int,), "11000")
SIZE = Kind("SIZE", parse_size, (str, int), '"256MiB"')
RATE = Kind("RATE", parse_rate, (str, int), '"10MB/s"')
DURATION = Kind("TIME", parse_duration, (str, int, float), '"15s"')
NAMES = Kind("NAMES", parse_names, toml_example='"signature,expires"')
LIFETIMES = Kind("RULES", parse_lifetimes, toml_example='"/pool/*=7d"')
COUNT = Kind("N", parse_count, (int,), "64")
SWITCH = Kind("on|off", parse_switch, (bool,), "true")


@dataclass(frozen=True, slots=True)
class Option:
    name: str
    setting: str
    kind: Kind
    roles: tuple[str, ...]
    group: str
    help: str
    is_positive: bool = False
    """Zero would mean never, or nothing; only positive values make sense."""

    @property
    def env(self) -> str:
        return "MINICDN_" + self.name.upper().replace("-", "_")

    @property
    def flags(self) -> str:
        return f"--{self.name}/--no-{self.name}" if self.kind is SWITCH else f"--{self.name}"

    def default(self, role: str) -> object:
        return PEER_PORT if role == "peer" and self.name == "port" else _DEFAULTS[self.setting]

    def default_text(self, role: str) -> str:
        value = self.default(role)
        if self.name == "cache-dir":
            return f"{role}-PORT in the user's cache folder"
        if value is None or value == ():
            return ""
        if self.kind is SIZE:
            return format_size(value)  # type: ignore[arg-type]
        if self.kind is RATE:
            return format_rate(value)  # type: ignore[arg-type]
        if self.kind is DURATION:
            return format_duration(value)  # type: ignore[arg-type]
        return ("on" if value else "off") if self.kind is SWITCH else str(value)


_DEFAULTS = {field.name: field.default for field in fields(Settings)}

OPTIONS = (
    Option("upstream", "upstream", URL, MANAGER, "Node", "The site to serve: an http or https URL, with a path or without. Required."),
    Option("manager", "manager", NODE_URL, PEER, "Node", "The manager to join, as its start printed it. Required."),
    Option("host", "host", TEXT, BOTH, "Node", "The address to listen on; 0.0.0.0 is all of IPv4, :: all."),
    Option("port", "port", PORT, BOTH, "Node", "The port to listen on; 0 picks a free one."),
    Option("advertise", "advertise", NODE_URL, BOTH, "Node", "The URL at which others reach this node, when it can't be guessed."),
    Option(
        "back-to-source",
        "may_ask_upstream",
        SWITCH,
        PEER,
        "Node",
        "Own files and ask the upstream for them; off: never contact it, and answer 502 where no other node helps.",
    ),
    Option(
        "token-file",
        "token_file",
        FILE,
        BOTH,
        "Security",
        "Read the cluster's token from this file's first line. Only nodes that know it join, ask each other and purge.",
    ),
    Option("token", "token", SECRET, BOTH, "Security", "The token itself, 16 characters at least; a file keeps it better."),
    Option("tls-cert", "tls_cert", FILE, BOTH, "Security", "Speak TLS with this certificate (PEM); minicdn cert makes one."),
    Option("tls-key", "tls_key", FILE, BOTH, "Security", "The certificate's private key (PEM)."),
    Option(
        "fingerprint",
        "fingerprint",
        FINGERPRINT,
        PEER,
        "Security",
        "The manager's certificate, as its start printed it: sha256:…; without it, the system's authorities decide.",
    ),
    Option(
        "workers",
        "workers_count",
        COUNT,
        PEER,
        "Node",
        "So many processes share the port, each a peer with its part of the budgets and caps; 0: one per core.",
    ),
    Option("cache-dir", "cache_dir", FOLDER, BOTH, "Node", "The folder of large files; one node per folder."),
    Option("memory", "memory_bytes", SIZE, BOTH, "Node", "Budget of the memory cache.", True),
    Option("disk", "disk_bytes", SIZE, BOTH, "Node", "Budget of the disk cache; 0 keeps nothing there."),
    Option("small", "small_bytes", SIZE, MANAGER, "Node", "Files up to this size live in memory, larger ones on disk."),
    Option("log", "log", FILE, MANAGER, "Log", "Write a JSON line per request to this file; - is standard output."),
    Option("log-size", "log_file_bytes", SIZE, MANAGER, "Log", "The log file is rotated at this size.", True),
    Option("log-keep", "log_files_kept", COUNT, MANAGER, "Log", "How many rotated log files are kept."),
    Option("log-buffer", "log_lines_buffered_max", COUNT, BOTH, "Log", "Log lines held while the manager, or its disk, is away.", True),
    Option("grace", "grace_seconds", DURATION, MANAGER, "Caching", "How long a stale file may stand in for a failing upstream."),
    Option("negative-ttl", "negative_seconds", DURATION, MANAGER, "Caching", "How long a 404 or the like is kept when it doesn't say."),
    Option("heuristic", "heuristic", SWITCH, MANAGER, "Caching", "Guess a lifetime from Last-Modified where none is given."),
    Option(
        "default-ttl",
        "default_ttls",
        LIFETIMES,
        MANAGER,
        "Caching",
        "PATTERN=TIME,… for answers that say nothing of their lifetime: /pool/*=7d,*.html=60s.",
    ),
    Option(
        "follow-redirects",
        "follows_redirects",
        SWITCH,
        MANAGER,
        "Caching",
        "Follow the upstream's redirects here, wherever they lead, instead of passing them on.",
    ),
    Option(
        "ignored-query",
        "ignored_query",
        NAMES,
        MANAGER,
        "Caching",
        "Query parameters that do not tell files apart, by name: signature,expires. The upstream still gets them.",
    ),
    Option(
        "obey-request-directives",
        "obey_request_directives",
        SWITCH,
        MANAGER,
        "Caching",
        "Let clients force a fetch (Cache-Control: no-cache and the like); turn off on the day of the crowd.",
    ),
    Option("renew", "renew_seconds", DURATION, MANAGER, "Membership", "How often a peer reports.", True),
    Option("window", "window_seconds", DURATION, MANAGER, "Membership", "A peer silent for this long is out.", True),
    Option("probe", "probe_seconds", DURATION, MANAGER, "Membership", "How long a joining peer's address may take to answer.", True),
    Option("peers-max", "peers_max", COUNT, MANAGER, "Membership", "The most peers that are listed.", True),
    Option(
        "upstream-leases",
        "upstream_leases_max",
        COUNT,
        MANAGER,
        "Membership",
        "So many nodes may ask the upstream for one file when its owners fail.",
        True,
    ),
    Option("lease-ttl", "lease_seconds", DURATION, MANAGER, "Membership", "Such a permission ends by itself after this long.", True),
    Option(
        "peer-aside",
        "peer_aside_seconds",
        DURATION,
        BOTH,
        "Membership",
        "A peer that can't be talked to is left alone for moments that grow, up to this.",
    ),
    Option("connect-timeout", "connect_seconds", DURATION, BOTH, "Waits", "To connect to the upstream.", True),
    Option("upstream-timeout", "upstream_read_seconds", DURATION, BOTH, "Waits", "The longest silence of the upstream.", True),
    Option("peer-connect-timeout", "peer_connect_seconds", DURATION, BOTH, "Waits", "To connect to a peer.", True),
    Option("peer-timeout", "peer_read_seconds", DURATION, BOTH, "Waits", "The longest silence of a peer; more than the upstream's.", True),
    Option("client-stall", "client_stall_seconds", DURATION, BOTH, "Waits", "A client that takes no byte for this long is cut off.", True),
    Option("drain", "drain_seconds", DURATION, BOTH, "Waits", "How long the first Ctrl-C waits for running downloads."),
    Option(
        "up",
        "up_bytes_per_second",
        RATE,
        BOTH,
        "Limits",
        "Send no more than this to peers and to clients on other machines: 10MB/s, 80Mbit/s.",
    ),
    Option("down", "down_bytes_per_second", RATE, BOTH, "Limits", "Receive no more than this from peers and the upstream."),
    Option(
        "upstream-rate",
        "upstream_bytes_per_second",
        RATE,
        MANAGER,
        "Limits",
        "The upstream sends no more than this to all nodes together.",
    ),
    Option(
        "max-connections",
        "connections_max",
        COUNT,
        BOTH,
        "Limits",
        "Clients' and peers' connections, at most; beyond, a 503 at once. 0: by the system's limit of open files.",
    ),
    Option("upstream-connections", "upstream_connections_max", COUNT, BOTH, "Limits", "To the upstream, at most.", True),
    Option(
        "upload-slots",
        "upload_slots_count",
        COUNT,
        BOTH,
        "Limits",
        "Pieces sent to peers at once before more are referred to other holders; 0: by the measured uplink.",
    ),
    Option("peer-connections", "peer_connections_max", COUNT, BOTH, "Limits", "To other peers, at most.", True),
)


def options_of(role: str) -> list[Option]:
    return [option for option in OPTIONS if role in option.roles]
