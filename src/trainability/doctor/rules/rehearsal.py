"""The rehearsal: what some steps of the loop's own body, made on a copy, show for certain."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.outlook_limits import LONGEST_ACCUMULATION
from trainability.doctor.rehearsed import Rehearsal
from trainability.doctor.rules.closure import adds_up
from trainability.doctor.rules.factor import rate_as_factor
from trainability.doctor.rules.loop import OF_NO_NORM
from trainability.doctor.rules.overwritten import weights_put_back
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.smaller_steps import larger_steps
from trainability.doctor.rules.spent_rate import ends, spent_in_rehearsal, spent_in_the_run
from trainability.doctor.rules.turned_plateau import turned_plateau
from trainability.doctor.rules.unmoved import NOT_WRITTEN, flat_step

CRAWLS = 1e-5  # of their size, that weights went in a rehearsal
_LONG = 100  # steps of another optimizer in a script that has ended
_SYMPTOMS = ("exploding_gradient", "not_finite", "oscillation", "loss_cliff", "clipping", "update_ratio", "dead_units")


def _stepped(evidence: Evidence) -> Rehearsal | None:
    """The rehearsal, where some optimizer stepped."""
    rehearsal = evidence.rehearsal
    return rehearsal if rehearsal is not None and any(step.optimizer_steps for step in rehearsal.steps) else None


@rule(
    severities=("error", "warning"),
    verdict="dead",
    explains=("unmoved_parameter", "untrained_parameter", "plateau", "cannot_overfit", "slow_start", "vanishing_gradient"),
)
def never_steps(evidence: Evidence) -> list[Finding]:
    """The loop never calls the optimizer's step, so no weight changes.

    Fires: in 16 rehearsed steps or more, no optimizer stepped and no parameter changed; or Monitor saw 16 backward passes or
        more, its optimizer never stepped, and nothing wrote to the weights. A warning with code `one`: one of several
        optimizers made no step in 16 rehearsed steps, or in a whole script in which another made 100 or more, although its
        parameters get gradients.
    Why: calls are counted. Accumulation over fewer than 16 batches would show a step within that many.
    What fools it: accumulation over more than 16 batches; a part whose turn comes later. A loop that changes weights without
        an optimizer is recognised.
    Fix: call optimizer.step() after loss.backward(), on the optimizer that was passed to check, and on each of several.
    Source: PyTorch, `torch.optim.Optimizer.step`; own count.
    """
    rehearsal = evidence.rehearsal
    if idle := _one_is_idle(evidence):
        return [idle]
    if evidence.steps:
        passes = 0 if any(not step.skipped for step in evidence.steps) else sum(step.micro_batches for step in evidence.steps)
        seen = Measurement(name="backward passes", value=float(passes), threshold=float(LONGEST_ACCUMULATION))
        said = f"{passes} backward passes, and the optimizer that Monitor was given never stepped"
    elif rehearsal is not None and _stepped(evidence) is None and len(rehearsal.unmoved) == rehearsal.num_parameters:
        passes = len(rehearsal.steps)
        seen = Measurement(name="unchanged parameters", value=float(len(rehearsal.unmoved)), threshold=0.0)
        said = f"{passes} rehearsed steps, and no optimizer stepped"
    else:
        return []
    if passes < LONGEST_ACCUMULATION:
        return []
    return [
        Finding(
            rule="never_steps",
            severity="error",
            seen=said,
            measurements=(Measurement(name="calls of optimizer.step", value=0.0, threshold=1.0), seen),
            cause="optimizer.step() is missing, or another optimizer steps",
            remedy="call optimizer.step() after loss.backward()",
            source="own; counted",
        )
    ]


def _one_is_idle(evidence: Evidence) -> Finding | None:
    rehearsal, others = evidence.rehearsal, evidence.steps_of_others
    names: tuple[str, ...] = ()
    if not evidence.steps and others is not None and others >= _LONG:
        steps, what = others, "the parameters of this optimizer get gradients, but it"
    elif rehearsal is not None and rehearsal.idle and len(rehearsal.steps) >= LONGEST_ACCUMULATION:
        steps, names = sum(step.optimizer_steps for step in rehearsal.steps), rehearsal.idle
        what = f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''} get gradients, but their optimizer"
    else:
        return None
    return Finding(
        rule="never_steps",
        code="never_steps.one",
        severity="warning",
        seen=f"{what} made no step while others made {steps:,}",
        measurements=(
            Measurement(name="steps of this optimizer", value=0.0, threshold=1.0),
            Measurement(name="steps of other optimizers", value=float(steps)),
        ),
        cause="the step() of one of the optimizers is missing, or another optimizer is stepped in its place",
        remedy="after loss.backward(), call step() of each optimizer once; a copied line may step one of them twice",
        source="own; counted",
        layers=names,
        explains=("wrong_sign", "stale_gradients"),  # of a loss on which nobody steps, or another optimizer does
    )


def _of_an_opponent(parameter: str) -> Finding:
    return Finding(
        rule="stale_gradients",
        code="stale_gradients.opponent",
        severity="error",
        seen=f"when the optimizer of {parameter} steps, its gradients still include those of a loss on which another optimizer "
        "has already stepped",
        measurements=(Measurement(name="optimizers with a gradient of two losses", value=1.0, threshold=0.0),),
        cause="a loss of one model flows back into the other, whose gradients are not cleared before its own backward pass",
        remedy="detach what the one model is given of the other, critic(made.detach()), or call zero_grad() of this optimizer "
        "right before its own loss.backward()",
        source="Goodfellow et al., Generative Adversarial Nets (alternating steps); own: gradients followed in the rehearsal",
    )


def _of_both(critic: str, generator: str) -> Finding:
    return Finding(
        rule="stale_gradients",
        code="stale_gradients.together",
        severity="error",
        seen=f"when the optimizer of {critic} steps, its gradients are those of two losses that want opposite outputs of "
        f"{critic} for the same outputs of {generator}",
        measurements=(Measurement(name="losses that undo each other", value=2.0, threshold=1.0),),
        cause=f"the loss of {generator} gives {critic} gradients too, and they are not cleared before its optimizer steps",
        remedy=f"step the optimizer of {critic} right after the backward pass of its own loss, and compute the loss of "
        f"{generator} after that; or give {critic} no gradient in the loss of {generator} (requires_grad_(False) around it)",
        source="Goodfellow et al., Generative Adversarial Nets (alternating steps); own: gradients followed in the rehearsal",
    )


@rule(severities=("error",), verdict="unstable", explains=("missing_zero_grad", "gain_budget_high", *_SYMPTOMS))
def stale_gradients(evidence: Evidence) -> list[Finding]:
    """Gradients are not cleared between steps, so each step follows their sum.

    Fires: at more than half of an optimizer's rehearsed steps after its first, some gradient held values from before the
        previous step. Code `opponent`: at most steps of one of several optimizers, its gradients held what a loss had left
        there on which another optimizer had stepped, and more was added; and another clears, at least half as often, gradients
        on which it has not stepped, as models that play against each other do, and tasks with a part in common do not. Code
        `together`: at every step of a critic's optimizer, five at least, the critic's gradients are the sum of
        those of two losses that want opposite outputs of it for the same outputs of another model, and exactly one of the two
        gives that model a gradient. Code `closure`: more than half of a closure's evaluations after the first of a step, three
        at least, add to the gradients that the last one left, at other weights, and clear nothing before their last backward
        pass; of another optimizer than LBFGS, only where the loss rises, and the weights moved down those gradients in between.
    Why: `backward` adds to `.grad`. Every backward pass counts whether the gradient was empty or zero before it. For `closure`,
        gradients are compared with those that the last evaluation left.
    What fools it: gradients that are kept on purpose. Accumulation over batches, also inside of a closure, and two optimizers
        that clear each other's gradients, are recognised.
    Fix: call optimizer.zero_grad() once per optimizer step, before loss.backward(). For `opponent`: detach what the other
        model is given, or clear the gradients right before the own backward pass. For `together`: step for the critic's loss
        before the other loss's backward pass. For `closure`: call optimizer.zero_grad() inside of the closure.
    Source: PyTorch, `torch.optim.Optimizer.zero_grad`; own count.
    """
    rehearsal = evidence.rehearsal
    if rehearsal is not None and rehearsal.mixed_gradient is not None:
        return [_of_an_opponent(rehearsal.mixed_gradient)]
    if reading.facts(evidence).opponents.undone:
        return [_of_both(*reading.facts(evidence).opponents.undone)]
    if rehearsal is not None and (found := adds_up(rehearsal.added_in_closure, evidence, "stale_gradients")):
        return found
    if rehearsal is None or rehearsal.stale_fraction is None or not rehearsal.stale_fraction > 0.5:
        return []
    of = f" of the optimizer that holds {rehearsal.stale_holder}" if rehearsal.stale_holder is not None else ""
    return [
        Finding(
            rule="stale_gradients",
            severity="error",
            seen=f"gradients of earlier steps{of} are still there when backward begins, so they add up",
            measurements=(
                Measurement(name="steps with old gradients", value=rehearsal.stale_fraction, threshold=0.5),
                Measurement(name="norm of an old gradient", value=rehearsal.stale_gradient or 0.0, threshold=0.0),
            ),
            cause=f"the zero_grad(){of} is missing" if of else "optimizer.zero_grad() is missing",
            remedy=f"call zero_grad(){of} once per step, before loss.backward()"
            if of
            else "call optimizer.zero_grad() once per step, before loss.backward()",
            source="own; counted in the rehearsal",
        )
    ]


@rule(
    severities=("error",),
    verdict="dead",
    explains=("unmoved_parameter", "plateau", "cannot_overfit", "vanishing_gradient", "slow_start"),
)
def zero_gradient(evidence: Evidence) -> list[Finding]:
    """The optimizer finds no gradient, or one that is exactly zero, at every step.

    Fires: at every rehearsed step of an optimizer, three at least, the norm over all gradients was 0. Silent where no parameter
        has a gradient and some move: the optimizer computes its step by itself.
    Why: rounding cannot make a gradient exactly zero in every parameter. Either it was cleared after backward, or no path leads
        from the loss to the weights, or every path is cut (all units dead).
    What fools it: the first step of some penalties; hence three steps.
    Fix: call optimizer.zero_grad(), loss.backward(), optimizer.step() once per step, in this order; no .detach(), .item(),
        argmax or torch.no_grad() between the model and the loss. The function at which the path ends is named, if it is known.
    Source: own count.
    """
    rehearsal = _stepped(evidence)
    norms = [step.gradient_norm for step in rehearsal.steps if step.optimizer_steps] if rehearsal is not None else []
    if len(norms) < 3 or any(norms) or (rehearsal is not None and _moves_without(rehearsal)):
        return []
    given = evidence.facts.num_gradients if evidence.facts is not None else None  # at the end of a backward pass
    is_cut, is_cleared = given == 0, bool(given) and not reading.facts(evidence).no_weight_moves
    cut_by = reading.facts(evidence).cut_by
    causes = {
        "gradients are cleared between backward and step": not is_cut,
        f"the path from the weights to the loss ends at {cut_by}"
        if cut_by
        else "no path leads from the loss to the weights": not is_cleared,
    }
    remedies = {
        "call optimizer.zero_grad(), loss.backward(), optimizer.step() once per step, in this order": not is_cut,
        _without_cut(cut_by)
        if cut_by
        else "no detach(), .item(), no_grad(), argmax or comparison between the model and the loss": not is_cleared,
    }
    return [
        Finding(
            rule="zero_gradient",
            severity="error",
            seen=f"the gradient is exactly zero at each of {len(norms)} rehearsed steps",
            measurements=(Measurement(name="largest gradient norm", value=0.0, threshold=0.0),),
            cause=", or ".join(cause for cause, is_open in causes.items() if is_open),
            remedy="; and ".join(remedy for remedy, is_open in remedies.items() if is_open),
            source="own; counted in the rehearsal",
        )
    ]


def _without_cut(cut_by: str) -> str:
    """What to do about the function at which the path to the loss ends."""
    back = "; calling requires_grad_(True) afterwards does not restore the gradient"
    if cut_by.partition(" ")[0] in _OFF:
        return f"remove {cut_by}, and compute the loss from the outputs with torch, not with numpy or scikit-learn{back}"
    return (
        f"compute the loss from the model's outputs themselves, not from {cut_by}, which has no derivative: "
        f"torch.nn.functional.cross_entropy or binary_cross_entropy_with_logits of the raw outputs for decisions{back}"
    )


def _moves_without(rehearsal: Rehearsal) -> bool:
    """Whether an optimizer moves weights that have no gradient at all, as one that computes its step by itself."""
    return len(rehearsal.without_gradient) == rehearsal.num_parameters > len(rehearsal.unmoved)


# Functions that only take a gradient away.
_OFF = ("detach()", ".data", "torch.no_grad()", "item()", "tolist()", "numpy()", "array()")

# Cause and remedy for weights that did not move, by what is known about them.
_UNMOVED = {
    "without_gradient": (
        "no gradient reaches them: forward does not use them, or their output is cut off",
        "let the loss that their optimizer steps for reach them: no detach(), .data, no_grad() or argmax on the way; and use "
        "them in forward, or remove them",
    ),
    "frozen": (
        "the loop sets their requires_grad to False, as for the turn of another model, and never back to True",
        "requires_grad_(True) of this model before its own loss is computed, in every step",
    ),
    "rounding": ("their steps are smaller than their number format resolves", ""),
    "zero_gradient": (
        "the loss gives them a gradient of exactly zero",
        "check that the loss uses what they make: a mask that chooses nothing, a factor of zero, or units that are all dead",
    ),
    "not_written": NOT_WRITTEN,
    "with_gradient": (
        "the optimizers that step do not hold them, or the steps are too small for their number format",
        "give model.parameters() to the optimizer, after the model is complete",
    ),
}


@rule(
    severities=("error", "warning", "hint"),
    verdict="dead",
    explains=("plateau", "cannot_overfit", "constant_as_good", *_SYMPTOMS),
)
def unmoved_parameter(evidence: Evidence) -> list[Finding]:
    """Weights are bitwise unchanged after the rehearsal.

    Fires: a trainable parameter other than a bias is unchanged after 3 optimizer steps or more at a learning rate above zero.
        An error where no parameter changed, a hint where some did and the steps of the others round to nothing or are zero. For
        adversarial models, a warning where everything that one optimizer holds moved by less than 1e-5 of its size.
    Why: bits are compared, nothing is estimated. Code `without_gradient`: no gradient reached it at any step, so the forward
        pass does not use it, or its output is cut off. Code `frozen`: likewise, and after the last step it does not require a
        gradient. Code `rounding`: it had a gradient and the optimizer holds it, so the steps are smaller than its number format
        resolves, as with a vanishing gradient. Code `zero_gradient`: its gradient was exactly zero at the first step. Code
        `step_function`: likewise, and the model rounds, or takes the sign of, a trained value. Code `not_written`: no parameter
        changed, though the gradient alone, times the learning rate, would have changed them. Code `with_gradient`: it had a
        gradient, and it is not known whether the optimizer holds it; or, for most parameters, less than a hundredth of each
        update is left when the next one begins, over several steps; or all parameters are as before the first step, and steps
        moved them; or, a warning, between steps most are moved back by the same share of the way to what they were before the
        first.
    What fools it: a part that is used only later, or for few batches (experts). A bias before normalisation has no effect and
        is left out; so are parameters that untrained_parameter reports, modules that forward does not call, and outputs that
        are not used in the loss.
    Fix: use the parameter in forward, or remove it; give model.parameters() to the optimizer once the model is complete; where
        steps round to nothing, a larger learning rate, or a start whose gradients do not vanish.
    Source: Amazon SageMaker Debugger, rule UnchangedTensor; own count.
    """
    rehearsal = _stepped(evidence)
    if overwritten := weights_put_back(evidence):
        return overwritten
    if rehearsal is None or sum(step.optimizer_steps for step in rehearsal.steps) < 3:
        return []
    if not any(step.lr for step in rehearsal.steps):
        return []
    settings = evidence.optimizer or (evidence.probe.optimizer if evidence.probe is not None else None)
    uncalled = ("spare", "unused", "not in the loss", "last_block")  # unreached_parameter reports it
    spare = {p.name for p in reading.facts(evidence).unreached if p.reason in uncalled}
    named = {*(settings.unmanaged if settings is not None else ()), *spare}
    nothing = len(rehearsal.unmoved) == rehearsal.num_parameters
    still = [name for name in rehearsal.unmoved if not name.endswith("bias") and (nothing or name not in named)]
    if not still:
        return []
    lost = [name for name in still if name in rehearsal.without_gradient]
    concerned = tuple(lost or still)
    is_held = settings is not None and not set(concerned) & named
    # Each model with its own loss has its own optimizer; one that hardly moves its parameters has too small a rate.
    crawls = any(0 < distance < CRAWLS for distance in rehearsal.distances)
    is_held |= crawls
    reason = "without_gradient" if lost else "rounding" if is_held else "with_gradient"
    if lost and set(lost) <= set(rehearsal.frozen):
        reason = "frozen"
    if reason == "rounding" and nothing and set(concerned) <= set(rehearsal.not_written):
        reason = "not_written"
    is_zero = set(concerned) <= set(reading.facts(evidence).zero_gradient)
    if reason == "rounding" and is_zero:
        reason = "zero_gradient"
    cause, remedy = _UNMOVED[reason]
    if (step := reading.facts(evidence).flat_function) and is_zero:
        reason, cause, remedy = "step_function", *flat_step(step)
    return [
        Finding(
            rule="unmoved_parameter",
            code=f"unmoved_parameter.{reason}",
            severity="error" if nothing else "hint" if reason in ("rounding", "zero_gradient") and not crawls else "warning",
            seen=f"{', '.join(concerned[:4])}{' and more' if len(concerned) > 4 else ''} did not change at all "
            f"in {len(rehearsal.steps)} steps",
            measurements=(
                Measurement(name="unchanged parameters", value=float(len(still)), threshold=0.0),
                Measurement(name="of them without a gradient", value=float(len(lost)), threshold=0.0),
                Measurement(name="parameters", value=float(rehearsal.num_parameters)),
            ),
            cause=cause,
            remedy=remedy or larger_steps(evidence),
            source="SageMaker Debugger; own, counted in the rehearsal",
            layers=concerned,
        )
    ]


@rule(severities=("warning", "hint"), explains=("wrong_mode", "overfit"))
def evaluation_mode(evidence: Evidence) -> list[Finding]:
    """The loop runs dropout or batch norm in evaluation mode while it trains.

    Fires: a module that behaves differently in training ran in evaluation mode with gradients on. A hint where the model itself
        is in training mode and only some of its modules are not. Code `idle`, a warning: these are batch norms whose running
        statistics are still mean 0 and variance 1, as in a network that is not pretrained.
    Why: model.eval() turns dropout off and freezes batch norm's statistics, initially mean 0 and variance 1. Such a network is
        not normalised, so exploding, vanishing or constant values are listed here.
    What fools it: fine-tuning with frozen batch norm, where this is intended.
    Fix: call model.train() at the start of every epoch, and after every evaluation.
    Source: PyTorch, `torch.nn.Module.eval`; own count.
    """
    rehearsal = evidence.rehearsal
    if rehearsal is None or not rehearsal.in_evaluation_mode:
        return []
    names = rehearsal.in_evaluation_mode
    if rehearsal.training and rehearsal.idle_norms:
        return [_idle_norms(evidence, rehearsal.idle_norms)]
    return [
        Finding(
            rule="evaluation_mode",
            severity="hint" if rehearsal.training else "warning",
            explains=OF_NO_NORM if _normalises(evidence, names) else (),
            seen=f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''} ran in evaluation mode in a training step",
            measurements=(Measurement(name="modules in evaluation mode", value=float(len(names)), threshold=0.0),),
            cause="model.eval() was not followed by model.train()",
            remedy="call model.train() at the start of every epoch, and after every model.eval()",
            source="own; counted in the rehearsal",
            layers=names,
        )
    ]


def _idle_norms(evidence: Evidence, names: tuple[str, ...]) -> Finding:
    """Batch norms that are kept in evaluation mode, and have never seen data."""
    return Finding(
        rule="evaluation_mode",
        code="evaluation_mode.idle",
        severity="warning",
        explains=(*OF_NO_NORM, "input_scale"),
        seen=f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}: batch norm is kept in evaluation mode while the "
        "model trains, with the statistics that it began with, mean 0 and variance 1: it normalises nothing",
        measurements=(Measurement(name="batch norms that normalise nothing", value=float(len(names)), threshold=0.0),),
        cause="batch norm was put into evaluation mode, as for a pretrained network, but its statistics are not pretrained",
        remedy="leave batch norm in training mode, model.train(), unless its running statistics were loaded with the weights",
        source="Ioffe and Szegedy, Batch Normalization, ICML 2015, algorithm 2; own: statistics compared",
        layers=names,
    )


def _normalises(evidence: Evidence, names: tuple[str, ...]) -> bool:
    """Whether one of these modules is a normalisation, as the probe or a sampled step saw it."""
    seen = [*(evidence.probe.layers if evidence.probe is not None else ()), *(s for e in evidence.samples for s in e.layers)]
    return any(layer.kind == "norm" and layer.name in names for layer in seen)


@rule(
    severities=("error", "warning", "hint"),
    verdict="stalled",
    explains=("plateau", "slow_start", "update_ratio", "untrained_parameter", "constant_as_good"),
)
def rate_dies(evidence: Evidence) -> list[Finding]:
    """The scheduler reduces the learning rate to almost nothing within the first steps.

    Fires: at the end of the rehearsal the rate is a thousandth of its largest value or less, and less than half of the planned
        steps are done; or the scheduler, stepped further without the loop, gets there before half of the plan and stays; a
        warning where it gets to a hundredth, and the rates of the plan add up to a twentieth of as many at the largest. A
        warning where the length of the run is not known; then also where the rate is a hundredth of its largest at the end of
        one pass over the loader, and the sum of the rates over the pass is at most a quarter of as many steps at the largest
        rate, and at most 100 such steps; a hint where the rehearsal has already learned, where the rate is 0 at the end and the
        sum is 45 steps or more, and for a scheduler passed with a loop that is not given, which is then not stepped. In a run
        of 40 steps or more, as a warning: the last third of the steps or more is at a thousandth of the largest rate or less,
        and the rate falls on; the sum of the rates is at most 45 steps at the largest rate; and the loss still fell before, or
        is where it began, or a scheduler other than `ReduceLROnPlateau` keeps it there for half of the run. Also in a run that
        is stopped after some steps (`run --check`), where the rate falls to a thousandth by equal factors. In a run of 100
        steps or more: the rate is a hundredth of its largest or less, and the sum of the rates is at most a twentieth of as
        many steps at the largest rate, or such a scheduler keeps it at 1e-7 of its largest or less for the second half, which
        moves no weight; a warning, or a hint where the run has learned and the rate still moves weights, unless the loss is no
        better than the best constant answer's cost. Code `factor`: the function of a `LambdaLR`, which changes, returns no more
        than 0.02 at any number up to 1,000,000, is not largest there, and the base rate is 0.1 or less; its largest value is
        the base rate to 1 %, or the largest rate is 2e-5 or less with Adam, or rehearsed steps at it could be 3,000 times
        longer. A hint where the loss has fallen or was low at the start; silent where rehearsed steps at that rate could not be
        30 times longer. Code `ends`: a `OneCycleLR` that the body steps has fewer steps than are planned. In a script that
        `run` watches, of a `ReduceLROnPlateau` that has reduced the rate twice or more, with a training loss that was lower at
        each reduction than at the one before, down to 0.02 of the rate: code `mode`, where it has mode "min" and is given an
        accuracy, or "max" and is given a loss or an error rate, and that had improved at the first reduction, and at half of
        these or more. A loss goes with the training loss by a constant factor, or falls with it from within a factor of 2. A
        share of one whole number of examples that changes by a tenth, from its worst value, as the training loss falls is an
        accuracy or an error rate. Code `metric`, where it is given one number at each call (a hint from 0 to 1 and from 10 to
        100, where an accuracy may not change for a while), or the number of the call.
    Why: the rate is read at each step. What is left of it moves weights a thousand times slower than intended. A `LambdaLR`
        multiplies the base rate by what its function returns; one that returns rates squares them.
    What fools it: a cyclic schedule at its lowest point; a run of less than 100 steps, over a part of the loader, whose length
        is not given (`planned_steps`). Of `factor`: fine-tuning with a factor that is small on purpose.
    Fix: step the scheduler once per epoch if its numbers are epochs, or give them in steps (`step_size`, `milestones`); compare
        its total number of steps with the run's. For `factor`: lr=1.0 as the base rate, or a function that returns 1 where the
        rate is to be the base rate. For `mode`: the other mode.
    Source: PyTorch, `torch.optim.lr_scheduler`; own threshold.
    """
    if (found := rate_as_factor(evidence)) is not None:
        return [found]
    if turned := turned_plateau(evidence) or ends(evidence):
        return turned
    if (spent := spent_in_the_run(evidence)) is not None:
        return spent
    return spent_in_rehearsal(_stepped(evidence), evidence)
