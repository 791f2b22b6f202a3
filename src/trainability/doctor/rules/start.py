"""The start: the gain budget of the weights and the input, and how long the net stays at chance."""

import itertools
import math
import statistics

from trainability.doctor import reading
from trainability.doctor.as_code import as_code
from trainability.doctor.evidence import Evidence, ProbeResult
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.outlook import judge_rehearsal
from trainability.doctor.outlook_limits import DEAD
from trainability.doctor.rules.learns import learns_all_the_same
from trainability.doctor.rules.rule import rule
from trainability.doctor.theory.band import BIASED_BUDGET_LOW, BUDGET_HIGH, BUDGET_LOW, PILOT_DEPTH, TRIED_ABOVE, TRIED_BELOW

LARGE_RECURRENCE = 5.0
LEAST_KEPT = 0.12  # of a state at each step: the sigmoid of -2
LOUD_OUTPUTS = 32.0  # rms, over that of the targets or 1: at the band's upper end
LOUD_LOSS, LOUD_INPUT = 20.0, 10.0  # first loss over chance that shows the gains; mean square of an input that is the cause
# Rehearsed steps, after which outputs that differ between examples by less than that share of their size are said to stay so;
# loss over the first, of a run that made up for it; layers that shrink the signal one after the other.
LONG_LOST, NO_SIGNAL, MADE_UP, FEWEST_SHRINKING = 50, 1e-5, 0.6, 4
NEARLY_ALL, FEWEST_SATURATED, HALF_LEFT = 0.8, 3, 0.5  # of a layer's outputs; layers; of the loss of the first steps
LONG_RUN = 100  # steps of a run, after which outputs that depended on no input in the rehearsal are said to stay so
BUDGET_SOURCE = "own, 175 short runs of VGG-A to E; gain: He et al., ICCV 2015, eq. (7)-(10)"
PLATEAU_SOURCE = "own fit of 105 runs, within a factor 2 in 95 %; docs/theory.md, section 7"


def _budget_finding(evidence: Evidence, high: bool) -> list[Finding]:
    stays = not high and _signal_stays_lost(evidence)
    probe = evidence.probe if stays else reading.probe_at_start(evidence)
    total = reading.total_budget(probe) if probe is not None else None
    if probe is None or total is None or not (total > BUDGET_HIGH if high else total < BUDGET_LOW):
        return [] if high or evidence.probe is not None else _lost_on_the_way(evidence)
    gained = [layer for layer in probe.layers if layer.gain is not None]
    limit = BUDGET_HIGH if high else BUDGET_LOW
    blamed = [s for s in gained if s.gain is not None and (s.gain > 1.25 if high else s.gain < 0.8)]
    from_input = math.log10(probe.input_mean_square)
    repaired = sum(0.0 if s in blamed else math.log10(s.gain) for s in gained if s.gain) + from_input
    input_alone = abs(from_input) > abs(total) / 2 and BUDGET_LOW <= total - from_input <= BUDGET_HIGH
    plateau = probe.plateau_steps
    planned = probe.optimizer.planned_steps if probe.optimizer is not None else None
    end = reading.plateau_ends(probe)
    ends = end is not None and end <= (planned or 1000)
    worst = sorted(blamed, key=lambda s: s.gain or 0.0, reverse=high)[:3]
    measurements = [
        Measurement(name="gain budget with the input", value=total, unit="log10", threshold=limit),
        Measurement(name="gain budget of the weights", value=probe.log10_gain or 0.0, unit="log10"),
        Measurement(name="mean square of the input", value=probe.input_mean_square),
        *(Measurement(name=f"gain of {reading.called_in_short(s)}", value=s.gain or 0.0, threshold=1.0) for s in worst),
    ]
    if plateau is not None:
        least = "least predicted steps at chance" if end is None and math.isfinite(plateau) else "predicted steps at chance"
        measurements.append(Measurement(name=least, value=plateau, unit="steps", threshold=planned))
    tried = TRIED_ABOVE if high else TRIED_BELOW
    verb = "multiply the signal's mean square by" if high else "shrink the signal's mean square to"
    shown = ", ".join(s.name for s in blamed) or "every layer"
    remedy = (
        f"initialise {shown} with std sqrt(2 / fan_in) (`torch.nn.init.kaiming_normal_(layer.weight)`, zero "
        f"bias): the budget becomes {repaired:+z.1f}"
    )
    if input_alone:
        remedy = f"normalise the input to mean 0 and std 1: the budget becomes {total - from_input:+z.1f}"
    rule = "gain_budget_high" if high else "gain_budget_low"
    return [
        Finding(
            rule=rule,
            code=f"{rule}.input" if input_alone else rule,
            severity=_budget_severity(evidence, probe, total, depth=len(gained), ends=ends),
            seen=f"{len(gained)} layers and the input {verb} 10^{total:.1f}; "
            f"{'above' if high else 'below'} 10^{limit:g} none of {tried} runs of VGG-A to E under SGD trained",
            measurements=tuple(measurements),
            cause="the scale of the input" if input_alone else "initialisation: the layers' gains multiply to a wrong scale",
            remedy=remedy,
            source=BUDGET_SOURCE,
            layers=reading.names(blamed),
        )
    ]


def _budget_severity(evidence: Evidence, probe: ProbeResult, total: float, *, depth: int, ends: bool) -> Severity:
    """How well the band applies to this net: it was found under SGD, with zero biases and eight or more layers."""
    if depth < PILOT_DEPTH and total > BUDGET_HIGH:
        return "error" if _borne_out(evidence, probe) else "hint"
    if depth < PILOT_DEPTH:
        return "warning" if _signal_stays_lost(evidence) or _borne_out_low(evidence) else "hint"
    if total > BUDGET_HIGH:
        return "error"
    if reading.is_adaptive(evidence) and (_signal_stays_lost(evidence) or _borne_out_low(evidence)):
        return "warning"
    if ends or reading.is_adaptive(evidence):
        return "hint"
    if probe.biased:
        return "warning" if total < BIASED_BUDGET_LOW else "hint"
    return "error"


def _borne_out_low(evidence: Evidence) -> bool:
    """Whether the rehearsal or the run shows what a low budget predicts: constant outputs, or a lost signal."""
    return constant_for_good(evidence) or _is_dead(evidence) or bool(_lost_on_the_way(evidence))


def _is_dead(evidence: Evidence) -> bool:
    """Whether, with a budget far below the band, no rehearsed rate learned anything, and outputs do not depend on the input."""
    probe, rehearsal = evidence.probe, evidence.rehearsal
    total = reading.total_budget(probe) if probe is not None and probe.at_start else None
    if total is None or total > BIASED_BUDGET_LOW or rehearsal is None or evidence.steps:
        return False
    return judge_rehearsal(rehearsal).verdict == DEAD


def _signal_stays_lost(evidence: Evidence) -> bool:
    """Whether, with a budget far below the band, 50 steps did not make outputs depend on the input.

    Before a run only where hidden biases start at zero, since others carry a signal that may still grow. A run below six tenths
    of its first loss has recovered.
    """
    probe, rehearsal = evidence.probe, evidence.rehearsal
    total = reading.total_budget(probe) if probe is not None and probe.at_start else None
    if probe is None or total is None or total > BIASED_BUDGET_LOW or rehearsal is None:
        return False
    # Before the first step, without biases, outputs are only what is left of the signal.
    looks = [seen for seen in rehearsal.reference if seen.output_spread is not None and seen.step > 0]
    lost = itertools.takewhile(lambda seen: (seen.output_spread or 0.0) < NO_SIGNAL * (seen.output_rms or 0.0), looks)
    until = max((seen.step for seen in lost), default=0)
    planned = rehearsal.planned_steps
    if until < (max(LONG_LOST, planned / 10) if planned is not None else max(LONG_LOST, looks[-1].step if looks else 0)):
        return False
    recent, losses = reading.recent_loss(evidence), evidence.finite_steps
    return probe.hidden_biased is False if recent is None else recent > MADE_UP * losses[0].loss


def outputs_stay_alike(evidence: Evidence) -> bool:
    """Whether 50 rehearsed steps and a tenth of the plan gave outputs nothing of the input; nor has the run learned since."""
    rehearsal = evidence.rehearsal
    looks = [s for s in rehearsal.reference if s.output_spread is not None] if rehearsal is not None else []
    lost = all((s.output_spread or 0.0) < NO_SIGNAL * (s.output_rms or 0.0) for s in looks)
    if rehearsal is None or not looks or not lost or reading.has_learned(evidence):
        return False
    return looks[-1].step >= max(LONG_LOST, (rehearsal.planned_steps or 0) / 10)


def constant_for_good(evidence: Evidence) -> bool:
    """Like `outputs_stay_alike`, but before a run only where hidden biases are zero: others carry a signal that may grow."""
    unbiased = evidence.probe is not None and evidence.probe.hidden_biased is False
    return (unbiased or reading.num_steps(evidence) >= LONG_RUN) and outputs_stay_alike(evidence)


def _lost_on_the_way(evidence: Evidence) -> list[Finding]:
    """In a watched loop: outputs that shrink from layer to layer until hardly any gradient is left."""
    first = evidence.samples[0] if evidence.samples and evidence.samples[0].step == 1 else None
    rows = [s for s in first.layers if s.activation_rms] if first is not None else []
    is_opposed = reading.is_opposed(evidence)  # then no loss tells what is learned
    parts = itertools.groupby(rows, lambda s: s.name.partition(".")[0] if is_opposed else "")  # networks in one model
    return next((told for _, part in parts if (told := _lost_in(list(part), evidence, is_opposed=is_opposed))), [])


def _lost_in(rows: list[LayerStats], evidence: Evidence, *, is_opposed: bool) -> list[Finding]:
    """The same of the layers of one network, in their order."""
    hidden = [s for s in rows[:-1] if s.kind in ("linear", "conv", "conv_transpose")]
    if len(hidden) < FEWEST_SHRINKING or any(s.kind not in ("linear", "conv", "conv_transpose") for s in rows):
        return []
    sizes = [s.activation_rms or 0.0 for s in hidden]
    ratios = [(s.gradient_rms or 0.0) / s.weight_rms for s in hidden if s.weight_rms]
    shrunk = 2 * math.log10(sizes[-1] / sizes[0])
    recent, losses = reading.recent_loss(evidence), evidence.finite_steps
    if not all(after < before / 2 for before, after in itertools.pairwise(sizes)) or shrunk > BUDGET_LOW or recent is None:
        return []
    if not is_opposed and (not max(ratios) < 1e-5 or recent <= MADE_UP * losses[0].loss):
        return []
    if reading.num_steps(evidence) < LONG_LOST:
        return []
    return [
        Finding(
            rule="gain_budget_low",
            code="gain_budget_low.measured",
            severity="hint" if is_opposed else "warning",
            seen=f"from {reading.called(hidden[0])} to {reading.called(hidden[-1])} the signal's mean square shrinks to "
            f"10^{shrunk:.1f} at the first step; the loss is {recent:.3g} after {reading.num_steps(evidence)} steps",
            measurements=(Measurement(name="gain of the layers, measured", value=shrunk, unit="log10", threshold=BUDGET_LOW),),
            cause="initialisation: each layer shrinks the signal",
            remedy="torch.nn.init.kaiming_normal_(layer.weight) and zero biases in every layer",
            source=BUDGET_SOURCE,
            layers=reading.names(hidden),
            explains=("untrained_parameter",),  # a gradient that underflows
        )
    ]


def _loud_outputs(evidence: Evidence) -> bool:
    """Whether, under an unknown loss, outputs start at the band's upper limit and steps lead to NaN."""
    facts = reading.facts(evidence)
    output, target = facts.output_rms, facts.target_rms
    wide = output is not None and output > LOUD_OUTPUTS * max(target or 0.0, 1.0)
    return wide and reading.diverged(evidence)


def _borne_out(evidence: Evidence, probe: ProbeResult) -> bool:
    """Whether the loss starts as high as the gains predict, and not because of the input: explosions are then a symptom."""
    chance = reading.chance_loss(evidence)
    loss = probe.cross_entropy
    if chance is None and _loud_outputs(evidence):
        return probe.input_mean_square < LOUD_INPUT
    return chance is not None and loss is not None and loss > LOUD_LOSS * chance and probe.input_mean_square < LOUD_INPUT


@rule(
    severities=("error", "warning", "hint"),
    verdict="dead",
    explains=(
        "slow_start",
        "vanishing_gradient",
        "plateau",
        "constant_output",
        "underflow",
        "cannot_overfit",
        "dead_units",
        "update_ratio",
        "activation_scale",
        "input_scale",
        "prediction_collapse",
        "unmoved_parameter",
    ),
    predicts=True,
)
def gain_budget_low(evidence: Evidence) -> list[Finding]:
    """The layers' gains multiply to almost nothing, so signal and gradient vanish.

    Fires: the gain budget, log10 of the product of all gains and the input's mean square, is below -5, before anything was
        learned. An error on plain nets of 8 or more weight layers with zero biases; with biases that start away from zero, a
        warning below -8 and a hint above. Also a hint under Adam and similar optimizers, in shallower nets, and where the
        predicted stay at chance ends within the run. In the first two of these a warning where the budget is below -8, hidden
        biases start at zero, and outputs differ by less than 1e-5 of their size from the first step on, for 50 rehearsed steps
        and a tenth of the plan, or where the rehearsal's verdict is dead; or where the run confirms it: four or more layers,
        each with less than half of the previous one's output at the first step, gradients below 1e-5 of the weights, and a loss
        still above six tenths of its first after 50 steps or more. Code `measured`: the same in a loop that only Monitor saw; a
        hint for networks against each other, whose losses do not tell. Code `norms`: before the first step, the weights of half
        of the normalisations have both signs and an rms below 0.3; a hint, unless 50 rehearsed steps do not lower the loss.
        Code `input`: by the scale of the input alone.
    Why: a ReLU layer multiplies the mean square of its signal by fan_in * Var(w) / 2, and the gradients of all layers contain
        the same product. Of 83 runs below -5 none trained. PyTorch's default initialisation (gain 1/6 per layer, with biases)
        differs: SGD trained it at budgets of -5.4 and -7.0 and not at -8.6 and below, and Adam, which divides by the gradient's
        own size, down to -16.3.
    What fools it: weights that are not random, such as pretrained ones, or orthogonal ones with a gain. With normalisation and
        residual sums, gains do not multiply; such nets have no budget, and this rule is silent on them.
    Fix: initialise the layers in the finding with std sqrt(2 / fan_in) and zero biases
        (`torch.nn.init.kaiming_normal_(layer.weight)`); or normalise the input, where its scale alone is the cause.
    Source: He et al., Delving Deep into Rectifiers, ICCV 2015, eq. (7)-(10); own 175 short runs of VGG-A to E (docs/theory.md,
        section 4); default initialisation: benchmarks/default_init.py.
    """
    return _norms_drawn(evidence) or _budget_finding(evidence, high=False)


def _norms_drawn(evidence: Evidence) -> list[Finding]:
    """Normalisations that shrink the signal, because an initialisation for layers was applied to them too."""
    names = reading.facts(evidence).drawn_norms
    if not names:
        return []
    return [
        Finding(
            rule="gain_budget_low",
            code="gain_budget_low.norms",
            severity="error" if reading.stands_still(evidence) else "hint",
            seen=f"the weights of {', '.join(names[:4])}{' and more' if len(names) > 4 else ''} are small numbers of both "
            "signs; a normalisation's weights should be 1",
            measurements=(Measurement(name="normalisations initialised around zero", value=float(len(names)), threshold=0.0),),
            cause="initialisation: a scheme for layers was applied to every parameter, so normalisations shrink their outputs",
            remedy="torch.nn.init.ones_(norm.weight) and zeros_(norm.bias); initialise only the weights of layers: if "
            "p.dim() > 1",
            source="own; read off the weights",
            layers=names,
        )
    ]


@rule(
    severities=("error", "hint"),
    verdict="unstable",
    explains=(
        "exploding_gradient",
        "not_finite",
        "oscillation",
        "loss_cliff",
        "clipping",
        "update_ratio",
        "dead_units",
        "loss_at_start",
        "activation_scale",
        "input_scale",
        "plateau",
        "saturation",
    ),
    predicts=True,
)
def gain_budget_high(evidence: Evidence) -> list[Finding]:
    """The layers' gains multiply to too much, so logits are huge and steps overshoot.

    Fires: the gain budget, log10 of the product of all gains and the input's mean square, is above 2.7, before anything was
        learned. A hint in nets of fewer than 8 weight layers, unless the loss starts at 20 ln C or more and the mean square of
        the input is below 10; or, under an unknown loss, unless the outputs are 32 times as large as 1 and the targets, and a
        loss after the first is not finite. Code `input`: by the scale of the input alone.
    Why: the logits' mean square is 2 * 10^budget, so at 2.7 their rms is 32 and the loss starts at many times ln C. Of 12 runs
        above 2.7 none trained, while between -5 and 2.7 it was 52 of 80.
    What fools it: weights that are not random; and clipping, which moves the limit, because the limit comes from steps that
        overshoot: a VGG-B with budget +2 stayed at chance with clipping at 1.0 and left it at 0.1. Nets with normalisation or
        residual sums have no budget, and no finding.
    Fix: initialise the layers in the finding with std sqrt(2 / fan_in); or normalise the input, where its scale alone is the
        cause, as with images of 0 to 255.
    Source: He et al., Delving Deep into Rectifiers, ICCV 2015, eq. (7)-(10); own 175 short runs of VGG-A to E
        (docs/theory.md, section 4); own runs under clipping (section 8).
    """
    return _budget_finding(evidence, high=True)


def began_saturated(evidence: Evidence) -> bool:
    """Whether several layers, most of those that could, were saturated before the first step, and half of the loss is left."""
    first = evidence.samples[0].layers if evidence.samples and evidence.samples[0].step == 1 else ()
    shares = [s.saturated_fraction for s in first if s.saturated_fraction is not None]
    stuck = [share for share in shares if share > NEARLY_ALL]
    recent, losses = reading.recent_loss(evidence), evidence.finite_steps
    if len(stuck) < FEWEST_SATURATED or 2 * len(stuck) < len(shares) or recent is None:
        return False
    return recent > HALF_LEFT * statistics.fmean(step.loss for step in losses[:5])


@rule(
    severities=("warning", "hint"),
    explains=("exploding_gradient", "not_finite", "clipping", "plateau", "saturation", "slow_start"),
)
def recurrent_gain(evidence: Evidence) -> list[Finding]:
    """Recurrent weights saturate the gates, or the gates keep nothing of the state.

    Fires: before anything was learned, the rms of a layer's recurrent weights times the root of their width is 5 or more. Code
        `forget`: before anything was learned, the biases of an LSTM's forget gate, or of a GRU's update gate, alone keep 0.12
        or less of the middle unit's state at each step; a hint where the verdict is that the program trains, or has learned.
    Why: orthogonal weights have 1, and PyTorch's default 0.58. At 5, the inputs of gates and tanh have a standard deviation of
        several units, where slopes are about a hundredth: hardly any gradient gets through a step. Of a state of which 0.12 is
        kept at each step, 1e-9 is left after ten, and as much of the gradient; with the default biases it is a half.
    What fools it: trained weights, if the doctor is told that they are initial ones. For `forget`: a task that needs the last
        step or two alone.
    Fix: layer.reset_parameters(), or torch.nn.init.orthogonal_ of each weight_hh. For `forget`: a bias of 1 for that gate.
    Source: Saxe, McClelland and Ganguli, ICLR 2014; Pascanu, Mikolov and Bengio, ICML 2013; own limit. For `forget`: Gers,
        Schmidhuber and Cummins, Learning to Forget, 2000; Jozefowicz et al., ICML 2015, section 2.2.
    """
    found = reading.facts(evidence).recurrence
    if found is None or found[1] < LARGE_RECURRENCE:
        return _forgets(evidence)
    name, gain = found
    return [
        Finding(
            rule="recurrent_gain",
            severity="warning",
            seen=f"the recurrent weights of {name or 'the model'} have a gain of {gain:.3g}; orthogonal ones have 1",
            measurements=(Measurement(name="rms times root of the width", value=gain, threshold=LARGE_RECURRENCE),),
            cause="initial weights are too large: gates are fully open or shut, whatever the input",
            remedy=f"{as_code(name)}.reset_parameters(), which draws all its weights within 1 / sqrt(hidden size)",
            source="Saxe, McClelland and Ganguli, ICLR 2014; own limit",
            layers=(name,),
        )
    ]


def _forgets(evidence: Evidence) -> list[Finding]:
    """Gates that let go of the state at every step."""
    found = reading.facts(evidence).kept_by_gates
    if found is None or found[1] > LEAST_KEPT:
        return []
    name, kept = found
    layer = as_code(name)
    return [
        Finding(
            rule="recurrent_gain",
            code="recurrent_gain.forget",
            severity="hint" if learns_all_the_same(evidence) else "warning",
            seen=f"the gates of {layer} keep {kept:.2g} of its state at each step: {kept**10:.0e} of it is left after ten",
            measurements=(Measurement(name="share of the state that a step keeps", value=kept, threshold=LEAST_KEPT),),
            cause="the bias of the gate that keeps the state (an LSTM's forget gate, a GRU's update gate) starts far below 0",
            remedy=f"with torch.no_grad(): set [size:2 * size] of each bias of {layer} to 0.5, size = {layer}.hidden_size: a "
            "sum of 1 keeps three quarters",
            source="Gers, Schmidhuber and Cummins, Learning to Forget, 2000; Jozefowicz et al., ICML 2015",
            layers=(name,),
        )
    ]


@rule(
    severities=("error", "warning"),
    verdict="dead",
    explains=("plateau", "vanishing_gradient", "cannot_overfit", "update_ratio", "underflow"),
    predicts=True,
)
def slow_start(evidence: Evidence) -> list[Finding]:
    """The predicted stay at chance is longer than the run, or endless.

    Fires: the formula predicts that the loss never leaves chance, or not within the planned steps. If no number is planned, the
        limit is 2,000 and the finding a warning, unless the stay is endless; a plan of fewer than 100 steps counts as 100.
    Why: while the logits are small, all layers grow along one shared direction, at a speed given by the first gradient, which
        determines the length of the stay. 2,000 steps of VGG take about an hour on one GPU. If weight decay shrinks the weights
        faster than the gradient grows them, the loss never falls.
    What fools it: a batch too small to show the gradient above its noise: the real stay is then longer than predicted. Known
        only for plain ReLU nets with zero biases under SGD.
    Fix: initialise the layers with gain below 1 by std sqrt(2 / fan_in); or raise the learning rate; or drop weight decay
        until the loss falls.
    Source: own fit of 105 runs, within a factor 2 in 95 % of them; docs/theory.md, section 7, equation (9).
    """
    probe = reading.probe_at_start(evidence)
    if probe is None or probe.plateau_steps is None:
        return []
    settings = probe.optimizer
    planned = settings.planned_steps if settings is not None else None
    steps, limit = probe.plateau_steps, max(planned or 2000, 100)
    if steps <= limit:
        return []
    never = math.isinf(steps)
    blamed = [s for s in probe.layers if s.gain is not None and s.gain < 0.8]
    measurements = [Measurement(name="predicted steps at chance", value=steps, unit="steps", threshold=float(limit))]
    if settings is not None:
        measurements.append(Measurement(name="learning rate", value=settings.lr))
        measurements.append(Measurement(name="weight decay", value=settings.weight_decay or 0.0))
    return [
        Finding(
            rule="slow_start",
            severity="error" if never or planned is not None else "warning",
            seen="weight decay shrinks the weights faster than the gradient grows them: the loss never leaves chance"
            if never
            else f"the net will stay at chance for about {steps:,.0f} steps, more than {limit:,}",
            measurements=tuple(measurements),
            cause="layers share a signal that starts too small, and grow together too slowly",
            remedy="initialise the layers with gain below 1 by std sqrt(2 / fan_in); or raise the "
            f"learning rate{' or drop weight decay until the loss falls' if never else ''}",
            source=PLATEAU_SOURCE,
            layers=reading.names(blamed),
        )
    ]
