"""Which parameters are trained: their optimizer, their gradient, and what makes units differ."""

import statistics
from collections.abc import Sequence

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import LossGraph
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.rate_choice import settings_of
from trainability.doctor.rules.as_drawn import drawn_teacher, frozen_as_drawn, idle_norms
from trainability.doctor.rules.cut_off import (
    UNREACHED,
    alone_with_gradient,
    cut_from_targets,
    frozen_is_needed,
    holds_only_unused,
    reached_in_part,
    reached_later,
    stays_as_drawn,
    to_reach,
)
from trainability.doctor.rules.mixed_up import of_another, of_one, of_one_in_vain, of_the_last, of_the_same, of_two
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.spent_rate import spent_in_the_run
from trainability.doctor.rules.unmoved import are_most, is_at_weight_zero, is_spent, unmoved, why_unmoved
from trainability.doctor.rules.untrained import of_criterion, untrained

SYMPTOMS = (
    "plateau",
    "cannot_overfit",
    "slow_start",
    "update_ratio",
    "vanishing_gradient",
    "prediction_collapse",
    "constant_output",
)

_ROUNDS_OF_TURNS = 20  # rehearsed steps after which a model that was never trained is said to have no turn
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
        "blind",
    ),
)
def foreign_optimizer(evidence: Evidence) -> list[Finding]:
    """The optimizer holds none of the model's parameters.

    Fires: the model has trainable parameters, none of them is in a group of the optimizer, and no other optimizer of the
        process holds them. A warning with code `opponent`: of adversarial models, one model's optimizer also holds the other's
        weights and steps them for its own loss, while the other's optimizer steps them for an opposing loss; or one optimizer
        holds both models and steps for two such losses, with gradients for the same model. An error with code `twice`: in a
        watched loop, two optimizers step the same parameters, and other parameters that get a gradient from the loss are in no
        optimizer. An error with code `last`: in a watched loop, the loss of a later step comes from another network, whose
        parameters no optimizer holds, and the optimizer that steps then has no gradient. An error with code `in_vain`: in a
        script, what steps never has a gradient, and the optimizer whose parameters have some never steps.
    Why: the optimizer steps, and the model does not change. Its gradients are never cleared either, because zero_grad clears
        only the parameters that the optimizer holds. Parameters are counted, so this is certain.
    What fools it: in a watched loop, parameters that are updated by hand; for `twice`, a network that is not trained on
        purpose and not frozen, while another has two optimizers. Silent where Monitor saw no layer run, because it then watches
        another model than the one that is trained.
    Fix: create the optimizer after the model is complete (built, moved, wrapped): type(optimizer)(model.parameters(), ...).
    Source: PyTorch, `torch.optim`, Constructing it; own check.
    """
    settings = settings_of(evidence)
    if reading.facts(evidence).opponents.moved_by_critic:
        return [of_two(*reading.facts(evidence).opponents.moved_by_critic)]
    if reading.facts(evidence).opponents.moved_both_ways:
        return [of_one(*reading.facts(evidence).opponents.moved_both_ways)]
    if (shared := reading.facts(evidence).shared or reading.facts(evidence).opponents.held_twice) is not None:
        return [of_the_same(*shared)]
    if (num_others := reading.facts(evidence).passed_by) is not None:
        name, lr = (settings.name, settings.lr) if settings is not None else (None, None)
        return [of_the_last(name, lr, num_others)]
    if reading.facts(evidence).in_vain and evidence.steps_of_others and all(step.skipped for step in evidence.steps):
        return [of_one_in_vain(evidence.steps_of_others)]
    if settings is None or settings.managed != 0 or not settings.unmanaged or any(s.blind for s in evidence.samples):
        return []
    if _are_written(evidence, settings.unmanaged):
        return []
    return [of_another(settings)]


@rule(severities=("error", "hint"), verdict="dead", explains=(*SYMPTOMS, "gain_budget_low", "random_evaluation"))
def unregistered_layers(evidence: Evidence) -> list[Finding]:
    """Layers are in a list, plain object or closure, and the model does not register them.

    Fires: the loss depends on a trainable parameter that is in none of the model's modules, is in a plain list, dict, tuple or
        object or in a function's closure that is an attribute of one, or has been made into such an attribute
        (`nn.Parameter(table).float()`), and is in no optimizer of the process; or, in a check, on a plain tensor with a
        gradient that is an attribute of one, goes into no layer, holds different numbers, a tenth as many as are trained or
        more, and no row for each example, where no derivative is taken. A hint where it is in an optimizer.
        Code `made_in_forward`: weights in no module that each forward pass creates; in a watched loop, that it creates
        and drops.
    Why: `parameters()`, `to()`, `state_dict()` and `train()` see only registered modules and parameters. Other layers keep
        their random weights while the rest is trained. Read from the graph of the loss, so this is certain.
    What fools it: a network that is wrapped in a list on purpose to keep it out of the model, and that stays fixed without
        requires_grad_(False).
    Fix: torch.nn.ModuleList(layers) instead of the list (ModuleDict, ParameterList), torch.nn.Parameter(tensor) instead of the
        tensor, before the optimizer is created.
    Source: PyTorch, `torch.nn.ModuleList`.
    """
    facts = reading.facts(evidence)
    graph = facts.graph or LossGraph()
    if facts.made_anew:
        return [_made_in_forward(facts.made_anew)]
    if not graph.unregistered:
        return []
    trained = not graph.unregistered_untrained
    holder, bracket, _ = graph.unregistered[0].partition("[")
    is_tensor = not bracket and len(set(graph.unregistered)) == 1
    holder = holder.partition(".<")[0]
    kind = graph.unregistered[0].partition(".<")[2].partition(">.")[0]  # "locals" of a function, or a plain object's class
    if is_tensor:
        cause = f"{holder} is a plain tensor"
        remedy = f"{holder} = torch.nn.Parameter(...), with what converts it (.float(), .to(device)) inside"
    elif kind == "locals":
        cause = f"{holder} holds functions, and PyTorch does not look for layers in their closures"
        remedy = f"give the model the layers that the functions of {holder} use: self.layers = torch.nn.ModuleList([...])"
    elif kind:
        cause = f"{holder} is a {kind}, which is no torch.nn.Module, so that PyTorch does not look into it"
        remedy = f"class {kind}(torch.nn.Module), with super().__init__() as the first line of its __init__, and forward()"
    else:
        cause = f"{holder} is a plain Python container"
        by_name = graph.unregistered[0].partition("[")[2].startswith(("'", '"'))
        remedy = f"{holder} = torch.nn.{'ModuleDict' if by_name else 'ModuleList'}(...)"
    return [
        Finding(
            rule="unregistered_layers",
            severity="hint" if trained else "error",
            seen=f"{len(graph.unregistered)} parameters in {holder} take part in the loss, but the model does not register "
            "them",
            measurements=(
                Measurement(name="parameters in no module", value=float(len(graph.unregistered)), threshold=0.0),
                Measurement(name="of these in no optimizer", value=float(graph.unregistered_untrained), threshold=0.0),
            ),
            cause=cause,
            remedy=f"{remedy}, before the optimizer is created from model.parameters()",
            source="PyTorch, torch.nn.Parameter" if is_tensor else "PyTorch, torch.nn.ModuleList",
            layers=graph.unregistered,
        )
    ]


def _made_in_forward(shapes: tuple[tuple[int, ...], ...]) -> Finding:
    """Layers that are initialised in each forward pass."""
    return Finding(
        rule="unregistered_layers",
        code="unregistered_layers.made_in_forward",
        severity="error",
        seen=f"each forward pass creates new weights of shape {shapes[0]}, and drops them",
        measurements=(Measurement(name="weights created in forward", value=float(len(shapes)), threshold=0.0),),
        cause="a layer is created in forward: its weights are initialised each time, and no optimizer holds them",
        remedy="create the layer in __init__, and call it in forward (torch.nn.LazyLinear takes its width from the first "
        "batch)",
        source="PyTorch, torch.nn.Module; two passes compared",
    )


@rule(
    severities=("error", "warning", "hint"),
    verdict="dead",
    explains=("plateau", "cannot_overfit", "update_ratio", "constant_as_good", "prediction_collapse"),
)
def untrained_parameter(evidence: Evidence) -> list[Finding]:
    """Parameters are frozen, in no optimizer, or do not move.

    Fires: a trainable parameter is in no optimizer of the process, of the model or of a loss module that holds it by itself or
        is PyTorch's (an adaptive softmax); or a layer's weight is bitwise unchanged at each of the last three sampled steps. An
        error where no layer moves, or where only parameters in no optimizer have a gradient that is not exactly zero, as before
        a head of zeros. A hint where requires_grad is False, where a part in no optimizer runs under no_grad, and where the
        layers in no optimizer, two or more, were trained before, which is usually intended (a warning where this is half of the
        weights and the loss gets no lower than the best constant answer's cost, or gets lower at no learning rate); where no
        gradient reaches a layer that may be unused (a warning where it is half of the weights, and 100 steps have not learned);
        where a run learns with the other layers, and these and their outputs have a gradient of exactly zero, as a part that is
        faded in later; where a run that has learned comes to rest; and where the parameters in no optimizer are tables or
        vectors of the model itself, not of a layer, and at most a tenth of its weights: the rest of the model adapts to their
        initial values (a codebook, proxies, a random code), unless the loss of a run gets no lower than the best constant
        answer's cost. Code `as_drawn`: two frozen layers or more before the trained part have PyTorch's initial weights; a
        warning from eight, and from three where the rehearsal predicts no training, or 100 steps of a run leave 0.8 of the best
        constant answer's cost. Or the table of a frozen embedding is of independent random numbers, normal or uniform; a
        warning in the same two cases. Code `frozen` is a warning, too, of a last layer with PyTorch's initial weights behind
        frozen layers that were trained before. Code `teacher`: a network outside the model has PyTorch's initial weights in all
        of two linear layers or more, the loss changes with its outputs, which need no gradient, and the batch holds a label for
        each example. Code `norm`: two normalisations or more of the program's own have a fixed mean of 0 and variance of 1, in
        a network with PyTorch's initial weights. Codes of the others: `unmanaged` (in no optimizer), `frozen`, `no_gradient`,
        `zero_gradient`, `zero_input`, `lr_zero`.
    Why: everything is counted, nothing is estimated, and the reason is read off: no gradient, a gradient of exactly zero, a
        learning rate of 0, or a gradient that is there after backward and moves nothing. Code `gradient_lost`: the gradient is
        gone at the step; one step is enough where all gradients are cleared before it. Code `not_written`: the optimizer gets a
        gradient that is large enough for float32 to move the weight by itself. A single unchanged step could be skipped; three
        are a pattern. An SGD step below float32's resolution is left to the rules on gradients, and so is a gradient whose
        square, by which Adam divides, is infinite.
    What fools it: experts to which no example was routed, and a learning rate of zero during warm-up.
    Fix: what the finding names: the optimizer's parameters, the use of the layer in forward, the learning rate, or what happens
        between backward and step.
    Source: Amazon SageMaker Debugger, rule UnchangedTensor; torchtest; own number of samples.
    """
    settings = settings_of(evidence)
    unmanaged, frozen = (settings.unmanaged, settings.frozen) if settings is not None else ((), ())
    unmanaged = () if _are_written(evidence, unmanaged) else unmanaged
    found = [_in_no_optimizer(evidence, unmanaged)] if unmanaged else []
    found += drawn_teacher(reading.facts(evidence).readings.drawn_teacher)
    found += idle_norms(reading.facts(evidence).readings.idle_norms)
    found += of_criterion((reading.facts(evidence).graph or LossGraph()).criterion)
    if not unmanaged and (still := unmoved(evidence, (*frozen, *(p.name for p in reading.facts(evidence).unreached)))):
        found += _unmoved(evidence, still)
    if frozen and (drawn := frozen_as_drawn(evidence, frozen)):
        found += drawn
    elif frozen:
        found.append(
            untrained(
                "frozen",
                frozen,
                len(frozen),
                cause="frozen on purpose, or left frozen (requires_grad=False)",
                remedy="parameter.requires_grad_(True), unless it is intended",
                severity="warning" if frozen_is_needed(evidence, frozen) else "hint",
            )
        )
    return found


def _are_written(evidence: Evidence, unmanaged: tuple[str, ...]) -> bool:
    """Whether rehearsed steps move all of these: the body writes them itself, as from a flat copy that the optimizer holds."""
    rehearsal = evidence.rehearsal
    return rehearsal is not None and len(rehearsal.steps) > 1 and not set(unmanaged) & set(rehearsal.unmoved)


def _in_no_optimizer(evidence: Evidence, names: tuple[str, ...]) -> Finding:
    graph = reading.facts(evidence).graph or LossGraph()
    alone = alone_with_gradient(evidence, names)
    # Parts that run under no_grad and are in no optimizer are frozen, in two ways.
    settings = settings_of(evidence)
    is_loaded = settings is not None and settings.unmanaged_trained  # a new head alone is trained
    is_meant = set(names) <= set(graph.outside) or stays_as_drawn(evidence, names) or is_loaded
    return untrained(
        "unmanaged",
        names,
        len(names),
        cause="these parameters are in no optimizer",
        remedy="pass model.parameters() to the optimizer, after the model is complete",
        severity="error" if alone else "hint" if is_meant else "warning",
        explains=("zero_gradient",) if alone else (),
    )


def _unmoved(evidence: Evidence, still: Sequence[LayerStats]) -> list[Finding]:
    """Layers that no sampled step has moved; a schedule that has ended is reported by `rate_dies`."""
    word, cause, remedy = why_unmoved(evidence, still[0])
    if (word == "lr_zero" and spent_in_the_run(evidence)) or (word == "zero_gradient" and reading.has_no_loss(evidence)):
        return []
    moving = [s for s in evidence.samples[-1].layers if s.update_ratio]
    severe = word in ("lr_zero", "gradient_lost", "not_written", "no_gradient") and not moving
    names = tuple(layer.name for layer in still)
    # A head for another phase has no gradient either; a table whose result is dropped has no other phase.
    looked_up = still[0].kind == "embedding" and still[0].activation_rms is not None
    if cut_off := word == "no_gradient" and not evidence.samples[-1].blind and (not moving or are_most(evidence, still)):
        remedy = "loss.backward() in each step, and no detach(), item() or no_grad() between the model and the loss"
    spare = word == "no_gradient" and not looked_up and not cut_off
    # A recurrent layer that runs one step from a state of zeros does not use its recurrent weights.
    spare |= word == "zero_gradient" and (all("weight_hh" in s.name for s in still) or is_at_weight_zero(evidence, still))
    # What reads zeros beside a state is reported by `constant_input.zeros`, a hint where the run learns.
    fed_zeros = tuple(f"{name}.weight_ih" for name in reading.facts(evidence).zeros_beside_state)
    spare |= word == "zero_gradient" and all(s.name.startswith(fed_zeros) for s in still)
    # An optimizer may stop when the loss is gone.
    arrived = word in ("gradient_lost", "not_written") and (reading.has_learned(evidence) or is_spent(evidence))
    # Where the others hardly move either, the steps are too small: update_ratio reports it.
    rounds = word == "gradient_lost" and bool(moving) and statistics.median(s.update_ratio or 0.0 for s in moving) < 1e-5
    severity = "hint" if spare or arrived or rounds else "error" if severe else "warning"
    shown = [reading.called(s) for s in still]
    return [untrained(word, names, min(len(evidence.samples), 3), cause=cause, remedy=remedy, severity=severity, shown=shown)]


_EXPLAINED = {
    "detached": (
        "weights_redrawn",
    ),  # written through .data into another weight, their result is found there anew at each step
    "dropped": ("pooled_places",),  # as a table of positions that is not added to the words
}


@rule(
    severities=("error", "warning", "hint"),
    verdict="dead",
    explains=("plateau", "cannot_overfit", "untrained_parameter", "unmoved_parameter", "constant_as_good", "dead_units"),
)
def unreached_parameter(evidence: Evidence) -> list[Finding]:
    """A parameter of the optimizer gets no gradient, with the reason.

    Fires: a trainable parameter is not in the graph of the loss. Code `detached`: the loss depends on it, but the gradient is
        cut off; also where only a term without targets reaches it (a codebook's own cost, or that of a code), where this holds
        for some units of a layer, or for all but the last three steps of a sequence, as with a detached state; or `sample()` is
        used, and its log-probability is not. Code `dropped`: its module runs, or should, and the model drops the result. Code
        `last_block`: the same of the last of equal blocks alone, of which other parts are used: a hint. Code `left_out`: the
        model returns it, and the loss does not use it. A warning; for `left_out` a hint, since additional outputs may be used
        elsewhere. With several models or optimizers, a parameter that no loss of the first batch reaches is a hint, and an
        error where 20 steps do not reach it either. Code `unused`: nothing calls its module, or uses a single vector whose
        siblings in the module are used: a hint; a warning for a table of positions without which attention sees no order
        (`constant_input`); an error where the optimizer holds nothing else. An error with code `targets`: with other targets
        the loss is another, and falls along other outputs, as it is measured, but every gradient of the outputs is the same bit
        for bit. Silent on parameters that get a gradient at a later rehearsed step. Code `unknown`: no reason was found.
    Why: the reason is found by a test: the parameter is changed, and the loss is computed again with the same random numbers.
    What fools it: experts to which no example of this batch was routed, and parts used in a later phase of training; an online
        probe of more than one layer on features whose own loss has no weights.
    Fix: use the module's result (add the positions to the embeddings), or remove detach(), item(), .data, no_grad() or argmax
        between the parameter and the loss.
    Source: PyTorch, `DistributedDataParallel`, find_unused_parameters; own check of the reason.
    """
    found = tuple(p for p in reading.facts(evidence).unreached if not reached_later(evidence, p.name))
    if reading.facts(evidence).readings.cut_targets:
        return [cut_from_targets()]
    if not found:
        return reached_in_part(evidence)
    if idle := holds_only_unused(evidence):
        return idle
    reasons = {p.reason for p in found}
    reason = next(each for each in UNREACHED if each in reasons)  # the first is reported
    names = tuple(p.name for p in found if p.reason == reason)
    told = UNREACHED[reason]
    shown = ", ".join(names[:4]) + (" and more" if len(names) > 4 else "")
    tried = evidence.rehearsal
    enough = _ROUNDS_OF_TURNS if reason == "turn" else 2
    waited = reason == "turn" and len(evidence.steps) > enough and not any(step.gradient_norm for step in evidence.steps)
    never = waited or (
        reason not in ("not in the loss", "unused", "spare", "last_block")
        and tried is not None
        and len(tried.steps) > enough
        and bool(set(names) & set(tried.without_gradient) & set(tried.unmoved))
    )
    blind = reading.facts(evidence).order_blind in names
    is_seen = never or blind or reason in ("detached", "dropped")
    severity = "error" if never and reason == "turn" else "warning" if is_seen else "hint"
    return [
        *(reached_in_part(evidence) if severity == "hint" else ()),  # an unused layer hides no cut path
        Finding(
            rule="unreached_parameter",
            code=f"unreached_parameter.{_CODES.get(reason, reason)}",
            severity=severity,
            seen=f"{shown}: {told[0]}"
            + (", nor that of a later step" if severity == "error" else "")
            + (", and attention sees no order: places exchanged do not change the answers" if blind else ""),
            measurements=(Measurement(name="parameters without a gradient", value=float(len(names)), threshold=0.0),),
            cause=told[1],
            remedy=to_reach(names, reason),
            source="own; torchtest 2 names these parameters, without the reason",
            layers=names,
            explains=_EXPLAINED.get(reason, ()),
        ),
    ]
