"""The configuration of a run: its fields, their TOML form, and the checks of their values. Nothing here imports torch."""

from trainability.config.checks import in_range, nearest, one_line, one_of, plain, shown
from trainability.config.fields import (
    MIN_SIDE,
    MOST_OUTPUTS,
    MOST_PROCESSES,
    NUM_POOLINGS,
    SECTIONS,
    DataConfig,
    InitConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    RunSettings,
)
from trainability.config.sources import SOURCES, HubSet
from trainability.config.toml import differences, field_flags, from_toml, read_tables, recipe_flags, to_toml

__all__ = [
    "MIN_SIDE",
    "MOST_OUTPUTS",
    "MOST_PROCESSES",
    "NUM_POOLINGS",
    "SECTIONS",
    "SOURCES",
    "DataConfig",
    "HubSet",
    "InitConfig",
    "ModelConfig",
    "OptimConfig",
    "RunConfig",
    "RunSettings",
    "differences",
    "field_flags",
    "from_toml",
    "in_range",
    "nearest",
    "one_line",
    "one_of",
    "plain",
    "read_tables",
    "recipe_flags",
    "shown",
    "to_toml",
]
