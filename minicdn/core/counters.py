"""What a node counts, and what it measures when asked, under documented names.

One table each holds a name and its meaning; the README lists the same, a test compares them, and Prometheus is told the same
(metrics.py), where each sentence stands alone. A name that is not in the table can't be counted: a typing error shows at once
instead of starting a second number. Counters only grow, from zero at the start of the process; what goes up and down (memory in
use, open connections) is a gauge, measured when asked.

Counting is one dictionary addition, as it happens several times for each request; it belongs to the event loop's thread.
"""

from __future__ import annotations

COUNTERS: dict[str, str] = {
    "requests_count": "requests of clients for content (not those under /_…)",
    "responses_4xx_count": "requests of clients for content that were answered with 400 to 499",
    "responses_5xx_count": "requests of clients for content that were answered with 500 to 599",
    "redirects_count": "clients that the manager sent to a peer",
    "bytes_memory": "body bytes sent to clients out of this node's memory",
    "bytes_disk": "body bytes sent to clients from this node's disk",
    "bytes_peer": "body bytes sent to clients while they came from another peer",
    "bytes_upstream": "body bytes sent to clients while they came from the upstream",
    "hits_count": "requests answered from what was stored and fresh",
    "misses_count": "requests that started a fill",
    "joins_count": "requests that joined a fill under way",
    "revalidations_count": "stored answers that the upstream confirmed (304)",
    "stale_count": "stale answers served because the upstream failed, or was allowed to wait",
    "shed_requests_count": "requests that were answered 503 because this node had no place or no memory for more",
    "shed_connections_count": "connections that were answered 503 unheard, as even the reserve was taken",
    "passes_count": "requests passed through unstored",
    "purges_count": "purges and invalidations carried out on this node, wherever they came from",
    "purged_entries_count": "stored answers that purges and invalidations made stale, or removed",
    "preheated_count": "files that a preheat brought to this node, or found there",
    "evictions_count": "entries dropped for want of room",
    "fills_abandoned_count": "fills given up because every reader had left",
    "broken_bodies_count": "bodies that ended before their end, so that clients were cut off",
    "upstream_requests_count": "requests to the upstream",
    "upstream_received_bytes": "body bytes that came from the upstream",
    "upstream_errors_count": "requests that the upstream failed to answer, or broke off",
    "upstream_spared_count": "requests that were not sent because no connection to the upstream could be made a moment before",
    "leases_granted_count": "leases to ask the upstream as a last resort that the manager granted",
    "leases_refused_count": "leases to ask the upstream as a last resort that the manager refused, as enough nodes held one",
    "peer_requests_count": "requests to other peers",
    "peer_received_bytes": "body bytes that came from other peers",
    "peer_sent_bytes": "body bytes sent to other peers",
    "peers_spared_count": "requests that were not sent to a peer because it could not be talked to a moment before",
    "peer_errors_count": "requests that another peer could not be asked, or broke off",
    "referrals_count": "pieces for which another peer named holders, or asked to come back later",
    "wrong_pieces_count": "pieces from other peers whose bytes were not those that their owner had named",
    "wrong_files_count": "large files that were dropped since they had not the digest that their upstream names",
    "refusals_count": "requests that were refused for want of the token",
    "disk_errors_count": "writes and reads that the disk refused",
    "damaged_pieces_count": "pieces on disk that were not as they had been written, and were dropped",
    "log_lines_count": "log lines made on this node",
    "log_lines_dropped_count": "log lines lost because a bounded buffer was full or the log could not be written",
}

GAUGES: dict[str, str] = {
    "memory_main_bytes": "memory taken by files that this node owns, with their heads and book-keeping",
    "memory_hot_bytes": "memory taken by copies of files that others own",
    "memory_filling_bytes": "memory taken by files that are still coming",
    "memory_entries_count": "stored answers in memory",
    "disk_used_bytes": "disk space taken by bodies",
    "disk_entries_count": "stored answers on disk",
    "fills_count": "fills under way",
    "peers_count": "peers in the list that this node follows",
    "connections_count": "open connections of clients and peers",
    "uptime_seconds": "seconds since this process started",
    "up_cap_bytes_per_second": "what this node may send in a second (--up); 0: no cap",
    "down_cap_bytes_per_second": "what this node may receive in a second (--down); 0: no cap",
    "upstream_cap_bytes_per_second": "this node's share of what the upstream may send in a second (--upstream-rate); 0: no cap",
    "up_bytes_per_second": "what was sent in a second to peers and to clients on other machines, as a mean of the last five",
    "down_bytes_per_second": "what was received in a second from peers and the upstream, as a mean of the last five",
    "log_lines_waiting_count": "log lines that wait for the manager (peers only)",
}


class Counters:
    """`values` is public for the hottest path, which may write `counters.values["requests_count"] += 1`."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: dict[str, int] = dict.fromkeys(COUNTERS, 0)

    def add(self, name: str, n: int = 1) -> None:
        """KeyError for a name that is not in the table."""
        self.values[name] += n

    def get(self, name: str) -> int:
        return self.values[name]

    def snapshot(self) -> dict[str, int]:
        return dict(self.values)
