"""Hosts with shaped links, on one machine: a network namespace each, on the bridge of a namespace that is the switch.

Nothing is added to the machine's own namespace, and no route leaves the switch, so the outside network is neither touched nor
reachable. A link is shaped where packets leave: tbf on the host's device is its uplink, tbf on its port at the switch its
downlink. When a namespace goes, its devices go with it, so taking everything down is to delete the namespaces.

The prefix holds this process's id: what a killed run left behind is found by that and swept up by the next one.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.refusal import CannotMeasure
from scripts.benchmarks.scenario import show_rate

NAMESPACES = Path("/var/run/netns")
SHAPE = "burst 64kb latency 30ms"
SEGMENTS = ("net.ipv4.tcp_min_tso_segs=16",)
"""Of every host: what leaves the stack is sixteen packets at a time, as with a network card's offload, in place of two: one machine does
here what the cards of all hosts would do. The shapers cut it up again where they must, and count every byte and header."""
CONGESTION = "cubic"
"""Linux's own choice, whatever this machine's is."""
NO_FIREWALL = ("net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0", "net.bridge.bridge-nf-call-arptables=0")
"""Of the switch: where the machine has bridges look frames up in its firewall, each frame would cost twice."""
_SUBNET = "10.213.77"
_CLONE_NEWNET = 0x40000000
_LEFT_BEHIND = re.compile(r"mcb(\d+)-\w+")


@dataclass(frozen=True, slots=True)
class Link:
    """Bytes per second each way."""

    up: float
    down: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes on the wire since the host was made, frame headers included."""

    sent: int
    received: int

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.sent - other.sent, self.received - other.received)


def run_prefix() -> str:
    return f"mcb{os.getpid()}"


class Network:
    """`with Network({"origin": Link(…), "peer1": Link(…)}) as network`. Host names are at most 8 characters long."""

    def __init__(self, links: Mapping[str, Link]) -> None:
        self.prefix = run_prefix()
        self.links = dict(links)
        self._switch = f"{self.prefix}-switch"
        self._made: list[str] = []

    def __enter__(self) -> Network:
        try:
            self._build()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def address(self, host: str) -> str:
        return f"{_SUBNET}.{list(self.links).index(host) + 1}"

    def command(self, host: str, words: Sequence[str]) -> list[str]:
        """The same command, on that host. `ip` becomes the command: its pid is the program's."""
        return ["ip", "netns", "exec", self._namespace(host), *words]

    @contextmanager
    def inside(self, host: str) -> Iterator[None]:
        """Sockets made meanwhile belong to that host, also afterwards."""
        with _entered(self._namespace(host)):
            yield

    def traffic(self) -> dict[str, Traffic]:
        """Each host's, as the switch sees it: what its port received is what passed its uplink's shaper."""
        with _entered(self._switch):
            table = Path("/proc/thread-self/net/dev").read_text()
        ports = parse_device_table(table)
        return {host: Traffic(*ports[f"p-{host}"]) for host in self.links}

    def remove(self) -> None:
        while self._made:
            delete_namespace(self._made.pop())

    def _namespace(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    def _add_namespace(self, name: str) -> None:
        self._made.append(name)
        _say("ip", "netns", "add", name)

    def _settle(self, namespace: str, settings: Sequence[str]) -> None:
        if settings:
            _say("ip", "netns", "exec", namespace, "sysctl", "-qw", *settings)

    def _build(self) -> None:
        self._add_namespace(self._switch)
        bridge = f"{self.prefix}br"
        _say("ip", "-n", self._switch, "link", "add", bridge, "type", "bridge")
        _say("ip", "-n", self._switch, "link", "set", bridge, "up")
        self._settle(self._switch, [name for name in NO_FIREWALL if _is_setting(name)])
        for host in self.links:
            self._add_host(host, bridge)

    def _add_host(self, host: str, bridge: str) -> None:
        namespace, port, link = self._namespace(host), f"p-{host}", self.links[host]
        self._add_namespace(namespace)
        _batch("ip", self._switch, f"link add {port} type veth peer name eth0 netns {namespace}", f"link set {port} master {bridge} up")
        self._settle(namespace, SEGMENTS)
        _batch("ip", namespace, "link set lo up", f"addr add {self.address(host)}/24 dev eth0", "link set eth0 up")
        if CONGESTION in Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split():
            _batch("ip", namespace, f"route replace {_SUBNET}.0/24 dev eth0 src {self.address(host)} congctl {CONGESTION}")
        _batch("tc", namespace, f"qdisc add dev eth0 root tbf rate {show_rate(link.up)} {SHAPE}")
        _batch("tc", self._switch, f"qdisc add dev {port} root tbf rate {show_rate(link.down)} {SHAPE}")


def _is_setting(text: str) -> bool:
    return Path("/proc/sys", text.partition("=")[0].replace(".", "/")).exists()


def parse_device_table(text: str) -> dict[str, tuple[int, int]]:
    """/proc/net/dev as device: (bytes received, bytes sent)."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        columns = numbers.split()
        found[name.strip()] = (int(columns[0]), int(columns[8]))
    return found


def sweep(folder: Path) -> None:
    """Remove what runs whose process is gone have left: namespaces with the processes in them, and folders of theirs in the given one."""
    for path in left_behind(NAMESPACES):
        pids = subprocess.run(["ip", "netns", "pids", path.name], capture_output=True, text=True, check=False).stdout.split()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        delete_namespace(path.name)
    for path in left_behind(folder):
        shutil.rmtree(path, ignore_errors=True)


def left_behind(folder: Path) -> list[Path]:
    paths = folder.iterdir() if folder.is_dir() else []
    return [path for path in paths if (match := _LEFT_BEHIND.fullmatch(path.name)) and not Path(f"/proc/{match[1]}").exists()]


def delete_namespace(name: str) -> None:
    # Quiet: after an interrupted start some are not there, and a failure to delete one must not keep the others.
    subprocess.run(["ip", "netns", "delete", name], stdin=subprocess.DEVNULL, capture_output=True, check=False, start_new_session=True)


@contextmanager
def _entered(namespace: str) -> Iterator[None]:
    """This thread moves into the namespace and back."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(NAMESPACES / namespace, os.O_RDONLY)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def _setns(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "can't enter a network namespace")


def _batch(program: str, namespace: str, *lines: str) -> None:
    _say(program, "-n", namespace, "-batch", "-", told="\n".join(lines) + "\n")


def _say(*words: str, told: str = "") -> None:
    ran = subprocess.run(words, input=told, capture_output=True, text=True, check=False, start_new_session=True)
    if ran.returncode:
        raise CannotMeasure(f"`{' '.join(words)}` failed: {(ran.stderr or ran.stdout).strip() or ran.returncode}")
