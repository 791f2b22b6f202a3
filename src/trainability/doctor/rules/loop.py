"""The training loop: its modes, optimizer and schedule, and whether Monitor sees it."""

import math
from collections import Counter

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.closure import adds_up
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.undivided import undivided

# Symptoms of a normalisation that does not normalise.
OF_NO_NORM = (
    "exploding_gradient",
    "not_finite",
    "oscillation",
    "loss_cliff",
    "clipping",
    "update_ratio",
    "dead_units",
    "vanishing_gradient",
    "plateau",
    "prediction_collapse",
    "constant_as_good",
    "loss_at_start",
)


@rule(severities=("error",), verdict="cannot tell")
def blind(evidence: Evidence) -> list[Finding]:
    """Monitor saw no layer run at a sampled step, so its silence means nothing.

    Fires: one sampled step or more at which neither the model nor any module with weights was called. An error with code
        `uncalled`: the optimizer stepped, and the loop never called monitor.after_backward, so that no step was watched.
    Why: rules on layers stay silent without measurements, and silence looks like a healthy run.
    What fools it: nothing known; at each sampled step, hooks are either called or not.
    Fix: pass the module that the loop calls to Monitor, and call it as model(inputs); not model.forward(images), and not a
        function compiled from it. Code `uncalled`: call monitor.after_backward(loss) between loss.backward() and
        optimizer.step().
    Source: `torch.nn.Module.register_forward_hook`: hooks fire in `__call__`, and not in code compiled before they were added.
    """
    if evidence.unheard_steps:
        return [_uncalled(evidence.unheard_steps)]
    samples = [s for s in evidence.samples if s.blind]
    if not samples:
        return []
    return [
        Finding(
            rule="blind",
            severity="error",
            seen=f"Monitor saw no layer at {len(samples)} of {len(evidence.samples)} sampled steps",
            measurements=(Measurement(name="blind samples", value=float(len(samples)), threshold=0.0),),
            cause="the loop runs another module than the watched one, or a function compiled from it",
            remedy="pass the module that the loop calls to Monitor, and call it as model(inputs)",
            source="own; hooks added after compilation never fire",
        )
    ]


def _uncalled(num_steps: int) -> Finding:
    return Finding(
        rule="blind",
        code="blind.uncalled",
        severity="error",
        seen=f"Monitor saw none of the optimizer's {num_steps:,} steps, as monitor.after_backward(loss) was never called",
        measurements=(Measurement(name="steps that were not watched", value=float(num_steps), threshold=0.0),),
        cause="the loop never calls monitor.after_backward(loss)",
        remedy="call monitor.after_backward(loss) between loss.backward() and optimizer.step()",
        source="own; the losses that the rules judge are those that Monitor is given",
    )


@rule(
    severities=("error",),
    verdict="unstable",
    explains=("exploding_gradient", "not_finite", "oscillation", "loss_cliff", "clipping", "update_ratio", "dead_units"),
)
def missing_zero_grad(evidence: Evidence) -> list[Finding]:
    """Gradients of earlier steps are still there when backward begins.

    Fires: at every sampled step after the first, some parameter has a gradient other than zero before the first backward pass
        of the step. Code `closure`: more than half of a closure's evaluations after the first of a step, three at least, add to
        the gradients that the last one left, at other weights, and clear nothing before their last backward pass; of another
        optimizer than LBFGS, only where the loss rises, and the weights moved down those gradients in between.
    Why: `backward` adds to `.grad`. Without zero_grad, each step follows the sum of all gradients so far, whose norm grows with
        the number of steps. One clean sampled step is enough to rule this out.
    What fools it: gradients that are kept on purpose (a hand-written momentum). Accumulation is not mistaken for it, because
        only the first micro-batch of a step is looked at.
    Fix: call optimizer.zero_grad() once per step; of models against each other, right before the own backward pass. For
        `closure`: inside of the closure, before loss.backward().
    Source: PyTorch, `torch.optim.Optimizer.zero_grad`; own check.
    """
    if found := adds_up(reading.facts(evidence).added_in_closure, evidence, "missing_zero_grad"):
        return found
    is_opposed = reading.facts(evidence).opposed
    later = [s for s in evidence.samples if s.step > 1 and s.gradient_norm_before_backward is not None]
    stale = [s for s in later if s.gradient_norm_before_backward != 0.0]  # NaN is left from an earlier step, too
    norms = [s.gradient_norm_before_backward or 0.0 for s in stale]
    # Before the first step there is no gradient to clear: one that is seen there comes from the same pass.
    unsure = any(s.step == 1 and s.gradient_norm_before_backward for s in evidence.samples)
    if not stale or len(stale) < len(later) or unsure:
        return []
    return [
        Finding(
            rule="missing_zero_grad",
            severity="error",
            seen="gradients of earlier steps are still there when backward begins, so they add up",
            measurements=(
                Measurement(
                    name="gradient before backward", value=max(filter(math.isfinite, norms), default=norms[-1]), threshold=0.0
                ),
                Measurement(name="sampled steps with old gradients", value=float(len(stale)), threshold=0.0),
            ),
            cause="a loss of the other model flows into this one, whose gradients are not cleared before its own backward pass"
            if is_opposed
            else "optimizer.zero_grad() is missing, or accumulation never ends",
            remedy="call zero_grad() of this optimizer right before its own loss.backward(), or detach what the other model's "
            "loss is given of this one's"
            if is_opposed
            else "call optimizer.zero_grad() once per step",
            source="own; norms then grow linearly",
        )
    ]


@rule(severities=("warning",), explains=("overfit",))
def wrong_mode(evidence: Evidence) -> list[Finding]:
    """The model is trained in eval mode, or evaluated in train mode.

    Fires: at a sampled step, or in a recorded evaluation of the validation split (training accuracy is often measured during
        training, in train mode). In a watched script, in every pass without gradients over a `DataLoader` of other data than
        those that are trained on, all layers that ask for their mode (batch norm, dropout) run in train mode. For training,
        silent where the trained part has no batch norm or dropout (parts without trainable parameters stay in eval mode
        anyway), and where a part with parameters was set to train mode separately. Codes: `training`, `evaluation`. Code
        `teacher`: in a check, a network that no optimizer trains answers without a gradient, the loss goes by its answers, no
        trained part is given them, and its dropout or batch norm is in train mode (of a part of the model, set so by the step),
        which changes the answers by a hundredth of their spread or more; not where its weights have the shapes of trained ones,
        as an average's have.
    Why: eval mode turns dropout off and freezes batch norm's statistics; train mode in an evaluation drops units, and makes the
        output for one image depend on its batch. If half of the normalisations put out less than half or more than twice their
        scale at the first step, nothing is normalised, and the resulting exploding, vanishing or constant values are listed
        here.
    What fools it: fine-tuning all weights in eval mode on purpose; Monte-Carlo dropout, which evaluates in train mode (in a
        script, not where dropout alone is given each example several times); statistics of batch norm that are measured again
        on other data; a teacher whose dropout is meant as noise; and image-to-image GANs that are tested in train mode on
        purpose.
    Fix: model.train() at the start of every epoch, model.eval() before every evaluation.
    Source: PyTorch, `torch.nn.Module.eval`; own check.
    """
    seen = [s for s in evidence.samples if s.training is not None]
    off = [s for s in seen if s.training is False]
    on = len([e for e in evidence.evaluations if e.model_training and e.split != "train"])
    passes, of = reading.facts(evidence).evaluated_in_training or (0, 0)
    if passes == of:
        on += passes
    if not off and not on:
        found = reading.facts(evidence).readings.teacher_mode
        return [_teacher(*found)] if found is not None else []
    training = bool(off)
    return [
        Finding(
            rule="wrong_mode",
            code="wrong_mode.training" if training else "wrong_mode.evaluation",
            severity="warning",
            explains=OF_NO_NORM if training and _does_not_normalise(evidence) else (),
            seen="the model is trained in eval mode: dropout is off, batch norm is frozen"
            if training
            else "the model is evaluated in train mode, in which dropout is on and batch norm uses the batch's statistics",
            measurements=(
                Measurement(name="sampled steps in eval mode", value=float(len(off)), threshold=0.0),
                Measurement(name="evaluations in train mode", value=float(on), threshold=0.0),
            ),
            cause="model.eval() was not followed by model.train()" if training else "model.eval() is missing",
            remedy="model.train() at the start of every epoch, and after every evaluation"
            if training
            else "model.eval() before evaluating",
            source="own",
        )
    ]


def _teacher(name: str, layers: int, change: float) -> Finding:
    """A frozen network that makes targets in train mode."""
    return Finding(
        rule="wrong_mode",
        code="wrong_mode.teacher",
        severity="warning",
        seen=f"{name}, which makes targets and is not trained, runs in train mode: {layers} of its layers drop units or "
        f"normalise by the batch, which changes its answers by {change:.2g} of their spread",
        measurements=(
            Measurement(name="change of its answers by train mode", value=change, threshold=0.01),
            Measurement(name="layers in train mode", value=float(layers), threshold=0.0),
        ),
        cause="teacher.eval() is missing, or model.train() sets a teacher that is a part of the model to train mode again: "
        "no_grad and requires_grad_(False) do not stop dropout, nor running statistics that move",
        remedy="teacher.eval() after every model.train(), or a train() of the model that leaves the teacher in eval mode",
        source="PyTorch, `torch.nn.Module.eval`; own: the network called again in both modes",
    )


def _does_not_normalise(evidence: Evidence) -> bool:
    """Whether half of the normalisations put out another size than their scale at the first step of the run."""
    first = evidence.samples[0] if evidence.samples and evidence.samples[0].step == 1 else None
    norms = [s for s in first.layers if s.kind == "norm" and s.weight_rms and s.activation_rms] if first is not None else []
    off = [s for s in norms if not 0.5 <= (s.activation_rms or 0.0) / (s.weight_rms or 1.0) <= 2.0]
    return bool(norms) and len(off) >= len(norms) / 2


@rule(
    severities=("error", "hint"),
    verdict="dead",
    explains=("plateau", "update_ratio", "unmoved_parameter", "untrained_parameter", "cannot_overfit", "slow_start"),
)
def zero_rate(evidence: Evidence) -> list[Finding]:
    """The learning rate is zero.

    Fires: in all of ten or more watched steps, or at all of three or more rehearsed steps of the optimizer. A hint where this
        holds for some of the optimizer's parameter groups (code `group`).
    Why: the step is the learning rate times a finite number, so no weight moves. The rate is read from the optimizer, so this
        is certain.
    What fools it: a warm-up that keeps the rate at zero longer than was watched, and a group that is frozen this way on
        purpose.
    Fix: give the optimizer its learning rate; check what sets group["lr"], for example a scheduler whose factor is 0, or an
        integer division.
    Source: own; PyTorch, `torch.optim.lr_scheduler`.
    """
    rates = [s.lr for s in evidence.steps if s.lr is not None]
    rehearsal = evidence.rehearsal
    tried = [s.lr for s in rehearsal.steps if s.optimizer_steps and s.lr is not None] if rehearsal is not None else []
    everywhere = (len(rates) >= 10 and not any(rates)) or (not rates and len(tried) >= 3 and not any(tried))
    some = rehearsal.zero_rate if rehearsal is not None and len(tried) >= 3 and not everywhere else ()
    if not everywhere and not some:
        return []
    number = len(rates) or len(tried)
    return [
        Finding(
            rule="zero_rate",
            code="zero_rate" if everywhere else "zero_rate.group",
            severity="error" if everywhere else "hint",
            seen=f"the learning rate is 0 at all of {number} steps" + ("" if everywhere else f" for {', '.join(some[:4])}"),
            measurements=(Measurement(name="steps at a rate of 0", value=float(number), threshold=0.0),),
            cause="the optimizer was given 0, or a scheduler sets it: an integer division, or a warm-up that stays at 0",
            remedy='give the optimizer its learning rate; where a scheduler sets group["lr"], divide with / instead of //, '
            "and start a warm-up above 0: min(1.0, (step + 1) / warmup_steps)",
            source="own",
            layers=some,
        )
    ]


@rule(severities=("error",))
def lr_schedule(evidence: Evidence) -> list[Finding]:
    """The learning rate differs from the schedule's.

    Fires: at one step or more, the optimizer's rate differs from the expected one by more than 0.1 %. Only where the loop
        reports the expected rate.
    Why: both numbers are known exactly, so 0.1 % only covers rounding. Usual after a resume that restored the optimizer but not
        the scheduler.
    What fools it: a rate that is changed by hand during the run.
    Fix: save and load the scheduler's state_dict with the optimizer's.
    Source: own; the log's resume forgot the schedule.
    """
    off = [
        s
        for s in evidence.steps
        if s.lr is not None and s.expected_lr is not None and not math.isclose(s.lr, s.expected_lr, rel_tol=1e-3)
    ]
    if not off:
        return []
    first = off[0]
    return [
        Finding(
            rule="lr_schedule",
            severity="error",
            seen=f"from step {first.step} the learning rate is {first.lr:.3g}; the schedule gives {first.expected_lr:.3g}",
            measurements=(
                Measurement(name="learning rate", value=first.lr or 0.0, threshold=first.expected_lr),
                Measurement(name="steps off schedule", value=float(len(off)), unit="steps", threshold=0.0),
            ),
            cause="the schedule's state was not restored",
            remedy="save and load the scheduler's state_dict with the optimizer's",
            source="own; the log's resume",
        )
    ]


@rule(severities=("warning", "hint"))
def accumulation(evidence: Evidence) -> list[Finding]:
    """Some steps accumulate more micro-batches than the others.

    Fires: most steps have the same number of micro-batches, two or more, and at most a quarter of the steps have more. Fewer is
        normal at the end of an epoch. Silent where most steps have one: a second backward pass at some steps is then a separate
        term (adversarial examples, a penalty every few steps), and micro-batches are not counted. Code `undivided`: at each of
        the first steps with finite gradients, two at least, plain SGD without clipping adds the gradients of two backward
        passes or more, of losses that are means and are not divided by that number, no more than the gradients are; the first
        loss is at least seven tenths of what chance costs, where that is known; and the run has not learned, its loss has been
        twice the first or infinite, and is now above nine tenths of it; before a run, the rehearsal is unstable and ends so, or
        above nine tenths of the first loss and of what chance costs, and the loss falls along the first followed update at a
        length that is as many times smaller as there are passes. It is a hint before a run where neither of the first two
        followed updates, with what momentum adds, goes far beyond the length at which the loss rises, and the first five steps
        do not take the loss to a thousand times the first: with batches in another order the steps may be borne.
    Why: the gradients of such a step sum more terms under the same divisor, so the step is too long. The counts are exact.
    What fools it: a number of micro-batches that is raised during the run on purpose, and has not been raised for long; for
        `undivided`, terms of one kind that are meant to be added, each on a pass of its own, at a rate that is too large.
    Fix: step when (i + 1) % k == 0, with i counted from 0 in every epoch. For `undivided`: (loss / k).backward(), or a k-th of
        the learning rate.
    Source: own; the log's accumulation took 3 micro-batches where 2 were meant.
    """
    if found := undivided(evidence):
        return found
    counts = Counter(s.micro_batches for s in evidence.steps)
    if len(counts) < 2:
        return []
    usual = counts.most_common(1)[0][0]
    odd = [s for s in evidence.steps if s.micro_batches > usual]
    if usual < 2 or not 0 < len(odd) <= len(evidence.steps) / 4:
        return []
    return [
        Finding(
            rule="accumulation",
            severity="warning",
            seen=f"step {odd[0].step} took {odd[0].micro_batches} micro-batches, most take {usual}",
            measurements=(
                Measurement(name="micro-batches", value=float(odd[0].micro_batches), threshold=float(usual)),
                Measurement(name="steps with more micro-batches", value=float(len(odd)), unit="steps", threshold=0.0),
            ),
            cause="the accumulation counter is off by one at the start of an epoch",
            remedy=f"step when (i + 1) % {usual} == 0, with i counted from 0 in every epoch",
            source="own; the log's accumulation took 3 for 2",
        )
    ]


@rule(severities=("error",), verdict="unstable", explains=("not_finite", "underflow", "plateau", "exploding_gradient"))
def eps_underflow(evidence: Evidence) -> list[Finding]:
    """The optimizer's eps is zero in the number format of the parameters.

    Fires: all trainable parameters are float16, and eps is positive and below 3e-8, half of the smallest float16.
    Why: Adam divides by sqrt(v) + eps in the parameters' own format. Squares of gradients below 2.4e-4 are zero there, and so
        is an eps of 1e-8: zero over zero is NaN at the first step.
    What fools it: an optimizer that keeps its own state in float32.
    Fix: keep parameters in float32 and use torch.autocast with GradScaler; or eps=1e-4.
    Source: IEEE 754 binary16; Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.1.
    """
    facts = reading.facts(evidence)
    if facts.low_precision != "float16" or facts.eps is None or not 0 < facts.eps < 2.0**-25:
        return []
    return [
        Finding(
            rule="eps_underflow",
            severity="error",
            seen=f"eps = {facts.eps:g} rounds to zero in {facts.low_precision}, the format of the parameters",
            measurements=(Measurement(name="eps", value=facts.eps, threshold=2.0**-25),),
            cause="parameters are in half precision, and the optimizer's eps is meant for float32",
            remedy="parameters in float32 with torch.autocast and GradScaler; or eps=1e-4",
            source="IEEE 754 binary16; Mixed Precision Training, ICLR 2018",
        )
    ]
