"""minicdn: a private pull CDN in one program. Start reading at ARCHITECTURE.md."""

__version__ = "0.1.0"
