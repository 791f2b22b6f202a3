"""What makes a run the same run when it is continued, and what may differ."""

from __future__ import annotations

from trainability import config as configuration
from trainability.config import RunConfig

# What may differ when a run is continued: it says where and how, and does not change the result.
FREE = {"run.dir", "run.device", "run.compile", "run.deterministic", "run.sinks", "run.log-every-steps"}
FREE |= {"run.checkpoint-every-steps", "data.workers", "data.cache", "data.resident-gib"}
FREE |= {"run.check", "run.monitor-every-steps", "run.stop-on", "run.period"}

# Beside these, a run may be given more epochs, and its data may be moved.
_NOT_IDENTITY = FREE | {"optim.epochs", "data.path", "init.from"}


def identity(config: RunConfig) -> dict[str, str]:
    """Say what a checkpoint must be of to be this run's: every field that decides the result, as text.

    Args:
        config: complete.
    """
    return {
        name: str(getattr(getattr(config, section), field))
        for section, fields in configuration.field_flags().items()
        for flag, field in fields.items()
        if (name := f"{section}.{flag}") not in _NOT_IDENTITY
    }
