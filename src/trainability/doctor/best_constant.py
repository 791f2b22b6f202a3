"""The best answer that is the same for every example: what it costs, and whether a run is any better. Data only; no torch."""

import math
import statistics
from dataclasses import dataclass

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.outlook_limits import HAS_LEARNED
from trainability.doctor.reading import WINDOW_STEPS
from trainability.doctor.tense import STILL_TRAINING, in_tense

AS_GOOD = 0.95  # of the constant's cost: a loss at or above it has found that constant and no more
WELL_TOLD = 0.1  # of the constant's cost: nine tenths of the variance are told, where that is what the loss is
FEWEST_STEPS = 100
_FEWEST_SAMPLES = 3  # of the later half of the run, whose batches told their targets


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A run beside the best constant answer.

    Attributes:
        loss: of the run now.
        cost: of the constant, in the units of the loss.
        name: of the constant, in words.
        code: "regression" or "frequencies": of values, or of classes and the rest.
    """

    loss: float
    cost: float
    name: str
    code: str

    @property
    def is_no_better(self) -> bool:
        """Whether the loss is at the constant's cost or above."""
        return self.loss >= AS_GOOD * self.cost

    @property
    def is_of_marks(self) -> bool:
        """Whether each target is a yes or a no, as under a binary cross-entropy."""
        return self.name == _OF_SHARES


def in_tense_of(evidence: Evidence, verdict: str) -> str:
    """Put a verdict into the tense of the loop that was watched; see `tense`. Without chance the constant's cost tells, too."""
    recent, chance, at = reading.recent_loss(evidence), reading.chance_as_summed(evidence), standing(evidence)
    said = in_tense(verdict, has_ended=evidence.has_ended, recent=recent, chance=chance)
    is_done = chance is None and at is not None and 0 <= at.loss <= WELL_TOLD * at.cost
    return HAS_LEARNED if said == STILL_TRAINING and is_done else said


def frequency_cost(evidence: Evidence) -> float | None:
    """Cross-entropy of always saying the class frequencies of the training split, in nats; None with fewer than 200 labels."""
    counts = evidence.data.train.label_counts if evidence.data is not None else ()
    total = sum(counts)
    if total < 200:
        return None
    return -sum(count / total * math.log(count / total) for count in counts if count)


def best_constant(evidence: Evidence) -> tuple[float, str] | None:
    """Cost of the best constant answer in the units of the loss, and its name; None where nothing tells it.

    By the kind of the task; of a loss of another kind as a search before the run found it; else as the gradients of the
    outputs told Monitor, batch by batch; or as the graph of the loss tells at most.
    """
    if (known := _by_kind(evidence) or _by_search(evidence)) is not None:
        return known
    told = [s for s in evidence.samples if s.constant_loss is not None]
    if told:
        return statistics.fmean(s.constant_loss or 0.0 for s in told), _NAMES[told[0].task_loss or ""]
    graph = reading.facts(evidence).graph
    zeros = graph.cost_of_zeros if graph is not None else None
    return (zeros, "an answer of zeros") if zeros is not None else None


def _by_kind(evidence: Evidence) -> tuple[float, str] | None:
    task = evidence.rehearsal.task if evidence.rehearsal is not None else None
    if task is None or task.chance is None or task.kind == "unknown":
        return None
    if task.kind == "regression":
        train = evidence.data.train if evidence.data is not None else None
        if task.target == "[0]":
            return task.chance, "the mean of the inputs"
        if task.loss == "mse_loss" and train is not None and train.target_variance is not None:
            return train.target_variance, f"the mean of the targets ({train.target_mean or 0.0:.3g})"
        return task.chance, "the middle of the targets" if task.loss != "mse_loss" else _NAMES["mse_loss"]
    cost = frequency_cost(evidence) if task.kind == "classification" else None
    if (task.loss or "").startswith("binary"):
        return task.chance, "the mean of the inputs" if task.target == "[0]" else _OF_SHARES
    return (cost if cost is not None else task.chance), _NAMES["cross_entropy"]


def _by_search(evidence: Evidence) -> tuple[float, str] | None:
    cost = evidence.rehearsal.constant_loss if evidence.rehearsal is not None else None
    return (cost, _NAMES[""]) if cost is not None else None


_NAMES = {"mse_loss": "the mean of the targets", "": "one answer for every example", "reconstruction": "the mean of the inputs"}
# Of marks there is one mean for each output: of pixels, which are no classes, as of labels.
_NAMES |= {"cross_entropy": "the frequency of each class", "binary_cross_entropy_with_logits": "the mean of each target"}
_OF_SHARES = _NAMES["binary_cross_entropy_with_logits"]


def _told(evidence: Evidence) -> list[tuple[float, float]]:
    """Loss and constant's cost on the batches of the later half of the sampled steps; empty where the last did not tell."""
    if not evidence.samples or evidence.samples[-1].constant_loss is None:
        return []
    losses = {step.step: step.loss for step in evidence.finite_steps if step.micro_batches == 1}
    seen = [
        (losses[s.step], s.constant_loss)
        for s in evidence.samples
        if s.step in losses and s.constant_loss is not None and s.constant_loss > 0
    ]
    return seen[len(seen) // 2 :] if len(seen) >= 2 * _FEWEST_SAMPLES else []


def standing(evidence: Evidence) -> Standing | None:
    """A run of `FEWEST_STEPS` and more beside the best constant answer; None where one of the two is not known.

    Costs that were told batch by batch are held against the losses of the same batches, so that luck of the draw counts for
    nothing. Of losses against each other a critic that cannot tell is where the game rests.
    """
    constant, recent = best_constant(evidence), reading.recent_loss(evidence)
    if constant is None or recent is None or reading.num_steps(evidence) < FEWEST_STEPS or not constant[0] > 0:
        return None
    if reading.is_opposed(evidence):
        return None
    cost, name = constant
    if _by_kind(evidence) is None and any(s.constant_loss for s in evidence.samples):
        told, is_found = _told(evidence), _by_search(evidence) is not None
        if not told and not is_found:
            return None
        cost_told = recent / max(statistics.median(loss / one for loss, one in told), 1e-30) if told else math.inf
        if not is_found or cost_told < cost:  # the search leaves what else the model returns as it was at the start
            told_by = next(s.task_loss or "" for s in evidence.samples if s.constant_loss is not None)
            cost, name = cost_told, _NAMES[told_by]
    of_values = name.startswith(("the mean", "the middle")) and name != _OF_SHARES
    return Standing(loss=recent, cost=cost, name=name, code="regression" if of_values else "frequencies")


def comes_to_nothing(evidence: Evidence) -> bool:
    """Whether a watched run of `FEWEST_STEPS` or more is no lower than chance, or than the best constant answer's cost.

    For a policy's loss, or an adversarial one, no level shows whether it learns; nor do a few steps, such as those of an inner
    loop's copy.
    """
    at, recent, chance = standing(evidence), reading.recent_loss(evidence), reading.chance_as_summed(evidence)
    if reading.num_steps(evidence) < FEWEST_STEPS or recent is None or reading.is_opposed(evidence):
        return False
    return (at is not None and at.is_no_better) or (chance is not None and recent >= AS_GOOD * chance)


def still_falls(evidence: Evidence) -> bool:
    """Whether the last fifth of the losses is below the one before, by two standard errors and 0.2 %."""
    losses = [step.loss for step in evidence.finite_steps]
    window = max(WINDOW_STEPS, len(losses) // 5)
    before, last = losses[-2 * window : -window], losses[-window:]
    if len(before) < window:
        return True
    error = math.sqrt((statistics.pvariance(before) + statistics.pvariance(last)) / window)
    now = statistics.fmean(last)
    return statistics.fmean(before) - now > max(2 * error, 0.002 * abs(now))
