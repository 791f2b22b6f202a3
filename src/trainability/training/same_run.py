"""Which fields may change when a run is continued, and which identify it."""

from __future__ import annotations

from trainability import config as configuration
from trainability.config import RunConfig

# Fields that may change when a run is continued: they do not change the result.
FREE = {"run.dir", "run.device", "run.compile", "run.deterministic", "run.sinks", "run.log-every-steps"}
FREE |= {"run.checkpoint-activations", "run.checkpoint-every-steps", "data.workers", "data.cache", "data.resident-gib"}
FREE |= {"run.check", "run.rehearse-seconds", "run.monitor-every-steps", "run.stop-on", "run.period"}

# In addition, the number of epochs may grow, and the data may be moved.
_NOT_IDENTITY = FREE | {"optim.epochs", "data.path", "init.from"}


def identity(config: RunConfig) -> dict[str, str]:
    """Return the identity of a run, which its checkpoints carry: every field that decides the result, as text.

    Args:
        config: complete.
    """
    return {
        name: str(getattr(getattr(config, section), field))
        for section, fields in configuration.field_flags().items()
        for flag, field in fields.items()
        if (name := f"{section}.{flag}") not in _NOT_IDENTITY
    }
