"""Whether a run will leave chance within its plan: a probability from what was measured before its first step.

Each margin is a quantity of the net or of its steps, in decades or shares, and 0 where it says nothing against the run. A
logistic regression weighs them. It never promises anything by itself: a promise of the closed form is withheld where
there is a `doubt`.
"""

import math
import statistics
from dataclasses import asdict, dataclass

from trainability.doctor.evidence import OptimizerSettings, ProbeResult
from trainability.doctor.other_rates import typical_multiple
from trainability.doctor.rehearsed import Observation, Rehearsal
from trainability.doctor.stay import Stay, predicted_stay

LONG_STEP = 0.5  # lr / (1 - momentum) above it: too long for layers with weights of He's size (docs/theory.md, section 7)
FAR_FROM_CRITICAL = 300.0  # median critical multiple above it: decades of steps are left unused
HIGH, NO_ANSWER = 3.0, -6.0  # losses over chance above, and decades of spread over size below, are all the same
LONGEST = 3.0  # stays that differ from the plan by more than e to this are all the same
FAR_ENOUGH = 0.3  # of the size that He's weights have together: a way below it is short for a net that is to learn
LATE_STEPS = 8  # gradient norms at the end of the rehearsal
# Of a logistic regression on 615 runs of 200 steps, 20 of them rehearsed: `python benchmarks/prediction.py --fit`.
# Scored on 585 others: benchmarks/results/prediction.json.
CONSTANT = 1.57
WEIGHTS = {
    "stay": -0.67,
    "late": -1.47,
    "learned": 2.03,
    "above": -1.09,
    "smaller": -1.22,
    "fading": 0.96,
    "answer": 0.73,
    "long_step": -1.47,
    "short_step": -0.89,
    "jump": -1.73,
    "clipped": -1.43,
    "dropout": -2.55,
}
_SPOKEN = {
    "stay": "it would leave chance late",
    "late": "it would leave chance late",
    "learned": "no rehearsed step is below chance",
    "above": "its loss is still far above chance",
    "smaller": "smaller learning rates get further",
    "fading": "its outputs answer less to the input with each step",
    "answer": "its outputs hardly depend on the input",
    "long_step": f"lr / (1 - momentum) is above {LONG_STEP:g}",
    "short_step": f"its steps could be more than {FAR_FROM_CRITICAL:g} times as long",
    "jump": "its gradient norm jumps",
    "clipped": "its clipped steps cannot get far within the plan",
}


@dataclass(frozen=True, kw_only=True)
class Margins:
    """What speaks for and against a run.

    Attributes:
        stay: natural log of the predicted steps at chance over the planned ones, within -3 and 3.
        late: natural log of the same over half the plan, where it is longer: what leaves late has little time to fall.
        learned: share of chance by which the lowest last loss of the rehearsal, or of one at a larger rate, is below it.
        above: decades by which the rehearsal's own last loss is above chance, at most 2.
        smaller: share of chance that rehearsals at smaller rates fell below it.
        fading: decades by which the outputs' spread over their size grew in the rehearsal; negative where units die.
        answer: decades of the smallest spread over size seen.
        long_step: decades of lr / (1 - momentum) above `LONG_STEP`.
        short_step: decades of the median critical multiple above `FAR_FROM_CRITICAL`.
        jump: decades from the median of the last gradient norms to their largest, at most 4.
        clipped: decades by which the way that clipped steps can go within the plan is below `FAR_ENOUGH`, at most 2.
        dropout: decades of 1 + what dropout adds to the logits' mean square, over what tells images apart in them.
    """

    stay: float
    late: float
    learned: float
    above: float
    smaller: float
    fading: float
    answer: float
    long_step: float
    short_step: float
    jump: float
    clipped: float
    dropout: float


@dataclass(frozen=True, kw_only=True)
class Odds:
    """How likely a run is to leave chance within its plan.

    Attributes:
        probability: in (0, 1).
        stay: predicted steps at chance.
        margins: what it was made of.
    """

    probability: float
    stay: Stay
    margins: Margins

    @property
    def doubt(self) -> str | None:
        """The margin that speaks most against the run, in words; None where it is as likely to leave chance as not.

        Dropout is not counted: its weight is that of nets of a sixteenth of VGG's width and batches of 16. With batches of 128
        one of 0.08 of the width leaves within 100 steps, and one of a quarter with 64 (benchmarks/real_sets.py).
        """
        weighed = {name: WEIGHTS[name] * value for name, value in asdict(self.margins).items() if name != "dropout"}
        return _SPOKEN[min(weighed, key=lambda name: weighed[name])] if CONSTANT + sum(weighed.values()) < 0 else None


def odds_of(probe: ProbeResult | None, rehearsal: Rehearsal | None) -> Odds | None:
    """Weigh the margins.

    Args:
        probe: at the start, with the settings of SGD.
        rehearsal: with a reference loss; chance and the length of the plan known.

    Returns:
        None where one of these is not so.
    """
    if probe is None or rehearsal is None or not probe.at_start or probe.optimizer is None or probe.optimizer.name != "SGD":
        return None
    stay = predicted_stay(rehearsal, probe.plateau_steps, probe.optimizer)
    margins = None if stay is None else margins_of(probe, rehearsal, stay)
    if stay is None or margins is None:
        return None
    score = CONSTANT + sum(WEIGHTS[name] * value for name, value in asdict(margins).items())
    return Odds(probability=1 / (1 + math.exp(-max(-500.0, min(500.0, score)))), stay=stay, margins=margins)


def margins_of(probe: ProbeResult, rehearsal: Rehearsal, stay: Stay) -> Margins | None:
    """Measure the margins; None where chance, the plan or the optimizer's settings are unknown."""
    settings, chance, planned = probe.optimizer, rehearsal.task.chance, rehearsal.planned_steps
    if settings is None or chance is None or planned is None:
        return None
    ends = {rate.scale: _end(rate.reference, rate.ended_by, chance) for rate in rehearsal.other_rates}
    answers = [_answer(look) for look in rehearsal.reference]
    if rehearsal.ended_by == "not finite":
        answers.append(NO_ANSWER)
    length, own = math.log(stay.steps / planned), _end(rehearsal.reference, rehearsal.ended_by, chance)
    ahead = min([own, *(end for scale, end in ends.items() if scale > 1)])
    return Margins(
        stay=max(-LONGEST, min(LONGEST, length)),
        late=max(0.0, min(LONGEST, length) + math.log(2)),
        learned=max(0.0, 1 - ahead),
        above=_above(rehearsal, chance),
        smaller=max(0.0, 1 - min((end for scale, end in ends.items() if scale < 1), default=1.0)),
        fading=answers[-1] - answers[0],
        answer=min(answers),
        long_step=max(0.0, _decades(settings.lr / (1 - (settings.momentum or 0.0)) / LONG_STEP)),
        short_step=max(0.0, _decades((typical_multiple(rehearsal) or 0.0) / FAR_FROM_CRITICAL)),
        jump=_jump(rehearsal),
        clipped=_clipped(probe, settings, planned),
        dropout=_dropout(probe),
    )


def _end(seen: tuple[Observation, ...], ended_by: str, chance: float) -> float:
    """The last loss over chance, at most `HIGH`."""
    is_finite = seen and ended_by != "not finite" and math.isfinite(seen[-1].loss)
    return min(seen[-1].loss / chance, HIGH) if is_finite else HIGH


def _above(rehearsal: Rehearsal, chance: float) -> float:
    last = rehearsal.reference[-1].loss
    return max(0.0, min(2.0, _decades(last / chance))) if math.isfinite(last) and rehearsal.ended_by != "not finite" else 2.0


def _answer(look: Observation) -> float:
    """Decades of the outputs' spread over their size, within -6 and 0; a model that blew up answers nothing."""
    if not math.isfinite(look.loss) or look.output_spread is None or not look.output_rms:
        return NO_ANSWER
    return max(NO_ANSWER, min(0.0, _decades(look.output_spread / look.output_rms)))


def _jump(rehearsal: Rehearsal) -> float:
    norms = [s.gradient_norm for s in rehearsal.steps if s.gradient_norm is not None and math.isfinite(s.gradient_norm)]
    late = norms[-LATE_STEPS:]
    return max(0.0, min(4.0, _decades(max(late) / max(statistics.median(late), 1e-30)))) if late else 4.0


def _clipped(probe: ProbeResult, settings: OptimizerSettings, planned: int) -> float:
    """A clipped step moves all weights together by lr * clip at most, and with momentum by 1 / (1 - momentum) as much.

    The size of He's weights is the root of twice the number of units: each has fan_in weights of variance 2 / fan_in.
    """
    units = sum(layer.num_units or 0 for layer in probe.layers if layer.kind in ("conv", "linear"))
    if settings.clip is None or not units:
        return 0.0
    way = planned * settings.lr * settings.clip / (1 - (settings.momentum or 0.0))
    return max(0.0, min(2.0, _decades(FAR_ENOUGH * math.sqrt(2 * units) / way)))


def _dropout(probe: ProbeResult) -> float:
    """Dropout with probability p adds p / (1 - p) of the logits' mean square, however wide the layer."""
    if not probe.dropout_noise or not probe.logit_rms or not probe.logit_spread:
        return 0.0
    return _decades(1 + probe.dropout_noise * (probe.logit_rms / probe.logit_spread) ** 2)


def _decades(value: float) -> float:
    return math.log10(value) if 0 < value < math.inf else 300.0 if value > 0 else -300.0
