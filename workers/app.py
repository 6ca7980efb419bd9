"""The Celery app for Celery's own commands: `celery -A workers.app inspect …`.

An entry point: importing it reads the settings, from the file that STEPDOWN_SETTINGS names (or
stepdown.toml) and the environment. Everything else gets its app from `workers.factory`.
"""

from __future__ import annotations

import os

from stepdown.settings import load_settings
from workers.factory import create_celery

app = create_celery(load_settings(os.environ.get("STEPDOWN_SETTINGS")), os.environ)
