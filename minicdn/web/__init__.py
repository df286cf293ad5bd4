"""The doors: content, peers' questions, control."""
