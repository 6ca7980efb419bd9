"""The settings: one frozen object, read at the entry point and passed down."""

from stepdown.settings.distilling import NightSettings, StudentSettings, TrainerSettings
from stepdown.settings.load import (
    DEFAULT_FILE,
    DEFAULT_TASK,
    load_settings,
    scalar_fields,
    to_toml_values,
    variable_of,
)
from stepdown.settings.tree import (
    CandidateSettings,
    Capability,
    DashboardSettings,
    JudgeSettings,
    ModelSettings,
    PortfolioSettings,
    ProxySettings,
    Settings,
    TaskSettings,
    TracingSettings,
    WorkerSettings,
)

__all__ = [
    "DEFAULT_FILE",
    "DEFAULT_TASK",
    "CandidateSettings",
    "Capability",
    "DashboardSettings",
    "JudgeSettings",
    "ModelSettings",
    "NightSettings",
    "PortfolioSettings",
    "ProxySettings",
    "Settings",
    "StudentSettings",
    "TaskSettings",
    "TracingSettings",
    "TrainerSettings",
    "WorkerSettings",
    "load_settings",
    "scalar_fields",
    "to_toml_values",
    "variable_of",
]
