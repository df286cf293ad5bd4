"""A running node: the desk, the dock, the place in the cluster."""
