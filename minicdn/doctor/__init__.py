"""`minicdn doctor`: what is in the way here, at the upstream, or between a cluster's nodes, and what to do about it."""
