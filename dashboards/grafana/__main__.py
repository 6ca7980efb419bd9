"""Writes the boards for Grafana: `python -m dashboards.grafana`."""

from __future__ import annotations

import json
from pathlib import Path

from dashboards.grafana.health import HEALTH
from dashboards.grafana.panels import Board, as_grafana
from dashboards.grafana.traffic import TRAFFIC

BOARDS = (TRAFFIC, HEALTH)
FOLDER = Path(__file__).parent / "boards"


def text_of(board: Board) -> str:
    """The content of a board's file."""
    return json.dumps(as_grafana(board), indent=2) + "\n"


def main() -> None:
    """Write every board."""
    for board in BOARDS:
        (FOLDER / f"{board.uid}.json").write_text(text_of(board))


if __name__ == "__main__":
    main()
