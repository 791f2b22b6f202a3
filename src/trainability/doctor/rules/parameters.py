"""Which parameters are trained: by which optimizer, reached by which gradient, told apart by what."""

import statistics
from collections.abc import Sequence

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import LossGraph
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.rate_choice import settings_of
from trainability.doctor.rules.as_drawn import frozen_as_drawn
from trainability.doctor.rules.cut_off import (
    UNREACHED,
    alone_with_gradient,
    frozen_is_needed,
    holds_only_unused,
    reached_in_part,
    reached_later,
    stays_as_drawn,
)
from trainability.doctor.rules.flat import filled_extreme, flat_for_all, flat_in_part
from trainability.doctor.rules.mixed_up import of_another, of_one, of_the_same, of_two
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.spent_rate import spent_in_the_run
from trainability.doctor.rules.unmoved import unmoved, why_unmoved

SYMPTOMS = (
    "plateau",
    "cannot_overfit",
    "slow_start",
    "update_ratio",
    "vanishing_gradient",
    "prediction_collapse",
    "constant_output",
)

_FEWEST_STEPS = 100  # of a run that has not learned
_SPENT = 1e-4  # of the first loss
_ROUNDS_OF_TURNS = 20  # rehearsed steps without its turn, after which a model of several is said to have none
_CODES = {"not in the loss": "left_out", "turn": "detached", "spare": "unused"}  # other reasons are codes themselves


@rule(
    severities=("error", "warning"),
    verdict="dead",
    explains=(
        *SYMPTOMS,
        "missing_zero_grad",
        "stale_gradients",
        "never_steps",
        "unmoved_parameter",
        "zero_gradient",
        "untrained_parameter",
        "oscillation",
        "loss_cliff",
        "exploding_gradient",
    ),
)
def foreign_optimizer(evidence: Evidence) -> list[Finding]:
    """The optimizer holds none of the model's parameters.

    Fires: the model has trainable parameters, none of them is in a group of the optimizer, and no other optimizer of the
        process holds them. A warning with code `opponent`: of models that play against each other, the one's optimizer holds
        the other's weights as well and steps them for its own loss, while the other's optimizer steps for a loss that wants
        other answers; or one optimizer holds both and steps for two such losses, with a gradient for the same model. An error
        with code `twice`: of a watched loop, two optimizers step the same parameters, and the loss goes through others that
        get a gradient and that no optimizer holds.
    Why: the optimizer steps, and the model stays as it is. Gradients are never cleared either, because zero_grad clears those
        of the parameters that the optimizer holds. Counted, so this is certain.
    What fools it: parameters that are updated by hand, without an optimizer; beside two optimizers of one network, another
        that stays as it is and is not frozen. Silent where Monitor saw no layer run, because
        then it watches another model than the loop trains.
    Fix: make the optimizer after the model is complete (built, moved, wrapped): type(optimizer)(model.parameters(), ...).
    Source: PyTorch, `torch.optim`, Constructing it; own check.
    """
    settings = settings_of(evidence)
    if reading.facts(evidence).moved_by_judge:
        return [of_two(*reading.facts(evidence).moved_by_judge)]
    if reading.facts(evidence).moved_both_ways:
        return [of_one(*reading.facts(evidence).moved_both_ways)]
    if (shared := reading.facts(evidence).shared) is not None:
        return [of_the_same(*shared)]
    if settings is None or settings.managed != 0 or not settings.unmanaged or any(s.blind for s in evidence.samples):
        return []
    return [of_another(settings)]


@rule(severities=("error", "hint"), verdict="dead", explains=(*SYMPTOMS, "gain_budget_low", "random_evaluation"))
def unregistered_layers(evidence: Evidence) -> list[Finding]:
    """Layers are in a plain list or dict, and the model does not know their weights.

    Fires: the loss depends on a trainable parameter that is in none of the model's modules, is found in a plain list, dict or
        tuple that is an attribute of one, and that no optimizer of the process holds. A hint where an optimizer does hold it.
        Code `made_in_forward`: weights in no module that each forward pass makes anew, or, as watched, makes and drops.
    Why: `parameters()`, `to()`, `state_dict()` and `train()` see only what is registered. Such layers keep their random weights
        while the rest is trained. Read from the graph of the loss, so this is certain.
    What fools it: a network that is wrapped in a list to keep it out of the model, and meant to stay as it is without
        requires_grad_(False).
    Fix: torch.nn.ModuleList(layers) in place of the list (ModuleDict, ParameterList), before the optimizer is made.
    Source: PyTorch, `torch.nn.ModuleList`.
    """
    facts = reading.facts(evidence)
    graph = facts.graph or LossGraph()
    if facts.made_anew:
        return [_made_in_forward(facts.made_anew)]
    if not graph.unregistered:
        return []
    trained = not graph.unregistered_untrained
    holder = graph.unregistered[0].partition("[")[0]
    return [
        Finding(
            rule="unregistered_layers",
            severity="hint" if trained else "error",
            seen=f"{len(graph.unregistered)} parameters in {holder} take part in the loss, and the model does not know them",
            measurements=(
                Measurement(name="parameters in no module", value=float(len(graph.unregistered)), threshold=0.0),
                Measurement(name="of these in no optimizer", value=float(graph.unregistered_untrained), threshold=0.0),
            ),
            cause=f"{holder} is a plain Python container",
            remedy=f"{holder} = torch.nn.ModuleList(...), before the optimizer is made from model.parameters()",
            source="PyTorch, torch.nn.ModuleList",
            layers=graph.unregistered,
        )
    ]


def _made_in_forward(shapes: tuple[tuple[int, ...], ...]) -> Finding:
    """Layers that are drawn at random in each forward pass."""
    return Finding(
        rule="unregistered_layers",
        code="unregistered_layers.made_in_forward",
        severity="error",
        seen=f"each forward pass makes weights of its own, of shape {shapes[0]}, and drops them",
        measurements=(Measurement(name="weights made in forward", value=float(len(shapes)), threshold=0.0),),
        cause="a layer is made in forward: its weights are drawn anew each time, and no optimizer has them",
        remedy="make the layer in __init__, and call it in forward (torch.nn.LazyLinear takes its width from the first batch)",
        source="PyTorch, torch.nn.Module; two passes compared",
    )


@rule(
    severities=("error", "warning", "hint"),
    verdict="dead",
    explains=("plateau", "cannot_overfit", "update_ratio", "constant_as_good", "prediction_collapse"),
)
def untrained_parameter(evidence: Evidence) -> list[Finding]:
    """Parameters are frozen, in no optimizer, or do not move.

    Fires: a trainable parameter is in no optimizer of the process; or a layer's weight is bitwise unchanged at each of the last
        three sampled steps. An error where no layer moves, or what is in no optimizer alone has a gradient that is not exactly
        zero, as a head of zeros; a hint where requires_grad is False or a part in no optimizer runs under no_grad, which is
        usually meant (a warning where half of the weights are frozen and the loss gets no lower than one answer for every
        example makes it, or at no rate), where no gradient reaches a layer that may be spare (a warning
        where it is half of the weights, and 100 steps have not learned), where a run that has learned comes to rest, and where
        what is in no optimizer is a table or a vector of the model's own, no layer's, and a tenth of its weights at most:
        the rest adapts to what stays as drawn (a codebook, proxies, a random code), unless the loss of a run gets no lower
        than one answer for every example makes it.
        Code `as_drawn`: two frozen layers or more, in front of what is trained, have the weights that PyTorch drew; a warning
        of eight, and of three where the rehearsed steps promise nothing, or 100 steps of a run leave 0.8 of what one answer for
        every example costs.
    Why: each is counted, none is estimated, and the reason is read off: no gradient, a gradient of exactly zero, a learning
        rate of 0, or a gradient that is there after backward and moves nothing. Code `gradient_lost`, told by one step where
        all are cleared before it; `not_written` where the optimizer is given it, and it is large enough for float32 to move the
        weight by itself. One unchanged step could be skipped; three are a pattern. A step of SGD below float32's resolution is
        left to the rules that look at the gradient, and so is a gradient whose square is infinite, by which Adam divides.
    What fools it: experts that no example was routed to, and a learning rate of zero in a warm-up.
    Fix: what the finding names: the optimizer's parameters, the use of the layer in forward, the learning rate, or what comes
        between backward and step.
    Source: Amazon SageMaker Debugger, rule UnchangedTensor; torchtest; own number of samples.
    """
    settings = settings_of(evidence)
    unmanaged, frozen = (settings.unmanaged, settings.frozen) if settings is not None else ((), ())
    found = [_in_no_optimizer(evidence, unmanaged)] if unmanaged else []
    if not unmanaged and (still := unmoved(evidence, (*frozen, *(p.name for p in reading.facts(evidence).unreached)))):
        found = _unmoved(evidence, still)
    if frozen and (drawn := frozen_as_drawn(evidence, frozen)):
        found += drawn
    elif frozen:
        found.append(
            _untrained(
                "frozen",
                frozen,
                len(frozen),
                cause="frozen on purpose, or left so (requires_grad=False)",
                remedy="parameter.requires_grad_(True), unless it is meant",
                severity="warning" if frozen_is_needed(evidence, frozen) else "hint",
            )
        )
    return found


def _in_no_optimizer(evidence: Evidence, names: tuple[str, ...]) -> Finding:
    graph = reading.facts(evidence).graph or LossGraph()
    alone = alone_with_gradient(evidence, names)
    # Parts that run under no_grad and are in no optimizer are frozen, in two ways.
    is_meant = set(names) <= set(graph.outside) or stays_as_drawn(evidence, names)
    return _untrained(
        "unmanaged",
        names,
        len(names),
        cause="built before or after what the optimizer was given",
        remedy="pass model.parameters() to the optimizer, after the model is complete",
        severity="error" if alone else "hint" if is_meant else "warning",
        explains=("zero_gradient",) if alone else (),
    )


def _unmoved(evidence: Evidence, still: Sequence[LayerStats]) -> list[Finding]:
    """Layers that no sampled step has moved; what a schedule that is over leaves where it is belongs to `rate_dies`."""
    word, cause, remedy = why_unmoved(evidence, still[0])
    if word == "lr_zero" and spent_in_the_run(evidence):
        return []
    moving = [s for s in evidence.samples[-1].layers if s.update_ratio]
    severe = word in ("lr_zero", "gradient_lost", "not_written", "no_gradient") and not moving
    names = tuple(layer.name for layer in still)
    # A head that another phase uses has no gradient either; a table that is looked up and dropped has no other phase.
    looked_up = still[0].kind == "embedding" and still[0].activation_rms is not None
    if cut_off := word == "no_gradient" and not evidence.samples[-1].blind and (not moving or _most(evidence, still)):
        remedy = "loss.backward() in each step, and no detach(), item() or no_grad() between the model and the loss"
    spare = word == "no_gradient" and not looked_up and not cut_off
    # A recurrent layer that runs one step from a state of zeros makes no use of what carries the state on.
    spare |= word == "zero_gradient" and all("weight_hh" in s.name for s in still)
    # An optimizer may stop where nothing is left.
    arrived = word in ("gradient_lost", "not_written") and (reading.has_learned(evidence) or _is_spent(evidence))
    # Where those that move hardly move either, the steps are too small: update_ratio says so.
    rounds = word == "gradient_lost" and bool(moving) and statistics.median(s.update_ratio or 0.0 for s in moving) < 1e-5
    severity = "hint" if spare or arrived or rounds else "error" if severe else "warning"
    shown = [reading.called(s) for s in still]
    return [_untrained(word, names, min(len(evidence.samples), 3), cause=cause, remedy=remedy, severity=severity, shown=shown)]


def _is_spent(evidence: Evidence) -> bool:
    """Whether the loss is next to nothing beside the first: L-BFGS gets there in a few steps, and then makes none."""
    losses = [step.loss for step in evidence.finite_steps]
    return len(losses) > 1 and 0 <= losses[-1] < _SPENT * losses[0]


def _most(evidence: Evidence, still: Sequence[LayerStats]) -> bool:
    """Whether a run that has not learned leaves half of its weights without a gradient: no head that another phase uses."""
    weights = [s for s in evidence.samples[-1].layers if reading.is_matrix(s) and s.update_ratio is not None]
    enough = reading.num_steps(evidence) >= _FEWEST_STEPS and not reading.has_learned(evidence)
    return enough and 2 * len([s for s in still if s.gradient_rms is None]) >= len(weights)


def _untrained(
    word: str,
    names: tuple[str, ...],
    count: int,
    *,
    cause: str,
    remedy: str,
    severity: Severity = "warning",
    shown: Sequence[str] = (),
    explains: tuple[str, ...] = (),
) -> Finding:
    shown = shown or names
    unit = "sampled steps without a change" if word not in ("unmanaged", "frozen") else "such parameters"
    return Finding(
        rule="untrained_parameter",
        code=f"untrained_parameter.{word}",
        severity=severity,
        seen=f"{', '.join(shown[:4])}{' and more' if len(shown) > 4 else ''} will not be trained",
        measurements=(Measurement(name=unit, value=float(count), threshold=0.0),),
        cause=cause,
        remedy=remedy,
        source="SageMaker Debugger; torchtest 2",
        layers=names,
        explains=explains,
    )


@rule(
    severities=("error", "warning", "hint"),
    verdict="dead",
    explains=("plateau", "cannot_overfit", "untrained_parameter", "unmoved_parameter", "constant_as_good", "dead_units"),
)
def unreached_parameter(evidence: Evidence) -> list[Finding]:
    """A parameter of the optimizer is reached by no gradient, with the reason.

    Fires: a trainable parameter is not in the graph of the loss. Code `detached`: the loss changes with it, and the gradient is
        cut off, also where only a term without targets reaches it (a codebook's own cost), or where it is so of some units of a
        layer alone, or of all steps of a sequence but the last three, as of a detached state; or a draw by `sample()` is used,
        and its log-probability is not. Code `dropped`: its module runs, or should, and the model drops what it makes. Code
        `left_out`: the model returns it, and the loss does not use that. A warning; of `left_out` a hint, since what a model
        returns besides may be for others than the loss. A hint is one of several models or optimizers that no loss of the
        first batch reaches, and an error where those of 20 steps did not either. Code `unused`: nothing calls its module, or
        uses a single vector beside others of its module that are used: a hint; an error where the optimizer holds nothing else.
        Silent of what a gradient reaches at a later rehearsed step.
    Why: the reason is found out by asking: the parameter gets other values, and the loss is computed again with the same random
        numbers.
    What fools it: experts that no example of this batch was routed to, and parts that a later phase of training uses;
        an online probe of more than one layer, where the loss that teaches what it is given has no weights of its own.
    Fix: use the module's result (add the positions to the embeddings), or take away detach(), .data, no_grad() or argmax
        between the parameter and the loss.
    Source: PyTorch, `DistributedDataParallel`, find_unused_parameters; own check of the reason.
    """
    found = tuple(p for p in reading.facts(evidence).unreached if not reached_later(evidence, p.name))
    if not found:
        return reached_in_part(evidence)
    if idle := holds_only_unused(evidence):
        return idle
    reasons = {p.reason for p in found}
    reason = next(each for each in UNREACHED if each in reasons)  # the first is told
    names = tuple(p.name for p in found if p.reason == reason)
    told = UNREACHED[reason]
    shown = ", ".join(names[:4]) + (" and more" if len(names) > 4 else "")
    tried = evidence.rehearsal
    enough = _ROUNDS_OF_TURNS if reason == "turn" else 2
    waited = reason == "turn" and len(evidence.steps) > enough and not any(step.gradient_norm for step in evidence.steps)
    never = waited or (
        reason not in ("not in the loss", "unused", "spare")
        and tried is not None
        and len(tried.steps) > enough
        and bool(set(names) & set(tried.without_gradient) & set(tried.unmoved))
    )
    is_seen = never or reason in ("detached", "dropped")
    severity = "error" if never and reason == "turn" else "warning" if is_seen else "hint"
    return [
        Finding(
            rule="unreached_parameter",
            code=f"unreached_parameter.{_CODES.get(reason, reason)}",
            severity=severity,
            seen=f"{shown}: {told[0]}{', nor that of a later step' if severity == 'error' else ''}",
            measurements=(Measurement(name="such parameters", value=float(len(names)), threshold=0.0),),
            cause=told[1],
            remedy=f"remove the detach(), .data, no_grad(), argmax or comparison between {next(iter(names), 'it')} and the loss"
            if reason in ("detached", "turn")
            else "use it in forward, or delete it",
            source="own; torchtest 2 names such parameters, without the reason",
            layers=names,
        )
    ]


@rule(
    severities=("error", "warning"),
    verdict="dead",
    explains=(*SYMPTOMS, "untrained_parameter", "loss_at_start", "saturation", "unmoved_parameter", "zero_gradient"),
)
def flat_loss(evidence: Evidence) -> list[Finding]:
    """The gradient of every weight is exactly zero before the first step.

    Fires: no weight of two or more dimensions has a gradient other than zero, and the loss is not zero; or softmax, in the
        model or in cross-entropy, runs over a dimension of size 1: a warning where weights of the model have a gradient of
        exactly zero for it, and the others have one. Code `step_function`: round, sign or the like is applied to
        what is trained. Warnings: code `zero`: the losses of the first 20 steps are 1e-6 or less, some of them 0 or less by
        rounding, and no gradient is above 1e-3; `rounding`: so, of a step that draws by its own outputs; or of a loss below
        1e-3, float64 leaves a thousandth of the gradient or less; `most_examples`: of
        a term of the loss, four fifths of the examples or more have no slope, and none costs more than they do; `underflow`:
        of numbers that the loss takes a logarithm of, four fifths or more are an epsilon beside what exp, softmax, sigmoid
        or a product rounded to zero. These two are errors where no weight has a gradient, and so is `at_limit`: a clamp of the
        loss is at its limit for every example, `held`: a clamp makes the model's answers, all of them beyond its limits, and
        `filler`: a maximum or minimum takes in every row one number, infinite or a thousand times as large as all others.
    Why: exactly zero is no matter of scale: something between every weight and the loss does not change with it. Softmax over a
        dimension of size 1 is 1 whatever goes in; sign, round and comparisons are flat.
    What fools it: a loss with a margin that is met on the whole batch, as of a model that was trained before.
    Fix: for one output use sigmoid with binary cross-entropy; for boxes that do not overlap a generalised IoU, or l1_loss
        beside it; logsumexp of log densities in place of log(density + epsilon); else look at what stands between the last
        layer and the loss.
    Source: own; Wardat et al., DeepDiagnosis, ICSE 2022, for the constant output.
    """
    facts = reading.facts(evidence)
    graph = facts.graph or LossGraph()
    single = facts.single_output_softmax or (graph.takes == "log_softmax" and graph.num_outputs == 1)
    if not single and (filled := filled_extreme(evidence)):
        return filled
    if not single and (not facts.no_weight_moves or not abs(facts.loss or 0.0) > 1e-6):
        return flat_in_part(evidence)
    if not single and facts.flat_function is None and (limited := flat_for_all(evidence)):
        return limited
    constant, step = facts.constant_output, facts.flat_function
    word = "softmax_of_one" if single else "step_function" if step else "constant_output" if constant else ""
    return [
        Finding(
            rule="flat_loss",
            code=f"flat_loss.{word}".rstrip("."),
            severity="error",
            seen="softmax runs over a dimension of size 1, so every probability is 1 and the loss never changes"
            if single
            else "the gradient of every weight is exactly zero" + (", and all outputs are equal" if constant else ""),
            measurements=(
                Measurement(name="parameters with a gradient of exactly zero", value=float(len(facts.zero_gradient))),
                Measurement(name="parameters with a gradient", value=float(facts.num_gradients or 0)),
            ),
            cause="an activation that does not fit"
            if single
            else "between weights and loss, something does not change with them",
            remedy="binary_cross_entropy_with_logits for one output, without softmax; or two outputs and cross_entropy"
            if single
            else f"take the loss of what goes into {step}: its slope is zero; it may stand where predictions are read"
            if step
            else "look at what stands between the last layer and the loss; draw weights at random where they are zero",
            source="own",
        )
    ]
