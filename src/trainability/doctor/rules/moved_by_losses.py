"""What the losses of several optimizers move, and what none of them goes by."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.opponents import IdleLoss
from trainability.doctor.rules.rule import rule

_MOST_NAMED = 4


@rule(severities=("warning",), explains=("saturation",))
def condition_not_judged(evidence: Evidence) -> list[Finding]:
    """A generator is given a class, and no loss depends on whether it makes that class.

    Fires: of adversarial models, one changes its rows when the classes that it is given are permuted (an integer for each row,
        or one-hot), but every loss of the body stays the same, to 1e-5, when the rows that it made are permuted. Tested with
        other weights than the initial ones, so that a layer that starts at zero counts. Code `unmoved`: some loss does change,
        but its gradient to the model that makes the rows is cleared in two runs of the body and more, and never stepped.
    Why: a discriminator that does not know the class accepts a row of another class than the one asked for. The generator then
        makes rows of any class, and its class input means nothing. Rows are permuted and losses compared, so this is certain.
    What fools it: classes that only style the output, on purpose.
    Fix: give the discriminator the class together with the row (concatenated one-hot, or a projection), or let it predict the
        class.
    Source: Mirza and Osindero, Conditional Generative Adversarial Nets, 2014, section 3.2; Odena et al., ICML 2017.
    """
    found = reading.facts(evidence).opponents.not_judged
    if not found:
        return []
    critic, generator, *readers = found
    if readers:
        return [_reader_alone(generator, readers[0])]
    return [
        Finding(
            rule="condition_not_judged",
            severity="warning",
            seen=f"{generator} is given a class for each example, and no loss changes when its outputs are permuted between "
            "examples",
            measurements=(Measurement(name="change of the losses", value=0.0, threshold=0.0),),
            cause=f"{critic} is not given the class, or does not use it",
            remedy=f"give {critic} the class together with the row: torch.cat([row, torch.nn.functional.one_hot(label, "
            "classes)], 1), with the true class for real rows and the requested class for generated ones; or add a "
            "classification loss on its outputs",
            source="Conditional Generative Adversarial Nets, 2014, section 3.2; own: rows permuted",
        )
    ]


def _reader_alone(generator: str, reader: str) -> Finding:
    """A part learns to read the class in what a generator makes, and the generator does not learn to show it."""
    return Finding(
        rule="condition_not_judged",
        code="condition_not_judged.unmoved",
        severity="warning",
        seen=f"{generator} is given a class for each example; the only loss that goes by which one trains {reader}, and its "
        f"gradient to {generator} is cleared unused",
        measurements=(Measurement(name=f"losses by the class that move {generator}", value=0.0, threshold=1.0),),
        cause=f"the optimizer of that loss holds {reader}, and not {generator}",
        remedy=f"give the optimizer of that loss the parameters of {generator} as well as those of {reader}, or add the loss "
        f"to that of {generator}",
        source="Chen et al., InfoGAN, NeurIPS 2016, section 5; own: rows permuted, gradients followed to the step",
    )


@rule(
    severities=("error", "warning"),
    explains=("plateau", "slow_start", "zero_gradient", "unreached_parameter", "untrained_parameter", "saturation", "blind"),
)
def idle_loss(evidence: Evidence) -> list[Finding]:
    """One of several losses moves no weights: its gradients are cleared unused.

    Fires: of a body with several backward passes, of which up to six runs are made on copies, an optimizer steps behind a
        backward pass, and none of the weights that this gave a gradient ever moves before the gradient is cleared. An error.
        Code `detached`, an error: likewise where the loss is computed from what these weights made. Code `exchanged`, an error:
        likewise where the optimizer of the weights that get the gradient steps behind another loss, whose gradient for the
        weights that step here is cleared in turn. Code `term`, a warning:
        likewise all weights that one term of the loss reaches, where others move for other terms. Code `cleared`, an error: the
        gradients of a loss that reaches nothing but weights are cleared between its backward pass and the next loss's, for
        which an optimizer that holds these weights steps; one optimizer is enough. Code `overwritten`, a warning: one line of
        the program calls a loss function three times or more in a step, its last result takes part in the loss, no other does,
        and no gradient was taken of another.
    Why: each weight is followed from the backward pass that gives it a gradient to the step, or to zero_grad(). What is cleared
        unused in two runs or more, and moves nothing in any, has no effect on training.
    What fools it: gradients that the loop projects, averages or steps with by hand (it then is silent); a loss whose gradient
        is only printed.
    Fix: give the optimizer that steps for this loss the weights that are to move for it; add up the losses of a loop; for a
        term, remove the detach(), .data or no_grad() between these weights and the term.
    Source: PyTorch, torch.optim; Goodfellow et al., Generative Adversarial Nets, 2014, algorithm 1; own: gradients followed.
    """
    if (dropped := reading.facts(evidence).readings.overwritten_losses) is not None:
        return [_overwritten(*dropped)]
    found = reading.facts(evidence).opponents.idle_loss
    if found is None:
        return []
    if found.before_step:
        return [_cleared(found)]
    if found.exchanged is not None:
        return [_exchanged(found)]
    if found.is_cut:
        return [_detached(found)]
    return [_of_a_term(found) if found.term is not None else _of_a_loss(found)]


def _overwritten(function: str, file: str, line: int, count: int) -> Finding:
    """Losses of a loop that are assigned, and not added up."""
    return Finding(
        rule="idle_loss",
        code="idle_loss.overwritten",
        severity="warning",
        seen=f"{file}, line {line}, computes {function} {count} times in a step, and only the last of them takes part in the "
        "loss",
        measurements=(Measurement(name="losses that do not count", value=count - 1.0, threshold=0.0),),
        cause="the loss is assigned in each pass of a loop, and not added up: all others are overwritten",
        remedy=f"start at 0 before the loop, and add: loss = loss + {function}(...); or append to a list, and take "
        "torch.stack(losses).mean()",
        source="own; calls compared with the graph of the loss",
        explains=("masked_targets", "ignored_end"),
    )


def _of_a_loss(found: IdleLoss) -> Finding:
    reached, held, first = _listed(found.reached), _listed(found.held), found.reached[0]
    return Finding(
        rule="idle_loss",
        severity="error",
        seen=f"loss {found.place} of {found.num_losses} in a step gives {reached} gradients; the optimizer that steps then "
        f"holds {held}, and the gradients are cleared unused",
        measurements=(Measurement(name="networks that this loss updates", value=0.0, threshold=1.0),),
        cause=f"the loss is not computed from {held}: its optimizer was given other parameters than the loss is to move, or "
        f"the loss is computed from something else than what {held} makes",
        remedy=f"give the optimizer that steps after loss {found.place} the parameters of {first}, which that loss is to move "
        f"(not those of {_listed(found.reached[1:])}, if another loss trains them)"
        if len(found.reached) > 1
        else f"compute loss {found.place} from what {held} makes, {first}({held}(...)), without detach(); or, if it is to move "
        f"{first}, give its optimizer the parameters of {first}",
        source="PyTorch, torch.optim; own: gradients followed from backward() to step()",
        layers=found.reached,
    )


def _detached(found: IdleLoss) -> Finding:
    reached, held = _listed(found.reached), _listed(found.held)
    return Finding(
        rule="idle_loss",
        code="idle_loss.detached",
        severity="error",
        seen=f"loss {found.place} of {found.num_losses} in a step is computed from what {held} makes, and its optimizer "
        f"holds {held}, but the gradient reaches {reached} alone, where it is cleared unused",
        measurements=(Measurement(name="networks that this loss updates", value=0.0, threshold=1.0),),
        cause=f"detach(), .data or no_grad() stands between {held} and {reached} in this loss",
        remedy=f"remove the detach(), .data or no_grad() between {held} and {reached} in loss {found.place}: pass {reached} "
        f"what {held} makes with its graph (detach() belongs into the loss that trains {reached})",
        source="Goodfellow et al., Generative Adversarial Nets, 2014, algorithm 1; own: gradients followed",
        layers=found.held,
    )


def _exchanged(found: IdleLoss) -> Finding:
    reached, held = _listed(found.reached), _listed(found.held)
    return Finding(
        rule="idle_loss",
        code="idle_loss.exchanged",
        severity="error",
        seen=f"behind loss {found.place} of {found.num_losses} in a step, which gives {reached} gradients, the optimizer of "
        f"{held} steps; behind loss {found.exchanged}, which gives {held} gradients, that of {reached}",
        measurements=(Measurement(name="networks that this loss updates", value=0.0, threshold=1.0),),
        cause="the two optimizers have changed places: each steps for the other's loss",
        remedy=f"step the optimizer of {reached} after loss {found.place}, and that of {held} after loss {found.exchanged}; "
        "call zero_grad() of the same optimizer before each",
        source="Goodfellow et al., Generative Adversarial Nets, 2014, algorithm 1; own: gradients followed",
        layers=found.held,
        explains=("unmoved_parameter",),
    )


def _cleared(found: IdleLoss) -> Finding:
    return Finding(
        rule="idle_loss",
        code="idle_loss.cleared",
        severity="error",
        seen=f"loss {found.place} of {found.num_losses} in a step gives {_listed(found.reached)} gradients, which are "
        f"cleared before the backward pass of loss {found.place + 1}; the step then uses those of loss {found.place + 1} alone",
        measurements=(Measurement(name="optimizer steps that use this loss's gradients", value=0.0, threshold=1.0),),
        cause=f"zero_grad() is called between the backward passes of losses {found.place} and {found.place + 1}",
        remedy=f"call zero_grad() once, before the backward pass of loss {found.place}, so that the gradients of both losses "
        "add up; or step after each",
        source="PyTorch, torch.optim.Optimizer.zero_grad; own: gradients followed from backward() to step()",
        layers=found.reached,
    )


def _of_a_term(found: IdleLoss) -> Finding:
    reached, held = _listed(found.reached), _listed(found.held)
    return Finding(
        rule="idle_loss",
        code="idle_loss.term",
        severity="warning",
        seen=f"loss {found.place} of {found.num_losses} in a step moves {held}; a term of it reaches {reached} alone, "
        "whose gradients of this loss are cleared unused: the term has no effect",
        measurements=(Measurement(name="networks that this term updates", value=0.0, threshold=1.0),),
        cause=f"what the term is computed from is detached from {held}, or the optimizer of this loss lacks {reached}",
        remedy=f"remove the detach(), .data or no_grad() between {held} and {reached} in loss {found.place}",
        source="Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016; own: gradients followed",
        layers=found.reached,
    )


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{shown} and more" if len(names) > _MOST_NAMED else shown or "nothing"
