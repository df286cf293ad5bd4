"""Pure decisions: headers, freshness, choosing, ranges, owners. No clock, no chance, no sockets, no files."""
