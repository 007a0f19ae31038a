"""The explorer: a local page over a folder of logs, served by Python's own HTTP server."""
