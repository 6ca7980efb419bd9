"""Puts htmx among the files of the dashboard when the package is built: no page asks another place for it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "static/django_htmx/htmx-2.min.js"
TARGET = "dashboards/static/htmx.min.js"


class BuildHook(BuildHookInterface[Any]):
    """Copies the script out of the package that ships it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel, a source archive or an editable installation is made."""
        target = Path(self.root) / TARGET
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(files("django_htmx").joinpath(SOURCE).read_bytes())
