"""What a watched loop's own evaluation passes showed of validation. Data only; no torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class HeldOutSeen:
    """One pass over validation: classes that the model tells, held against the labels beside its inputs.

    Attributes:
        step: the last step before it.
        num_examples: that were seen.
        hits: share of them that is told right.
        most_frequent: share of their most frequent class.
        loss: mean cross-entropy.
        constant_loss: of the best answer that is the same for all of them.
        training_loss: mean of the loop's last steps before it; None of none.
        passes: how often the loop had begun its training data, or of how often as many examples its steps were, if more.
        running: whether the model normalises by statistics that it keeps, which follow the weights late.
        renamed: pairs of a class and what validation calls it: of ten examples and more, seven in ten and more are told as the
            class, and of both names one in ten at most by its own; found on half of the examples, and so on the other half.
        as_loaded: whether the model was given the examples as they are in the data, without noise or another change.
    """

    step: int
    num_examples: int
    hits: float
    most_frequent: float
    loss: float
    constant_loss: float
    training_loss: float | None
    passes: float
    running: bool = False
    renamed: tuple[tuple[int, int], ...] = ()
    as_loaded: bool = True
