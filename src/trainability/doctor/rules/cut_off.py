"""What training cannot reach: zero derivatives, random draws without a gradient, weights that are initialised again."""

from trainability.doctor import reading
from trainability.doctor.best_constant import standing, still_falls
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.graph_facts import MOST_ASKED
from trainability.doctor.outlook import judge_rehearsal
from trainability.doctor.outlook_limits import DEAD, STALLED
from trainability.doctor.rate_choice import settings_of
from trainability.doctor.rules.rule import rule

_FEWEST_IDLE, _FEWEST_WATCHED = 3, 20  # steps without any gradient, rehearsed and of a run, which may start with a warm-up
FEW_FIXED = 10  # trainable numbers; one of so few may keep its initial value


@rule(severities=("warning",), explains=("plateau", "slow_start", "loss_cliff", "constant_as_good", "unlimited_critic"))
def flat_derivative(evidence: Evidence) -> list[Finding]:
    """A derivative in the loss is exactly zero, or a constant for the weights.

    Fires: the loss takes a derivative (`torch.autograd.grad(..., create_graph=True)`) that is zero for every example, of
        something that is not zero. Code `without_graph`: the loss takes a derivative without create_graph=True, and other
        numbers in its place change the loss and leave every gradient the same, bit for bit. Code `mean`: it differentiates the
        mean of one number of each example, by inputs of which each goes into its own example alone, and with the derivatives
        times a factor the loss is a sum of several powers of the factor, as one is that compares them with something. Code
        `residual`: of an equation's residual.
    Why: a net of ReLUs is piecewise linear, so its second derivative is zero wherever it exists. A differential equation, or a
        penalty on curvature, then asks for something that no weights can give. A derivative without a graph is a constant: a
        penalty on the slope, as in WGAN-GP, is added to the loss and bounds nothing; and in a differential equation only the
        outputs are moved towards whatever their derivatives happen to be.
    What fools it: a penalty that is zero at the start because of the weights alone; a slope that is added to the loss only to
        log it; a value that learns from its own slope as a target (continuous-time TD), if the target is not detached by a
        call.
    Fix: pass create_graph=True to torch.autograd.grad; differentiate the sum over examples, u.sum(), not the mean; use smooth
        activations: torch.nn.Tanh(), torch.nn.SiLU(), torch.nn.Softplus(), or sines.
    Source: Raissi, Perdikaris and Karniadakis, Physics-informed neural networks, 2019, section 3 (tanh); read off the pass.
    """
    facts = reading.facts(evidence)
    if facts.constant_term:
        return [_without_graph()]
    if facts.graph is not None and facts.graph.constant_slope:
        return [_residual()]
    if facts.graph is not None and facts.graph.mean_slope is not None:
        return [_of_a_mean(facts.graph.mean_slope)]
    if not facts.flat_derivative:
        return []
    return [
        Finding(
            rule="flat_derivative",
            severity="warning",
            seen="the loss uses a derivative that is exactly zero for every example, of something that is not zero",
            measurements=(Measurement(name="largest derivative", value=0.0, threshold=0.0),),
            cause="piecewise linear activations (ReLU, LeakyReLU) have no second derivative",
            remedy="torch.nn.Tanh() or torch.nn.SiLU() instead of every ReLU in the model that is differentiated twice",
            source="Physics-informed neural networks, 2019; own check",
            explains=("untrained_parameter", "vanishing_gradient"),  # of what such a derivative alone would train
        )
    ]


UNREACHED = {  # reason: (what is seen, cause)
    "detached": (
        "the loss changes with it, but no gradient reaches it",
        "detach(), item(), .data, numpy(), torch.tensor(), no_grad(), argmax or a comparison in between",
    ),
    "dropped": ("its module runs, and nothing uses the result", "the result is not used in forward"),
    "not in the loss": ("the model returns its result, but the loss does not use it", "an output is left out of the loss"),
    "turn": ("no loss of the first batch reaches this model", "detach() before the loss, or a later batch trains it"),
    "last_block": (
        "it makes what its block hands on to the next, and its block is the last: nothing uses the result",
        "all blocks are built alike, the last too",
    ),
    "unused": ("forward does not use it", "forward does not call its module"),
    "spare": ("nothing uses it", "the loss or layer that it was made for is missing"),
    "unknown": ("no gradient reaches it", "not known: the loss is not reproducible"),
}


def to_reach(names: tuple[str, ...], reason: str) -> str:
    """What to change so that a gradient reaches parameters, by the reason that none does."""
    if reason in ("detached", "turn"):
        first = next(iter(names), "it")
        return (
            f"remove the detach(), item(), .data, numpy(), no_grad(), argmax or comparison between {first} and the loss; "
            "torch.stack(losses) in place of torch.tensor(losses) or torch.Tensor(losses), which copy numbers"
        )
    if reason == "not in the loss":
        return (
            "add a term for each output that the loss leaves out, sum(loss_fn(output, target) for output in outputs); or "
            "leave it, if that output is used otherwise"
        )
    if reason == "last_block":
        return "nothing, if it is meant; else use the result behind the last block, or build that block without it"
    return "use it in forward, or delete it"


def cut_from_targets() -> Finding:
    """A loss that was rebuilt as a number, beside a term that trains."""
    return Finding(
        rule="unreached_parameter",
        code="unreached_parameter.targets",
        severity="error",
        seen="the loss changes with the targets, but no gradient does: other targets leave all of them as they are",
        measurements=(Measurement(name="change of the gradients when the targets change", value=0.0, threshold=0.0),),
        cause="detach(), item(), .data, numpy() or torch.tensor() between the model's outputs and the loss; another term, such "
        "as a penalty, still has a gradient, so that backward() does not fail",
        remedy="add the loss itself: loss = loss_fn(output, target) + penalty, not torch.tensor(loss.item()) + penalty",
        source="PyTorch, torch.Tensor.item; own: targets exchanged, outputs moved",
    )


def _without_graph() -> Finding:
    """A penalty on a slope, without effect on any weight."""
    return Finding(
        rule="flat_derivative",
        code="flat_derivative.without_graph",
        severity="warning",
        seen="the loss takes a derivative without create_graph=True: it changes the loss, but no gradient",
        measurements=(Measurement(name="change of the gradients when the derivative changes", value=0.0, threshold=0.0),),
        cause="a penalty on a slope that has no graph only adds a constant to the loss",
        remedy="torch.autograd.grad(..., create_graph=True)",
        source="Gulrajani et al., Improved Training of Wasserstein GANs, 2017, section 4; own: the derivative replaced by "
        "other numbers",
    )


def _residual() -> Finding:
    """A differential equation whose derivatives are constants."""
    return Finding(
        rule="flat_derivative",
        code="flat_derivative.residual",
        severity="warning",
        seen="the loss takes a derivative of the model's outputs without create_graph=True, and compares it with outputs of "
        "the same weights at the same input: these have a gradient, the derivative has none",
        measurements=(Measurement(name="gradient of the weights through the derivative", value=0.0, threshold=0.0),),
        cause="the derivative in the residual of a differential equation is a constant for the weights",
        remedy="torch.autograd.grad(..., create_graph=True) for each derivative that the loss uses; retain_graph=True alone "
        "keeps the old graph and does not build one for the derivative",
        source="Raissi, Perdikaris and Karniadakis, Physics-informed neural networks, 2019; read off the graph of the loss",
    )


def _of_a_mean(number: int) -> Finding:
    """Slopes that are too small by the number of examples."""
    return Finding(
        rule="flat_derivative",
        code="flat_derivative.mean",
        severity="warning",
        seen="the loss takes the derivative of a mean over the batch by its inputs, and compares it with something: the "
        f"derivative of each example is too small by the number of examples ({number} in the batch that was looked at), and "
        "one of second order by the square of that",
        measurements=(Measurement(name="examples in the mean", value=float(number), threshold=1.0),),
        cause="u.mean() is differentiated in place of u.sum(): each example's number goes by its own input alone, so the sum's "
        "derivative is that of each example, and the mean's is divided by their number",
        remedy="torch.autograd.grad(u.sum(), x, create_graph=True)[0], or grad_outputs=torch.ones_like(u), for each derivative",
        source="Raissi, Perdikaris and Karniadakis, Physics-informed neural networks, 2019; own: derivatives times a factor",
    )


@rule(
    severities=("error", "warning"),
    verdict="dead",
    explains=(
        *("exploding_gradient", "not_finite", "oscillation", "loss_cliff", "plateau", "update_ratio", "constant_as_good"),
        *("slow_start", "clipping", "dead_units", "saturation", "vanishing_gradient", "prediction_collapse"),
    ),
)
def weights_redrawn(evidence: Evidence) -> list[Finding]:
    """Weights are initialised again between steps, so that what was learned is lost.

    Fires: at three or more of the first rehearsed steps, an optimizer finds other weights than its previous step left, with a
        cosine below 0.5 between the two. Code `limited`, a warning: of half of the matrices or more, a quarter of the numbers
        or more is set to one limit and its negative between two steps, and the loss compares outputs with targets, as a
        Wasserstein critic's, whose weights are limited on purpose, does not; or, of networks against each other, of weights
        that every one of several optimizers holds.
    Why: limiting, normalising or averaging weights changes them a little and keeps their direction; initialising them again
        keeps nothing. Values are compared, so this is certain.
    What fools it: units that are initialised again on purpose, all units of a layer at each step; nothing else known.
    Fix: move reset_parameters(), the initialisation or the construction of the model out of the loop; to reset the state of a
        recurrent net, set state = None and keep its weights. For `limited`, limit the gradients in place of the weights,
        and of networks against each other the critic's weights alone.
    Source: own; compared in the rehearsal.
    """
    names = evidence.rehearsal.redrawn if evidence.rehearsal is not None else ()
    if not names and evidence.rehearsal is not None and evidence.rehearsal.cut_off is not None:
        return _limited(evidence, *evidence.rehearsal.cut_off)
    if not names:
        return []
    return [
        Finding(
            rule="weights_redrawn",
            severity="error",
            seen=f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}: each step finds other weights than the "
            "previous step left",
            measurements=(Measurement(name="weights initialised again", value=float(len(names)), threshold=0.0),),
            cause="reset_parameters() or an initialisation runs in the loop",
            remedy="move reset_parameters() or the initialisation out of the loop; to reset a recurrent state, set state = "
            "None",
            source="own; compared in the rehearsal",
            layers=names,
        )
    ]


def _limited(evidence: Evidence, names: tuple[str, ...], limit: float, share: float) -> list[Finding]:
    """Weights that are held within a limit which is meant for gradients."""
    has_targets = reading.facts(evidence).task_loss is not None or reading.chance_loss(evidence) is not None
    is_opposed = evidence.rehearsal is not None and evidence.rehearsal.opposed
    if not has_targets and not is_opposed:
        return []
    return [
        Finding(
            rule="weights_redrawn",
            code="weights_redrawn.limited",
            severity="warning",
            seen=f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}: between two steps, {100 * share:.0f} % of "
            f"the numbers or more are set to {limit:.3g} or -{limit:.3g}",
            measurements=(Measurement(name="share of the weights at the limit", value=share, threshold=0.25),),
            cause="the loop clamps the weights of all networks, of which only a critic's are to be limited"
            if is_opposed
            else "the loop clamps weights (p.data, or p itself) where it means gradients (p.grad)",
            remedy="clamp critic.parameters() alone, after the critic's step: a generator's weights need no limit"
            if is_opposed
            else f"torch.nn.utils.clip_grad_value_(model.parameters(), {limit:.3g}) between backward and step, in place of "
            "the clamp",
            source="PyTorch, torch.nn.utils.clip_grad_value_; weights compared in the rehearsal",
            layers=names,
            explains=("update_ratio", "unlimited_critic"),
        )
    ]


def reached_in_part(evidence: Evidence) -> list[Finding]:
    """Findings of `unreached_parameter` where a gradient reaches every parameter."""
    asked = (drawn_without_gradient, behind_a_choice, partly_cut, before_the_last)
    return next((told for ask in asked if (told := ask(evidence))), [])


def reached_later(evidence: Evidence, name: str) -> bool:
    """Whether a rehearsed step gave a gradient to a parameter that has none in the first batch, or a run has moved its layer.

    Samples may always meet the turn of one of two networks that one optimizer steps by turns. A bias is told by its layer's
    weight: samples do not hold its own size.
    """
    owner, _, kind = name.rpartition(".")
    if (
        kind in ("weight", "bias")
        and len({s.weight_rms for sample in evidence.samples for s in sample.layers if s.name == owner and s.weight_rms}) > 1
    ):
        return True
    rehearsal, settings = evidence.rehearsal, settings_of(evidence)
    if rehearsal is None or not rehearsal.steps:
        return False
    is_held = (
        settings is not None and name not in settings.unmanaged
    )  # with several optimizers, a parameter that moves is held by one
    still = rehearsal.without_gradient if is_held else (*rehearsal.without_gradient, *rehearsal.unmoved)
    return not any(each == name or each.endswith(f".{name}") for each in still)  # a wrapper may add a prefix


def holds_only_unused(evidence: Evidence) -> list[Finding]:
    """Finding of `unreached_parameter` where forward uses nothing that the optimizer holds, as with a head of another name."""
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
            cause="forward uses another layer instead" if called else "forward does not call its module",
            remedy=f"assign {new} to model.{called}, which forward uses and no optimizer holds"
            if called
            else f"use {new} in forward, or assign it to the attribute that forward uses; then create the optimizer",
            source="own; compared with the graph of the loss",
            layers=names,
            explains=("zero_gradient", "flat_loss"),
        )
    ]


def drawn_without_gradient(evidence: Evidence) -> list[Finding]:
    """A random draw that the loss depends on, and that passes no gradient to its distribution's parameters."""
    drawn = reading.facts(evidence).drawn
    if drawn is None:
        return []
    by_function = drawn.startswith("torch.")
    return [
        Finding(
            rule="unreached_parameter",
            code="unreached_parameter.detached",
            severity="warning",
            seen=f"{drawn}(...){'' if by_function else '.sample()'} is used, and passes no gradient to the parameters of its "
            "distribution",
            measurements=(Measurement(name="gradient through the draw", value=0.0, threshold=0.0),),
            cause="for autograd, the draw does not depend on the parameters",
            remedy="mean + std * torch.randn_like(mean) in place of torch.normal(mean, std)"
            if by_function
            else f"rsample() in place of sample() of {drawn}",
            source="Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014, section 2.4; torch.distributions",
        )
    ]


def behind_a_choice(evidence: Evidence) -> list[Finding]:
    """Weights that the output depends on through a step without a gradient; only a separate cost reaches them."""
    names = reading.facts(evidence).cut_paths or _beside_answer(evidence)
    if not names:
        return []
    shown = list(names)
    return [
        Finding(
            rule="unreached_parameter",
            code="unreached_parameter.detached",
            severity="warning",
            seen=f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}: the output depends on them but passes no "
            "gradient back to them; only a term of the loss without targets reaches them",
            measurements=(
                Measurement(name="weights without a gradient from the output", value=float(len(names)), threshold=0.0),
            ),
            cause="their result is rounded, detached or used to choose, before the output is computed from it",
            remedy=f"no detach() between {shown[-1]} and the output, nor of weights that multiply outputs; where values are "
            "chosen or rounded, use a straight-through estimator: x + (chosen - x).detach()",
            source="Bengio, Leonard and Courville, arXiv 1308.3432; van den Oord et al., VQ-VAE, NeurIPS 2017, section 3.2",
            layers=names,
        )
    ]


def partly_cut(evidence: Evidence) -> list[Finding]:
    """Units of a layer that the loss depends on but that have no gradient, while other units have one."""
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
            cause="their outputs enter the loss as numbers: item(), tolist(), numpy(), torch.tensor(...), .data or detach()",
            remedy="compute the loss from the tensors that the model returns: torch.stack and indexing instead of lists, "
            "torch.tensor(...), numpy() and item()",
            source="own; the loss computed again with other weights",
            layers=(name,),
        )
    ]


def before_the_last(evidence: Evidence) -> list[Finding]:
    """Steps of sequences that the output depends on, of which only the last have a gradient."""
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
            seen=f"an output depends on all {of} steps of a sequence, and its gradient is exactly zero for all but {last}",
            measurements=(Measurement(name="steps with a gradient", value=float(reached), threshold=float(of)),),
            cause="the state is detached at every step: no step learns what later steps need",
            remedy="no detach(), .data or no_grad() on the state within a sequence: state = state.detach() belongs between "
            "training steps, where the state is kept from one batch to the next",
            source="Williams and Peng, An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network "
            "Trajectories, 1990; own: steps replaced by others",
        )
    ]


def _beside_answer(evidence: Evidence) -> tuple[str, ...]:
    """From graphs alone, in a run that only Monitor saw: only where it is no better than the best constant answer."""
    graph, at = reading.facts(evidence).graph, standing(evidence)
    if graph is None or evidence.probe is not None or evidence.rehearsal is not None or at is None or not at.is_no_better:
        return ()
    return graph.beside_answer if not still_falls(evidence) else ()


def frozen_is_needed(evidence: Evidence, frozen: tuple[str, ...]) -> bool:
    """Whether half of the weights or more are frozen, and the rest of the model learns at no rate."""
    settings = settings_of(evidence)
    if settings is None or not settings.managed or len(frozen) < settings.managed:
        return False
    if evidence.steps:
        at = standing(evidence)
        return at is not None and at.is_no_better and not still_falls(evidence)
    rehearsal = evidence.rehearsal
    return rehearsal is not None and len(rehearsal.other_rates) > 1 and judge_rehearsal(rehearsal).verdict in (STALLED, DEAD)


def stays_as_drawn(evidence: Evidence, unmanaged: tuple[str, ...]) -> bool:
    """Whether the parameters in no optimizer are few and not a layer's, and the run, if there is one, learns without them."""
    settings, at = settings_of(evidence), standing(evidence)
    managed = (settings.managed or 0) if settings is not None else 0
    own = {s.name for s in reading.latest_layers(evidence) if s.kind == "parameter"}
    stuck = at is not None and at.is_no_better and not still_falls(evidence)
    share = settings.unmanaged_share if settings is not None else None
    share = len(unmanaged) / (managed + len(unmanaged)) if share is None else share  # of older runs by their tensors
    return set(unmanaged) <= own and FEW_FIXED * share <= 1 and not stuck


def alone_with_gradient(evidence: Evidence, unmanaged: tuple[str, ...]) -> bool:
    """Whether only parameters in no optimizer have a gradient, while those in one have zero at every rehearsed step.

    This happens before a layer that starts at zero: its inputs' parameters would begin to move after it did.
    """
    facts, rehearsal = evidence.facts, evidence.rehearsal
    if facts is None or rehearsal is None or facts.no_weight_moves or not facts.zero_gradient:
        return False
    norms = [step.gradient_norm for step in rehearsal.steps if step.optimizer_steps]
    given = len(facts.zero_gradient) < (facts.num_gradients or 0) and not set(unmanaged) <= set(facts.zero_gradient)
    return len(norms) >= 3 and not any(norms) and given
