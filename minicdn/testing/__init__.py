"""What tests of whole clusters need: virtual time, a simulated network and disk, nodes in one process. Nothing else imports this room."""
