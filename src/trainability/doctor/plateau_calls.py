"""What a `ReduceLROnPlateau` was given, and what it made of the rate. Data only; no torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PlateauCall:
    """One call of `step(metrics)`.

    Attributes:
        step: optimizer steps that were made before.
        value: of the metric.
        before: largest learning rate of the optimizer's groups before the call.
        after: behind it.
    """

    step: int
    value: float
    before: float
    after: float

    @property
    def is_cut(self) -> bool:
        """Whether the rate was reduced."""
        return self.after < self.before * (1 - 1e-6)


@dataclass(frozen=True, kw_only=True)
class PlateauCalls:
    """The calls of one scheduler, from its first on.

    Attributes:
        mode: "min" or "max".
        calls: in order.
    """

    mode: str
    calls: tuple[PlateauCall, ...]
