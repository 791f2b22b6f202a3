"""What training cannot reach: derivatives that are zero, draws without a gradient, weights that are drawn anew."""

from trainability.doctor import reading
from trainability.doctor.best_constant import standing, still_falls
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.graph_facts import MOST_ASKED
from trainability.doctor.outlook import judge_rehearsal
from trainability.doctor.outlook_limits import DEAD, STALLED
from trainability.doctor.rate_choice import settings_of
from trainability.doctor.rules.rule import rule

_FEWEST_IDLE, _FEWEST_WATCHED = 3, 20  # steps without any gradient, rehearsed ones and of a run, which may warm up otherwise
FEW_FIXED = 10  # trainable numbers, of which one may stay as it was drawn


@rule(severities=("warning",), explains=("plateau", "slow_start", "loss_cliff", "constant_as_good"))
def flat_derivative(evidence: Evidence) -> list[Finding]:
    """A derivative in the loss is exactly zero whatever the weights, or a number to them.

    Fires: the loss differentiates by itself (`torch.autograd.grad(..., create_graph=True)`), what is differentiated is not
        zero, and its derivative is zero for every example. Code `without_graph`: it differentiates without create_graph=True,
        and with other numbers in the derivative's place the loss is another and every gradient bit for bit the same.
    Why: a net of ReLU is piecewise linear: its second derivative is zero wherever there is one. A differential equation, or a
        penalty on curvature, then asks for something that no weights can give. Without a graph of its own a derivative is a
        number: a penalty on the slope, as of WGAN-GP, is added to the loss and bounds nothing; and of a differential equation
        only the outputs are moved towards what their derivatives happen to be.
    What fools it: a penalty that is zero at the start by the weights alone; a slope that is logged with the loss on purpose; a
        value that learns from its own slope as a target (continuous-time TD) where the target is not detached by a call.
    Fix: create_graph=True in the call of torch.autograd.grad; smooth activations: torch.nn.Tanh(), torch.nn.SiLU(),
        torch.nn.Softplus(), or sines.
    Source: Raissi, Perdikaris and Karniadakis, Physics-informed neural networks, 2019, section 3 (tanh); read off the pass.
    """
    facts = reading.facts(evidence)
    if facts.constant_term:
        return [_without_graph()]
    if facts.graph is not None and facts.graph.constant_slope:
        return [_residual()]
    if not facts.flat_derivative:
        return []
    return [
        Finding(
            rule="flat_derivative",
            severity="warning",
            seen="the loss asks for a derivative that is exactly zero for every example, of something that is not",
            measurements=(Measurement(name="largest derivative", value=0.0, threshold=0.0),),
            cause="piecewise linear activations (ReLU, LeakyReLU) have no second derivative",
            remedy="torch.nn.Tanh() or torch.nn.SiLU() in place of every ReLU of the model that is differentiated twice",
            source="Physics-informed neural networks, 2019; own check",
        )
    ]


UNREACHED = {  # by the reason, what is seen and the cause
    "detached": (
        "the loss changes with it, and no gradient comes back",
        "detach(), .data, no_grad(), argmax or a comparison in between",
    ),
    "dropped": ("its module runs, and nothing uses the result", "the result is not used in forward"),
    "not in the loss": ("the model returns its result, and the loss does not use it", "an output is left out of the loss"),
    "turn": ("no loss of the first batch reaches this model", "detach() before the loss, or a later batch trains it"),
    "unused": ("forward does not use it", "forward does not call its module"),
    "spare": ("nothing uses it", "a loss or a layer that it was made for is not there"),
    "unknown": ("no gradient reaches it", "not known: the loss does not repeat"),
}


def _without_graph() -> Finding:
    """A penalty on a slope that no weight feels."""
    return Finding(
        rule="flat_derivative",
        code="flat_derivative.without_graph",
        severity="warning",
        seen="the loss takes a derivative without create_graph=True: the loss changes with it, and no gradient does",
        measurements=(Measurement(name="change of the gradients with the derivative", value=0.0, threshold=0.0),),
        cause="a penalty on a slope that is not differentiated again is a number beside the loss",
        remedy="torch.autograd.grad(..., create_graph=True)",
        source="Gulrajani et al., Improved Training of Wasserstein GANs, 2017, section 4; other numbers in its place",
    )


def _residual() -> Finding:
    """A differential equation whose derivatives are numbers."""
    return Finding(
        rule="flat_derivative",
        code="flat_derivative.residual",
        severity="warning",
        seen="the loss takes a derivative of the model's outputs without create_graph=True, and sets it against outputs of the "
        "same weights at the same input: these have a gradient there, and the derivative has none",
        measurements=(Measurement(name="gradient of the weights by the derivative", value=0.0, threshold=0.0),),
        cause="the derivative in the residual of a differential equation is a constant to the weights",
        remedy="torch.autograd.grad(..., create_graph=True) for each derivative that the loss uses; retain_graph=True alone "
        "keeps the old graph, and makes none of the derivative",
        source="Raissi, Perdikaris and Karniadakis, Physics-informed neural networks, 2019; read off the graph of the loss",
    )


@rule(severities=("warning",), explains=("saturation",))
def condition_not_judged(evidence: Evidence) -> list[Finding]:
    """A generator is told which class to make, and no loss goes by that.

    Fires: of models that play against each other, the one makes other rows where the classes that it is told change places (an
        integer for each row, or one-hot), and every loss of the body stays the same, to 1e-5, where the rows that it made
        change places: with other weights than those at the start, so that a layer that starts at zero counts.
    Why: a discriminator that is not told the class finds a row true that is of another class than the one asked for. The
        generator then makes rows of any class, and what it is told means nothing. Rows are exchanged, so this is certain.
    What fools it: classes that only style what is made, on purpose.
    Fix: give the discriminator the class beside the row (concatenated one-hot, or a projection), or let it name the class.
    Source: Mirza and Osindero, Conditional Generative Adversarial Nets, 2014, section 3.2; Odena et al., ICML 2017.
    """
    found = reading.facts(evidence).not_judged
    if not found:
        return []
    judge, maker = found
    return [
        Finding(
            rule="condition_not_judged",
            severity="warning",
            seen=f"{maker} is told a class for each example, and no loss changes when its outputs are exchanged between "
            "examples",
            measurements=(Measurement(name="change of the losses", value=0.0, threshold=0.0),),
            cause=f"{judge} is not told the class, or does not use it",
            remedy=f"give {judge} the class beside the row: torch.cat([row, torch.nn.functional.one_hot(name, classes)], 1), "
            "for true rows their own and for made ones that which was asked for; or a loss of classes on its answers",
            source="Conditional Generative Adversarial Nets, 2014, section 3.2; rows exchanged",
        )
    ]


@rule(
    severities=("error",),
    verdict="dead",
    explains=(
        *("exploding_gradient", "not_finite", "oscillation", "loss_cliff", "plateau", "update_ratio", "constant_as_good"),
        *("slow_start", "clipping", "dead_units", "saturation", "vanishing_gradient", "prediction_collapse"),
    ),
)
def weights_redrawn(evidence: Evidence) -> list[Finding]:
    """Weights are drawn anew between steps, so that what was learned is thrown away.

    Fires: at three or more of the first rehearsed steps an optimizer finds other weights than its step before left, with a
        cosine below 0.5 between the two.
    Why: limits, norms and averages of weights change them a little, and keep their direction; a new draw keeps nothing. Values
        are compared, so this is certain.
    What fools it: units that are drawn anew on purpose, all of a layer at each step; nothing else that is known.
    Fix: take reset_parameters(), the initialisation or the making of the model out of the loop; reset the state of a recurrent
        net by state = None, not its weights.
    Source: own; compared in the rehearsal.
    """
    names = evidence.rehearsal.redrawn if evidence.rehearsal is not None else ()
    if not names:
        return []
    return [
        Finding(
            rule="weights_redrawn",
            severity="error",
            seen=f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}: each step finds other weights than the last "
            "one left",
            measurements=(Measurement(name="weights drawn anew", value=float(len(names)), threshold=0.0),),
            cause="reset_parameters() or an initialisation runs in the loop",
            remedy="take reset_parameters() or the initialisation out of the loop; state = None resets a recurrent state",
            source="own; compared in the rehearsal",
            layers=names,
        )
    ]


def reached_in_part(evidence: Evidence) -> list[Finding]:
    """What `unreached_parameter` finds where a gradient reaches every parameter."""
    asked = (drawn_without_gradient, behind_a_choice, partly_cut, before_the_last)
    return next((told for ask in asked if (told := ask(evidence))), [])


def reached_later(evidence: Evidence, name: str) -> bool:
    """Whether a rehearsed step had a gradient for a parameter that the first batch has none for: its turn came."""
    rehearsal, settings = evidence.rehearsal, settings_of(evidence)
    if rehearsal is None or not rehearsal.steps:
        return False
    is_held = settings is not None and name not in settings.unmanaged  # of several optimizers, what moves is held
    still = rehearsal.without_gradient if is_held else (*rehearsal.without_gradient, *rehearsal.unmoved)
    return not any(each == name or each.endswith(f".{name}") for each in still)  # a wrapper's name may stand before


def holds_only_unused(evidence: Evidence) -> list[Finding]:
    """What `unreached_parameter` finds where forward uses nothing that the optimizer holds, as of a head with another name."""
    found, settings = reading.facts(evidence).unreached, settings_of(evidence)
    names = tuple(p.name for p in found if p.reason == "unused")
    if settings is None or settings.managed is None or len(names) < max(len(found), min(settings.managed, MOST_ASKED)):
        return []
    rehearsal = evidence.rehearsal
    steps = evidence.steps if rehearsal is None else [step for step in rehearsal.steps if step.optimizer_steps]
    fewest = _FEWEST_WATCHED if rehearsal is None else _FEWEST_IDLE
    if len(steps) < fewest or any(step.gradient_norm for step in steps):
        return []
    called = settings.unmanaged[-1].rpartition(".")[0] if settings.unmanaged else ""
    new = f"model.{names[-1].rpartition('.')[0]}".rstrip(".")
    return [
        Finding(
            rule="unreached_parameter",
            code="unreached_parameter.unused",
            severity="error",
            seen=f"{', '.join(names[:4])}: forward does not use it, and the optimizer holds nothing else",
            measurements=(Measurement(name="steps without a gradient", value=float(len(steps)), threshold=float(fewest)),),
            cause="forward uses another layer in its place" if called else "forward does not call its module",
            remedy=f"assign what is now {new} to model.{called}, which forward uses and no optimizer holds"
            if called
            else f"use {new} in forward, or assign it to the attribute that forward uses; then make the optimizer",
            source="own; compared with the graph of the loss",
            layers=names,
            explains=("zero_gradient", "flat_loss"),
        )
    ]


def drawn_without_gradient(evidence: Evidence) -> list[Finding]:
    """A draw that the loss depends on, and that hands nothing on to what made its distribution."""
    drawn = reading.facts(evidence).drawn
    if drawn is None:
        return []
    by_function = drawn.startswith("torch.")
    return [
        Finding(
            rule="unreached_parameter",
            code="unreached_parameter.detached",
            severity="warning",
            seen=f"{drawn}(...){'' if by_function else '.sample()'} is used, and hands no gradient to what made its parameters",
            measurements=(Measurement(name="gradient through the draw", value=0.0, threshold=0.0),),
            cause="the draw is no function of the parameters for autograd",
            remedy="mean + std * torch.randn_like(mean) in place of torch.normal(mean, std)"
            if by_function
            else f"rsample() in place of sample() of {drawn}",
            source="Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014, section 2.4; torch.distributions",
        )
    ]


def behind_a_choice(evidence: Evidence) -> list[Finding]:
    """Weights that the answer goes by, through a choice that hands no gradient back; only a cost beside it reaches them."""
    names = reading.facts(evidence).cut_paths or _beside_answer(evidence)
    if not names:
        return []
    shown = list(names)
    return [
        Finding(
            rule="unreached_parameter",
            code="unreached_parameter.detached",
            severity="warning",
            seen=f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}: the answer changes with them and hands no "
            "gradient back; only a term of the loss in which targets have no part reaches them",
            measurements=(Measurement(name="such weights", value=float(len(names)), threshold=0.0),),
            cause="what they make is chosen from, rounded or detached before the answer is made of it",
            remedy=f"no detach() between {shown[-1]} and the answer, nor of weights that outputs are multiplied by; of what is "
            "chosen or rounded, straight through: x + (chosen - x).detach() in its place",
            source="Bengio, Leonard and Courville, arXiv 1308.3432; van den Oord et al., VQ-VAE, NeurIPS 2017, section 3.2",
            layers=names,
        )
    ]


def partly_cut(evidence: Evidence) -> list[Finding]:
    """Units of a layer that the loss goes by and hands no gradient back to, beside others that have one."""
    cut = reading.facts(evidence).cut_rows
    if cut is None:
        return []
    name, rows, of = cut
    return [
        Finding(
            rule="unreached_parameter",
            code="unreached_parameter.detached",
            severity="warning",
            seen=f"{rows} of the {of} units of {name}: the loss changes smoothly with them, and their gradient is exactly zero",
            measurements=(Measurement(name="units without a gradient", value=float(rows), threshold=0.0),),
            cause="what they make enters the loss as numbers: item(), tolist(), numpy(), torch.tensor(...), .data or detach()",
            remedy="compute the loss from the tensors that the model returns: torch.stack and indices in place of lists, "
            "torch.tensor(...), numpy() and item()",
            source="own; other weights in their place, and the loss computed again",
            layers=(name,),
        )
    ]


def before_the_last(evidence: Evidence) -> list[Finding]:
    """Steps of sequences that the answer goes by and hands no gradient back to, but for the last."""
    cut = reading.facts(evidence).cut_steps
    if cut is None:
        return []
    reached, of = cut
    last = "the last" if reached == 1 else f"the last {reached}"
    return [
        Finding(
            rule="unreached_parameter",
            code="unreached_parameter.detached",
            severity="warning",
            seen=f"an answer goes by all {of} steps of a sequence, and its gradient is exactly zero for all but {last}",
            measurements=(Measurement(name="steps with a gradient", value=float(reached), threshold=float(of)),),
            cause="the state is detached at every step: no step learns what later ones need of it",
            remedy="no detach(), .data or no_grad() on the state within a sequence: state = state.detach() belongs between the "
            "training steps, where a state is kept from one batch to the next",
            source="Williams and Peng, An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network "
            "Trajectories, 1990; asked with other steps in their place",
        )
    ]


def _beside_answer(evidence: Evidence) -> tuple[str, ...]:
    """By graphs alone, of a run that Monitor alone saw: only where it is no better than one answer for every example."""
    graph, at = reading.facts(evidence).graph, standing(evidence)
    if graph is None or evidence.probe is not None or evidence.rehearsal is not None or at is None or not at.is_no_better:
        return ()
    return graph.beside_answer if not still_falls(evidence) else ()


def frozen_is_needed(evidence: Evidence, frozen: tuple[str, ...]) -> bool:
    """Whether half of the weights are frozen and more, and what is left of the model learns nothing at any rate."""
    settings = settings_of(evidence)
    if settings is None or not settings.managed or len(frozen) < settings.managed:
        return False
    if evidence.steps:
        at = standing(evidence)
        return at is not None and at.is_no_better and not still_falls(evidence)
    rehearsal = evidence.rehearsal
    return rehearsal is not None and len(rehearsal.other_rates) > 1 and judge_rehearsal(rehearsal).verdict in (STALLED, DEAD)


def stays_as_drawn(evidence: Evidence, unmanaged: tuple[str, ...]) -> bool:
    """Whether what is in no optimizer are a few parameters of no layer, and the run, if there was one, learns beside them."""
    settings, at = settings_of(evidence), standing(evidence)
    managed = (settings.managed or 0) if settings is not None else 0
    own = {s.name for s in reading.latest_layers(evidence) if s.kind == "parameter"}
    stuck = at is not None and at.is_no_better and not still_falls(evidence)
    share = settings.unmanaged_share if settings is not None else None
    share = len(unmanaged) / (managed + len(unmanaged)) if share is None else share  # of older runs by their tensors
    return set(unmanaged) <= own and FEW_FIXED * share <= 1 and not stuck


def alone_with_gradient(evidence: Evidence, unmanaged: tuple[str, ...]) -> bool:
    """Whether what is in no optimizer has a gradient, and what is in one finds zero at every rehearsed step.

    So it is in front of a layer that starts at zero: it would begin to move after that layer did.
    """
    facts, rehearsal = evidence.facts, evidence.rehearsal
    if facts is None or rehearsal is None or facts.no_weight_moves or not facts.zero_gradient:
        return False
    norms = [step.gradient_norm for step in rehearsal.steps if step.optimizer_steps]
    given = len(facts.zero_gradient) < (facts.num_gradients or 0) and not set(unmanaged) <= set(facts.zero_gradient)
    return len(norms) >= 3 and not any(norms) and given
