"""libtorrent on one host of the comparison; run by a Python that has libtorrent, and by nothing else of this folder imported.

    torrent_host.py make TORRENT FILE [WEB SEED]
    torrent_host.py seed|peer TORRENT FOLDER ADDRESS OTHER…     OTHER: addresses to connect to

A peer begins when it is asked for /wait, and answers when it has every piece checked. /_stats tells what was transferred.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import libtorrent as lt

DOOR, TORRENT_PORT = 11001, 6881
PIECE_BYTES = 256 << 10

SETTINGS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "allow_multiple_connections_per_ip": True,
    "connection_speed": 500,
    "connections_limit": 500,
    "unchoke_slots_limit": 100,
    "unchoke_interval": 2,
    "optimistic_unchoke_interval": 2,
    "max_out_request_queue": 1500,
    "max_allowed_in_request_queue": 4000,
    "request_queue_time": 3,
    "send_buffer_watermark": 3 << 20,
    "send_buffer_low_watermark": 512 << 10,
    "send_buffer_watermark_factor": 150,
    "min_reconnect_time": 1,
    "peer_connect_timeout": 5,
    "torrent_connect_boost": 100,
    "urlseed_pipeline_size": 8,
    "max_web_seed_connections": 3,
    "initial_picker_threshold": 0,
    "alert_mask": 0,
}
"""Opened for a fast local network: TCP alone, everybody unchoked, long request queues."""


def make(torrent: str, file: str, *web_seeds: str) -> None:
    storage = lt.file_storage()
    lt.add_files(storage, file)
    made = lt.create_torrent(storage, PIECE_BYTES, lt.create_torrent.v1_only)
    for url in web_seeds:
        made.add_url_seed(url + Path(file).name)
    lt.set_piece_hashes(made, str(Path(file).parent))
    Path(torrent).write_bytes(lt.bencode(made.generate()))


class Host:
    def __init__(self, role: str, torrent: str, folder: str, address: str, others: list[str]) -> None:
        self._torrent, self._folder, self._others = torrent, folder, others
        self._session = lt.session({**SETTINGS, "listen_interfaces": f"{address}:{TORRENT_PORT}"})
        self._handle: lt.torrent_handle | None = None
        self._lock = threading.Lock()
        if role == "seed":
            self.wait_whole()

    def wait_whole(self) -> None:
        with self._lock:
            if self._handle is None:
                self._handle = self._begin()
        while not self._handle.status().is_seeding:
            time.sleep(0.02)

    def _begin(self) -> lt.torrent_handle:
        params = lt.add_torrent_params()
        params.ti, params.save_path = lt.torrent_info(self._torrent), self._folder
        # Added to the flags' own default: neither paused nor waiting for its turn.
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        handle = self._session.add_torrent(params)
        for other in self._others:
            handle.connect_peer((other, TORRENT_PORT))
        return handle

    def stats(self) -> dict:
        if self._handle is None:
            return {"is_ready": True}
        status = self._handle.status()
        numbers = {name: getattr(status, name) for name in ("total_payload_upload", "total_payload_download", "num_peers", "num_seeds")}
        return {"is_ready": True, **numbers, "failed_bytes": status.total_failed_bytes, "redundant_bytes": status.total_redundant_bytes}


def serve(role: str, torrent: str, folder: str, address: str, *others: str) -> None:
    host = Host(role, torrent, folder, address, list(others))

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/wait":
                host.wait_whole()
            body = json.dumps(host.stats()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    ThreadingHTTPServer((address, DOOR), Door).serve_forever()


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    if command == "make":
        make(*words)
    else:
        serve(command, *words)
