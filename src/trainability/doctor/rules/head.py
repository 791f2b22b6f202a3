"""Between the model's outputs and the loss: shapes, functions applied twice, ranges, signs."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence, ProbeResult
from trainability.doctor.facts import Facts, LossGraph
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.affine import missing_activation
from trainability.doctor.rules.aligned import mixed_in_sequences, other_places
from trainability.doctor.rules.all_pairs import all_apart, inside, outer, picked
from trainability.doctor.rules.pair_signs import is_own_positive
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.unrelated import is_related

NOTHING_LEARNED = (
    "plateau",
    "constant_output",
    "loss_at_start",
    "cannot_overfit",
    "slow_start",
    "vanishing_gradient",
    "update_ratio",
    "prediction_collapse",
)


def shown_place(graph: LossGraph | None, made: str | None) -> str:
    """The call to change, where it was seen."""
    return graph.made_at if graph is not None and graph.made_at else f"the {made} after the last layer"


@rule(severities=("error", "warning", "hint"), verdict="broken loss", explains=(*NOTHING_LEARNED, "oscillation"))
def target_broadcast(evidence: Evidence) -> list[Finding]:
    """The loss compares every output with every target, because their shapes are broadcast.

    Fires: an elementwise operation of the loss takes an output and a target of different shapes with the same number of
        elements, (64, 1) and (64,), and broadcasts them to (64, 64); Monitor, which does not get the targets, reads the shapes
        off the graph of the loss. Or the loss is a mean of powers of (n, 1) less (n,), of which one has a gradient and (n, 1)
        was not made of (n,) before, and with one example less n is one less. Code `unpaired`: permuting the targets between the
        examples of the batch leaves the gradient of the outputs unchanged to 1e-4, and one target for all changes it by 0.01
        (silent where inputs are no more related to targets than to shuffled ones, such as the noise given to a generator); or
        log-sigmoid or softplus is taken once, of a sum over all examples (one example less, one term less; in a watched loop,
        three tensors with the same number of names go in), in which no target takes part. Code `one_for_all`: a loss of PyTorch
        compares all outputs of an example, (64, 4), with a single number, (64, 1). A warning where integers of the batch, one
        per example, could select one of the outputs, and changing them leaves the loss the same, bit for bit; else a hint. A
        warning also where a loss of transitions depends only on each example's largest output, and such integers are not used.
        Code `outer`: products of (n,) and (n, 1), for example of log-probabilities and advantages, or of (n,) and the
        difference of two such without a gradient, of which one mean or sum is taken; an error where the mean of the factors is
        less than 1e-3 of their size, else a warning. Code `picked`: outputs[:, numbers], with a whole number for each of n
        examples, which makes (n, n), is set off against (n,), or (n, 1) without a gradient, or log-probabilities are multiplied
        by it, before one mean, without a mask; and with one example less it is one less each way. Code `inside`: the model
        itself returns (n, n) answers for n examples and one less each way for one less (in a watched loop, it makes them of
        (n,) and (n, 1)); where all of them are the same number, the loss wants the same of a whole row or column, and each goes
        by itself.
    Why: averaged over all pairs, the best output for every example is the mean of the targets. PyTorch warns once, or not at
        all if the loss is written by hand. Shapes are read, so this is certain.
    What fools it: a loss that compares all pairs on purpose with tensors of these shapes; a loss between two distributions,
        which has no pairs; several outputs for one target, as in an ensemble, hence the hint.
    Fix: target.unsqueeze(1), or output.squeeze(1), so that both have the same shape.
    Source: PyTorch, Broadcasting semantics; `torch.nn.functional.mse_loss` warns of it.
    """
    facts = reading.facts(evidence)
    if facts.picked_columns is not None:
        return [picked(facts.picked_columns)]
    if facts.broadcast_shape is None and facts.outer_product is not None:
        return [outer(*facts.outer_product)]
    if facts.broadcast_shape is None and facts.outer_difference is not None:
        return [all_apart(facts.outer_difference)]
    if facts.broadcast_shape is None and facts.all_pairs is not None:
        return [inside(*facts.all_pairs)]
    if facts.broadcast_shape is None:
        if facts.summed_first is not None:
            return [_summed(facts.summed_first)]
        if facts.unpaired and (evidence.relation is None or is_related(evidence.relation)) and not is_own_positive(facts):
            return [_unpaired()]  # noise has no target of its own: a distance of two distributions is meant
        if facts.one_target is not None:
            return [_one_for_all(*facts.one_target)]
        return [_largest_for_all(*facts.largest_output)] if facts.largest_output is not None else []
    terms, own = math.prod(facts.broadcast_shape), math.prod(facts.output_shape)
    squeezed = len(facts.output_shape) > len(facts.target_shape)
    return [
        Finding(
            rule="target_broadcast",
            severity="error",
            seen=f"outputs have shape {facts.output_shape}, targets {facts.target_shape}: the loss is over "
            f"{facts.broadcast_shape}, every output with every target",
            measurements=(Measurement(name="terms of the loss", value=float(terms), threshold=float(own)),),
            cause="two shapes with the same number of elements are broadcast against each other",
            remedy="target.unsqueeze(-1) in the loss, or output.squeeze(-1)" if squeezed else "target.squeeze(-1) in the loss",
            source="PyTorch, Broadcasting semantics",
        )
    ]


def _one_for_all(outputs: int, place: str) -> Finding:
    """Values of all actions that are compared with the target of one action."""
    return Finding(
        rule="target_broadcast",
        code="target_broadcast.one_for_all",
        severity="warning" if place else "hint",
        seen=f"all {outputs} outputs of an example are compared with the same number"
        + (f", and nothing uses batch{place}, which could select one of them" if place else ""),
        measurements=(Measurement(name="outputs per target", value=float(outputs), threshold=1.0),),
        cause=f"the output given by batch{place} is not selected: (n, {outputs}) and (n, 1) are broadcast"
        if place
        else f"outputs (n, {outputs}) and targets (n, 1) are broadcast: all outputs learn the same",
        remedy=f"output.gather(1, batch{place}[:, None]) in the loss, which is (n, 1) like the target"
        if place
        else f"one output instead of {outputs}; if several outputs should agree, target.expand_as(output)",
        source="Mnih et al., Nature 2015, algorithm 1 (the value of the action that was taken)"
        if place
        else "PyTorch, Broadcasting semantics",
    )


def _largest_for_all(outputs: int, place: str) -> Finding:
    """The value of the best action, compared with the target of another action."""
    return Finding(
        rule="target_broadcast",
        code="target_broadcast.one_for_all",
        severity="warning",
        seen=f"the loss depends only on each example's largest of {outputs} outputs; nothing uses batch{place}, which could "
        "select one",
        measurements=(Measurement(name="outputs of an example", value=float(outputs), threshold=1.0),),
        cause=f"the target of the action in batch{place} is given to the action that the model prefers, whichever was taken",
        remedy=f"output.gather(1, batch{place}.view(-1, 1)).squeeze(1) in the loss, instead of the state's largest output; "
        "the maximum belongs only in the target, over the next state's outputs",
        source="Mnih et al., Nature 2015, algorithm 1 (the value of the action that was taken)",
    )


def _summed(size: int) -> Finding:
    """A loss of pairs that takes log-sigmoid of a single number for all pairs."""
    return Finding(
        rule="target_broadcast",
        code="target_broadcast.unpaired",
        severity="error",
        seen=f"the differences of all {size} pairs are summed, and log-sigmoid (or softplus) is taken of the sum: once that "
        "is large, no pair has a gradient, however wrong it is",
        measurements=(Measurement(name="pairs in one number", value=float(size), threshold=1.0),),
        cause="the sum over the embedding's factors also runs over the batch (a sum without dim)",
        remedy="sum over the factors only, and take the mean last: difference = (user * (item - other)).sum(dim=-1); loss = "
        "-torch.nn.functional.logsigmoid(difference).mean()",
        source="Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009; read off the graph",
    )


def _unpaired() -> Finding:
    """A loss that sums, averages or sorts over the batch before it compares outputs with targets."""
    return Finding(
        rule="target_broadcast",
        code="target_broadcast.unpaired",
        severity="error",
        seen="permuting the targets between the examples of a batch leaves every output's gradient unchanged; other targets "
        "change it",
        measurements=(Measurement(name="change of the gradient", value=0.0, threshold=1e-4),),
        cause="the loss does not compare each output with its own target: it averages, sums or sorts over the batch first, "
        "or compares all with all",
        remedy="compare output and target example by example, and take the mean of the differences last",
        source="own; the loss computed again with the targets permuted",
    )


@rule(severities=("error", "warning"), verdict="broken loss", explains=(*NOTHING_LEARNED, "oscillation"))
def misread_logits(evidence: Evidence) -> list[Finding]:
    """The loss reads the logits in another layout than the model writes them.

    Fires: outputs have the shape (batch, length, classes), and the loss is their cross-entropy after a view, not a transpose,
        as (batch, classes, length); or pixels (batch, classes, ...) are viewed as (-1, classes). Code `over_batch`: the softmax
        of the loss runs over the examples (dim=0) of outputs of shape (batch, classes), and the batch holds no numbers of which
        each column sums to 1 over them, as what documents of one query are worth. Code `other_dimension`: what the loss looks
        classes up in comes from a softmax, the only one on the way, over another dimension of another size, such as the steps
        of (batch, steps, classes). A warning with code `places`: the
        targets are images, and each place of the input image explains a tenth or more of their variance; or maps (batch,
        channels, height, width) are viewed as (batch, height, width, ...); and each output compared with a target is computed
        from another place: a correlation of 0.5 or less between the two, in rows or columns. Code `sequences`: with `ctc_loss`,
        which takes (steps, batch, classes), replacing an example changes the sequences of others, though the model keeps
        examples apart.
    Why: `cross_entropy` takes classes as the second dimension. A view keeps the order in memory, so that the logits of one
        position are taken from several. The loss is recomputed this way and agrees to 0.01 %, so this is certain.
    What fools it: nothing known.
    Fix: output.transpose(1, 2), or output.flatten(0, 1) with target.flatten().
    Source: PyTorch, `torch.nn.CrossEntropyLoss` (shape) and `torch.Tensor.view`; own check.
    """
    facts = reading.facts(evidence)
    if facts.graph is not None and facts.graph.over_batch:
        return [_over_batch(facts)]
    if facts.graph is not None and facts.graph.softmax_astray is not None:
        return [_over_other(*facts.graph.softmax_astray)]
    if not facts.misread_logits:
        return mixed_in_sequences(facts) or other_places(facts, evidence.relation)
    pixels = len(facts.output_shape) > 3 or facts.target_shape != facts.output_shape[:2]
    return [
        Finding(
            rule="misread_logits",
            severity="error",
            seen=f"outputs of shape {facts.output_shape} are viewed "
            + ("as (-1, classes)" if pixels else "as (batch, classes, length)")
            + ", which does not transpose them",
            measurements=(Measurement(name="loss", value=facts.loss or 0.0, unit="nats"),),
            cause="view or reshape instead of transpose",
            remedy="cross_entropy(output, target), as they are"
            if pixels
            else "cross_entropy(output.transpose(1, 2), target), or output.flatten(0, 1) with target.flatten()",
            source="PyTorch, torch.nn.CrossEntropyLoss",
        )
    ]


def _over_batch(facts: Facts) -> Finding:
    """Softmax over the examples of the batch instead of over classes."""
    return Finding(
        rule="misread_logits",
        code="misread_logits.over_batch",
        severity="error",
        seen=f"softmax runs over the examples of the batch: outputs have shape {facts.output_shape}, and dim=0 is the batch",
        measurements=(Measurement(name="dimension of the softmax", value=0.0, threshold=1.0),),
        cause="dim=0 in softmax or log_softmax: the probabilities of a class sum to 1 over the batch",
        remedy="dim=1 (or -1) in softmax and log_softmax; cross_entropy takes logits and needs neither",
        source="PyTorch, torch.nn.functional.log_softmax; read off the graph of the loss",
    )


def _over_other(shape: tuple[int, ...], over: int, classes: int) -> Finding:
    """Softmax over steps or pixels instead of over classes."""
    return Finding(
        rule="misread_logits",
        code="misread_logits.other_dimension",
        severity="error",
        seen=f"softmax runs over dimension {over} of {shape}, and the loss looks the classes up in dimension {classes}",
        measurements=(Measurement(name="dimension of the softmax", value=float(over), threshold=float(classes)),),
        cause=f"dim={over} in softmax or log_softmax: the probabilities of one class sum to 1 over {shape[over]} places",
        remedy=f"dim={classes} (or {classes - len(shape)}) in softmax and log_softmax; cross_entropy takes logits and needs "
        "neither",
        source="PyTorch, torch.nn.functional.log_softmax; read off the graph of the loss",
        explains=("sees_future", "batch_leakage", "softmax_twice", "wrong_sign", "loss_below_floor"),
    )


@rule(severities=("error",), verdict="broken loss", explains=(*NOTHING_LEARNED, "unreachable_target", "exploding_gradient"))
def swapped_arguments(evidence: Evidence) -> list[Finding]:
    """Binary cross-entropy gets outputs and targets in the wrong order.

    Fires: in the graph of the loss, the first argument of binary cross-entropy has no gradient and the second has one.
    Why: the loss is linear in its second argument, so the outputs in its place grow without end towards a lower loss.
    What fools it: a teacher whose outputs are used as targets and are not detached.
    Fix: loss(output, target), in this order.
    Source: PyTorch, `torch.nn.functional.binary_cross_entropy_with_logits(input, target)`.
    """
    graph = reading.facts(evidence).graph
    if graph is None or not graph.swapped:
        return []
    return [
        Finding(
            rule="swapped_arguments",
            severity="error",
            seen="the gradient goes to the second argument of binary cross-entropy, which is the target",
            measurements=(Measurement(name="losses whose target has a gradient", value=1.0, threshold=0.0),),
            cause="output and target are swapped in the call of the loss",
            remedy="loss(output, target), in this order",
            source="PyTorch, torch.nn.functional.binary_cross_entropy_with_logits",
        )
    ]


@rule(severities=("error",), verdict="capped", explains=(*NOTHING_LEARNED, "loss_divided", "saturation", "capped_loss"))
def softmax_twice(evidence: Evidence) -> list[Finding]:
    """The model ends in softmax or sigmoid, and the loss applies softmax or sigmoid again.

    Fires: in the graph of the loss, a softmax or sigmoid is the direct input of log-softmax, or of the sigmoid inside binary
        cross-entropy with logits; also from Monitor alone, if it is given the loss with its graph. Without a graph: every
        output row lies in [0, 1] and sums to 1, and the loss equals the cross-entropy of the outputs taken as logits, within
        0.1 %. Also where a softmax's probabilities go into a logsumexp of the loss, as into `Categorical(logits=...)`. Code
        `exp`: `poisson_nll_loss` takes the exponential of outputs that come from an exponential, softplus, ReLU, sigmoid or
        absolute value, possibly plus a small number. Code `sigmoid`: the model ends in a sigmoid.
    Why: logits limited to [0, 1] are best with one at 1 and the others at 0, so the loss cannot fall below ln(e + C - 1) - 1,
        which is 1.46 with ten classes; with a single logit, it cannot fall below 0.31 for ones and 0.69 for zeros. The net
        learns, but its loss is capped.
    What fools it: outputs between 0 and 1 that are used as logits, such as cosine similarities multiplied by a temperature
        later.
    Fix: remove the softmax or sigmoid at the end of the model; `cross_entropy` and `binary_cross_entropy_with_logits` take
        logits.
    Source: docs/theory.md, section 5; Schoop et al., UMLAUT, CHI 2021.
    """
    probe, graph = evidence.probe, reading.facts(evidence).graph
    classes = probe.num_logits if probe is not None and probe.num_logits else None
    made, loss_of = "softmax", "softmax"
    if graph is not None and graph.takes in ("log_softmax", "sigmoid") and graph.made_by in ("softmax", "sigmoid"):
        made, loss_of = graph.made_by, "softmax" if graph.takes == "log_softmax" else "sigmoid"
        classes = graph.num_outputs or classes
    elif (twice := reading.facts(evidence).rates_twice) is not None:
        return [_rates_twice(twice)]
    elif graph is not None and graph.renormalised:
        return [_renormalised(graph.renormalised)]
    elif probe is None or not _takes_probabilities(probe):
        return []
    is_softmax = loss_of == "softmax" and bool(classes)
    share = _share_of_ones(evidence)
    floor = math.log(math.e + classes - 1) - 1 if is_softmax and classes else _floor_of_two_sigmoids(share)
    loss = evidence.steps[-1].loss if evidence.steps else probe.loss if probe is not None else reading.facts(evidence).loss
    return [
        Finding(
            rule="softmax_twice",
            code="softmax_twice" if made == loss_of == "softmax" else f"softmax_twice.{made}",
            severity="error",
            seen=f"the model applies {made}, and the loss applies {loss_of} to the result: "
            + (
                f"it cannot fall below {floor:.2f}"
                if is_softmax or share is not None
                else f"it cannot fall below {floor:.2f} where the target is 1, and below {math.log(2):.2f} where it is 0"
            ),
            measurements=(
                Measurement(name="lowest possible loss", value=floor, unit="nats", threshold=0.0),
                *((Measurement(name="loss", value=loss, unit="nats"),) if loss is not None else ()),
            ),
            cause=f"{made} is applied in the model and {loss_of} again in the loss",
            remedy=f"remove {shown_place(graph, made)}: this loss takes logits",
            source=f"{'ln(e + C - 1) - 1' if is_softmax else 'ln(1 + 1/e) where the target is 1, ln 2 where it is 0'}: "
            "docs/theory.md, section 5; UMLAUT, CHI 2021",
        )
    ]


def _share_of_ones(evidence: Evidence) -> float | None:
    """The mean of targets from 0 to 1; None where it is not known."""
    train = evidence.data.train if evidence.data is not None else None
    mean = train.target_mean if train is not None and train.target_mean is not None else reading.facts(evidence).target_mean
    return mean if mean is not None and 0 <= mean <= 1 else None


def _floor_of_two_sigmoids(share: float | None) -> float:
    """The lowest binary cross-entropy of logits from 0 to 1: ln(1 + 1/e) for a target of 1, ln 2 for one of 0."""
    share = 1.0 if share is None else share
    return share * math.log1p(math.exp(-1)) + (1 - share) * math.log(2)


def _renormalised(classes: int) -> Finding:
    """Probabilities that a distribution, or a logarithm of a softmax, takes as logits."""
    largest = math.e / (math.e + classes - 1)
    return Finding(
        rule="softmax_twice",
        code="softmax_twice",
        severity="error",
        seen=f"a softmax makes probabilities, and the loss normalises them as if they were logits: with {classes} classes none "
        f"of the results can be above {largest:.2f}",
        measurements=(Measurement(name="largest possible probability", value=largest, threshold=1.0),),
        cause="probabilities are taken as logits, such as by torch.distributions.Categorical(logits=...)",
        remedy="return the last layer's outputs without the softmax; or take the probabilities as such: Categorical(probs=...)",
        source="PyTorch, torch.distributions.Categorical; own graph of the loss",
    )


def _rates_twice(made: str) -> Finding:
    """A rate taken as the logarithm of a rate: the result cannot be below 1, or below 2."""
    return Finding(
        rule="softmax_twice",
        code="softmax_twice.exp",
        severity="error",
        seen=f"the model ends in {made}, which gives rates, and poisson_nll_loss takes their exponential: none is below 1",
        measurements=(Measurement(name="lowest possible rate", value=1.0, threshold=0.0),),
        cause="the loss expects logarithms of rates (log_input=True, the default)",
        remedy=f"log_input=False in the loss; or remove the {made} after the last layer",
        source="PyTorch, torch.nn.PoissonNLLLoss",
    )


def _takes_probabilities(probe: ProbeResult) -> bool:
    """Whether the loss is cross-entropy with probabilities taken as logits."""
    entropy = probe.cross_entropy
    if not probe.outputs_are_probabilities or entropy is None or not probe.num_logits:
        return False
    return abs(probe.loss - entropy) <= 1e-3 * (1 + abs(probe.loss))


@rule(severities=("error", "warning"), verdict="capped", explains=(*NOTHING_LEARNED, "capped_loss"))
def clamped_logits(evidence: Evidence) -> list[Finding]:
    """The logits come out of a ReLU or tanh, and cannot take the values that they need.

    Fires: in the graph of the loss, a ReLU or tanh is the direct input of log-softmax, or of the sigmoid inside binary
        cross-entropy with logits. An error for a ReLU before a sigmoid. Codes `relu` and `tanh`: by the activation.
    Why: a logit that cannot be negative cannot predict "no": after a ReLU, a sigmoid is at least 0.5, and the loss of a zero at
        least ln 2. With softmax such a net may still learn, but an output that is zero for all examples has no gradient. A tanh
        limits the difference of two logits to 2.
    What fools it: a bounded logit that is multiplied by a temperature after the loss's first function; none is known.
    Fix: remove the activation after the last layer.
    Source: PyTorch, `torch.nn.CrossEntropyLoss`: input is expected to contain the unnormalized logits.
    """
    graph = reading.facts(evidence).graph
    if graph is None or graph.takes not in ("log_softmax", "sigmoid") or graph.made_by not in ("relu", "tanh"):
        return []
    halved = graph.takes == "sigmoid" and graph.made_by == "relu"
    return [
        Finding(
            rule="clamped_logits",
            code=f"clamped_logits.{graph.made_by}",
            severity="error" if halved else "warning",
            seen=f"the logits come out of a {graph.made_by}"
            + (": it cannot predict a probability below 0.5" if halved else ""),
            measurements=(
                Measurement(
                    name="lowest possible logit", value=0.0 if graph.made_by == "relu" else -1.0, threshold=float("-inf")
                ),
            ),
            cause="the last layer has an activation, like the hidden ones",
            remedy=f"remove {shown_place(graph, graph.made_by)}: the last layer's outputs are the logits",
            source="PyTorch, torch.nn.CrossEntropyLoss",
        )
    ]


@rule(severities=("warning", "hint"), explains=NOTHING_LEARNED)
def linear_stack(evidence: Evidence) -> list[Finding]:
    """Linear layers follow each other without an activation, so that together they are one.

    Fires: a linear layer's only input is another's output, in the traced model or in any part of it that runs, and the width
        between is no bottleneck: a hint; a warning where a third follows in the same way, or an `nn.Identity` of the first
        one's module runs between, unless the loss falls to a quarter. Of a model in which nothing is nonlinear in evaluation,
        or nothing but max pooling, also convolutions that are not separable, and layers with batch norm, average pooling or a
        reshape between: a warning; with max pooling, or behind embeddings, a hint where the loss falls to a quarter, and where
        a linear map of the input explains nine tenths of the targets. Also a warning where sums or products with a graph's
        adjacency lie between: with weights moved at random, outputs stay within 1e-3 of an affine function for moves of 0.1 to
        100 times the input, and scaling two layers does more than each alone. Not so with a bottleneck, batch norm, weights
        used twice, a function of the loss's own, or targets that are nine tenths linear; nor with another input that differs
        between batches, unless the pass is sums, products and views alone and that input, as it is, weighs places, as an
        adjacency or a mask does, and not features; a hint where the loss falls to a quarter.
    Why: the product of two matrices is a matrix: without a nonlinear function no depth bends a straight boundary, and XOR stays
        at ln 2. Batch norm is a factor and a constant for each channel.
    What fools it: a factorisation on purpose, which has a bottleneck; deep networks that are linear on purpose.
    Fix: an activation between the two, such as torch.nn.ReLU().
    Source: Minsky and Papert, Perceptrons, 1969; Ioffe and Szegedy, Batch Normalization, ICML 2015, algorithm 2; own check.
    """
    return missing_activation(evidence)
