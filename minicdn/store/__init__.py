"""The shelf: memory and disk behind one reader. The only room with file handles."""
