"""What models that play against each other want of each other, and losses of several optimizers: parts of `Facts`."""

from dataclasses import dataclass
from typing import Any

_ONCE_FACTS = {  # what were fields of `Facts`, and what they are called now
    "same_aim": "same_aim",
    "moved_by_judge": "moved_by_critic",
    "moved_both_ways": "moved_both_ways",
    "not_judged": "not_judged",
}


@dataclass(frozen=True, kw_only=True)
class IdleLoss:
    """A loss of a body with several losses, or a term of it, that reaches weights, and that no step uses.

    Attributes:
        place: of the loss among those of the body, from 1.
        num_losses: of the body.
        term: its place in the sum, from 1; None where it is the whole loss.
        reached: parts of the models that it gives a gradient, which is cleared.
        held: parts that the optimizer holds that steps then; of a term, those that the rest of the loss moves.
        is_cut: whether the loss is computed of what the held parts made, without a gradient for them.
        before_step: whether its gradient is cleared before any optimizer steps, and another loss's takes its place.
        exchanged: place of the loss for which an optimizer of the reached parts steps, and whose gradient for the held ones is
            cleared: each of two optimizers steps for the other's loss. None where there is none.
    """

    place: int
    num_losses: int
    term: int | None
    reached: tuple[str, ...]
    held: tuple[str, ...]
    is_cut: bool = False
    before_step: bool = False
    exchanged: int | None = None


@dataclass(frozen=True, kw_only=True)
class Opponents:
    """What some runs of a body with several models showed. Models are named: a critic, and the generator of what it judges.

    Attributes:
        same_aim: the critic and the generator whose losses want the same of the critic's answers; () if there are none.
        moved_by_critic: where the critic's optimizer moves the generator as well, for the critic's loss; likewise.
        moved_both_ways: where one optimizer holds both and moves one of them for two losses that want opposite answers.
        not_judged: where the generator is told a class for each row, and no loss goes by which row was asked for which; and, as
            a third, who is moved by a loss that does, where it does not move the generator.
        unlimited_critic: where the critic's loss is a line in its answers and nothing limits its slope.
        fixed_noise: where the generator is given the same numbers at every step.
        flat_where_sure: where the generator's loss has next to no slope at answers that the critic is sure of.
        undone: where the critic's optimizer steps with the gradients of two losses that want opposite answers to the same rows.
        held_twice: how many parameters two optimizers hold, and how many others, which get a gradient, none holds; None unless
            both occur.
        separate_losses: of a body with several optimizers, how many losses move parameters that none of the others moves
            together with the rest of its own; 0 where there is one, or it is unknown.
        idle_loss: of several optimizers' losses, one that moves nothing, or a term that does not; None if there is none.
    """

    same_aim: tuple[str, ...] = ()
    moved_by_critic: tuple[str, ...] = ()
    moved_both_ways: tuple[str, ...] = ()
    not_judged: tuple[str, ...] = ()
    unlimited_critic: tuple[str, ...] = ()
    fixed_noise: tuple[str, ...] = ()
    flat_where_sure: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    held_twice: tuple[int, int] | None = None
    separate_losses: int = 0
    idle_loss: IdleLoss | None = None


def with_opponents(facts: Any) -> Any:
    """Plain facts as older versions wrote them, with what were fields of `Facts` in the record of the opponents."""
    if not isinstance(facts, dict) or not any(name in facts for name in _ONCE_FACTS):
        return facts
    held = {now: facts[once] for once, now in _ONCE_FACTS.items() if once in facts}
    return {name: value for name, value in facts.items() if name not in _ONCE_FACTS} | {"opponents": held}
