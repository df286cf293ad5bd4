"""The network: upstream, peers, manager. Knows nothing of the store."""
