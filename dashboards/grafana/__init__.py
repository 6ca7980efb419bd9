"""The boards of Grafana, as code: `python -m dashboards.grafana` writes the files that Grafana is given.

Invariant: the files in `boards/` are what the modules here say; a test holds them to it, and each query to
the real `/metrics`. Imports nothing of the rooms.
"""
