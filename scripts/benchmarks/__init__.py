"""Measurements of minicdn: what `scripts/bench` runs. __main__.py lists them; each is a module of this folder."""
