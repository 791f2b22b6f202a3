"""The model's outputs on one batch: whether they depend on the input, and on nothing else."""

import math
from dataclasses import replace

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import as_code
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.pair_facts import PairForces
from trainability.doctor.rules.drawing import drawn_for_signal
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.start import constant_for_good, outputs_stay_alike
from trainability.doctor.rules.unmoved import attends_to_nothing, inverted_mask

COLLAPSED = 0.1


@rule(
    severities=("warning", "hint"),
    explains=(
        "plateau",
        "cannot_overfit",
        "update_ratio",
        "prediction_collapse",
        "constant_as_good",
        "untrained_parameter",
        "constant_output",
        "dead_units",
        "sees_future",  # is asked by exchanging the later tokens of all examples
    ),
)
def batch_leakage(evidence: Evidence) -> list[Finding]:
    """An example's output changes with its neighbours or place in the batch, in eval mode.

    Fires: with another neighbour, before it or behind it in the batch, an example's output changes by more than 1e-3 of the
        outputs' rms, though it does not change when the same batch is asked twice. Code `sequences`: a recurrent or attention
        layer without batch_first is given as many steps as there are examples, and half of them where half are asked; of a loop
        that is watched, where the loss has one answer for each of its steps, and these are not as many as its examples. Code
        `place`: it does not change with its neighbours, and by as much when the batch is asked in another order. Code
        `softmax`: in a watched run a softmax of the forward pass takes (examples, 2 or more) and runs over the examples. So
        where (layers, examples, features), with fewer layers than examples, is viewed as a row for each example.
    Why: in eval mode each example is to be computed alone. All batches have as many examples, so that even the rounding is
        alike; an operation that mixes the batch changes outputs by much of their own size. An LSTM that takes the batch for
        time leaks in one direction only.
    What fools it: models that compare examples on purpose (retrieval in the batch); outputs with an entry per pair of examples
        are left out, and so is batch norm without running statistics; and, of places, models that draw numbers. Batches of
        (steps, batch): silent where targets are the next steps, or one for each sequence; a hint where there is a target for
        each step, and no loader of PyTorch's stacked the examples, as of a tagger.
    Fix: check batch_first= of recurrent and attention layers, and every view, reshape, permute and dim= in the model's forward.
    Source: the test of mixed batch dimensions by Karpathy, A Recipe for Training Neural Networks, 2019; own threshold.
    """
    # The facts' look asks twice, in both directions, and not where an output is of a pair of examples.
    look = evidence.facts if evidence.facts is not None and evidence.facts.output_shape is not None else evidence.probe
    leakage = (look.leakage if look is not None else None) or 0.0
    layer = evidence.facts.along_batch if evidence.facts is not None else None
    if layer is not None:
        unsure = evidence.facts is not None and evidence.facts.maybe_steps_first
        return [replace(_along_batch(layer, leakage), severity="hint" if unsure else "warning")]
    placed = (evidence.facts.place_leakage if evidence.facts is not None else None) or 0.0
    if not leakage > 1e-3:
        return [_by_place(placed)] if placed > 1e-3 else _by_view(evidence) or _by_softmax(evidence)
    if viewed := _by_view(evidence):
        return viewed
    return [
        Finding(
            rule="batch_leakage",
            severity="warning",
            seen="one example's output changes when another example of the batch is exchanged",
            measurements=(Measurement(name="change over rms of the output", value=leakage, threshold=1e-3),),
            cause="an operation mixes the batch dimension (batch_first, a wrong reshape, transpose or softmax dimension)",
            remedy="let nothing run over the first dimension in forward: dim=1 or -1 for dim=0 in softmax, mean and normalize, "
            "permute for view, batch_first=True where recurrent and attention layers are made",
            source="torchtest 2; own threshold",
        )
    ]


def _by_view(evidence: Evidence) -> list[Finding]:
    """What the graph shows of rows that are made of several examples'."""
    graph = reading.facts(evidence).graph
    if graph is None or graph.viewed_across is None:
        return []
    given, made = graph.viewed_across
    return [
        Finding(
            rule="batch_leakage",
            severity="warning",
            seen=f"{given} is viewed as {made}, which does not transpose: the row of each of {given[1]} examples is "
            f"made of {given[0]} pieces that stand beside each other in memory, which are of several examples",
            measurements=(Measurement(name="pieces of an example's row", value=float(given[0]), threshold=1.0),),
            cause="view or reshape brings the last state of a recurrent layer, or what else has layers first, to a "
            "row for each example",
            remedy="h.transpose(0, 1).flatten(1) in place of the view; of two directions, torch.cat([h[-2], h[-1]], dim=1)",
            source="PyTorch, torch.nn.LSTM (h_n is (directions * layers, batch, features)); read off the graph of the outputs",
        )
    ]


def _by_softmax(evidence: Evidence) -> list[Finding]:
    """What the graph of a watched loop shows, which cannot be asked with other examples."""
    facts = reading.facts(evidence)
    if facts.softmax_over_batch is None or (facts.graph is not None and facts.graph.over_batch):
        return []
    size, kinds = facts.softmax_over_batch
    return [
        Finding(
            rule="batch_leakage",
            code="batch_leakage.softmax",
            severity="warning",
            seen=f"a softmax in the model runs over the {size} examples of the batch: it takes ({size}, {kinds}) and has dim=0",
            measurements=(Measurement(name="dimension of the softmax", value=0.0, threshold=1.0),),
            cause="dim=0 in softmax: shares sum to 1 over the batch, and an answer depends on its neighbours and their number",
            remedy="dim=1 (or -1) in softmax, over what an example chooses from",
            source="PyTorch, torch.nn.functional.softmax; read off the graph of the outputs",
        )
    ]


def _by_place(change: float) -> Finding:
    """What an example is given depends on its number in the batch, as an encoding of places that is added by rows does."""
    return Finding(
        rule="batch_leakage",
        code="batch_leakage.place",
        severity="warning",
        seen="an example's output changes with its place in the batch",
        measurements=(Measurement(name="change over rms of the output", value=change, threshold=1e-3),),
        cause="something is added or chosen by number in the batch: an encoding of places made for (steps, batch, features)",
        remedy="let it go by the dimension of steps: encoding[: x.shape[1]] for (batch, steps, features), and not "
        "encoding[: x.shape[0]] with a dimension for the batch behind it",
        source="own; the same examples asked in another order",
    )


def _along_batch(layer: str, leakage: float) -> Finding:
    """Sequences run along the batch, whether the output shows it or not."""
    return Finding(
        rule="batch_leakage",
        code="batch_leakage.sequences",
        severity="warning",
        seen=f"{layer} takes the examples of the batch for the steps of a sequence",
        measurements=(Measurement(name="change over rms of the output", value=leakage, threshold=1e-3),)
        if leakage
        else (Measurement(name="such layers", value=1.0, threshold=0.0),),
        cause="the input is (batch, steps, features), and the layer is made for (steps, batch, features)",
        remedy=f"batch_first=True where {layer} is made, or transpose(0, 1) before and behind it",
        source="PyTorch, torch.nn.MultiheadAttention, torch.nn.LSTM (batch_first); asked with half of the batch",
        layers=(layer,),
    )


@rule(severities=("warning", "hint"))
def random_evaluation(evidence: Evidence) -> list[Finding]:
    """In eval mode the model answers the same batch differently when it is asked twice.

    Fires: two answers in eval mode differ by more than 1e-4 of the outputs' rms. A warning where a dropout function runs as in
        training (code `dropout`); a hint where other random numbers are drawn (code `random`), or something is kept from call
        to call (code `state`). A warning with code `shuffled`: what is kept has a row for each of the batch, each call leaves
        another there, answers and the loss of the loop's own step go by it, and the training loader's sampler draws at random.
    Why: evaluations then differ from run to run, and dropout in them lowers the accuracy. `torch.nn.functional.dropout` drops
        unless it is told `training=self.training`, whatever the mode of the model.
        The state of a sequence's first part belongs to its second: with shuffled batches each row begins with another's.
    What fools it: Monte-Carlo dropout, noise of a generator: these are meant; chains that are kept for all data alike
        (persistent contrastive divergence). A sample whose mean and scale the model makes of its input, as a variational
        autoencoder draws it, is left alone.
    Fix: torch.nn.functional.dropout(x, p, training=self.training), or a torch.nn.Dropout module.
    Source: PyTorch, `torch.nn.functional.dropout`; own check.
    """
    facts = evidence.facts
    if facts is not None and facts.shuffled_state is not None:
        return [_shuffled_state(facts.shuffled_state)]
    if facts is None or facts.evaluation_noise is None or not facts.evaluation_noise > 1e-4:
        return []
    source = facts.noise_source or "random"
    if source == "sample":
        return []
    return [
        Finding(
            rule="random_evaluation",
            code=f"random_evaluation.{source}",
            severity="warning" if source == "dropout" else "hint",
            seen=f"in eval mode two answers to the same batch differ by {facts.evaluation_noise:.2g} of their size",
            measurements=(Measurement(name="change over rms of the output", value=facts.evaluation_noise, threshold=1e-4),),
            cause={
                "dropout": "a dropout function runs as in training: training=self.training is missing",
                "random": "the model draws random numbers in eval mode",
                "state": "the model keeps something from call to call",
            }[source],
            remedy="torch.nn.functional.dropout(x, p, training=self.training), or a torch.nn.Dropout module"
            if source == "dropout"
            else "draw only in training, or seed before each evaluation; leave it where it is meant",
            source="PyTorch, torch.nn.functional.dropout",
        )
    ]


def _shuffled_state(kept: str) -> Finding:
    """A state that is handed from batch to batch, of which the rows are others each time."""
    return Finding(
        rule="random_evaluation",
        code="random_evaluation.shuffled",
        severity="warning",
        seen=f"model.{kept} keeps a row for each of the batch from call to call, and the training loader shuffles: each "
        "example starts from the state that another one left",
        measurements=(Measurement(name="states that are kept", value=1.0, threshold=0.0),),
        cause="a state that is carried over needs batches in which row i continues row i of the batch before",
        remedy="shuffle=False, with row i of each batch the continuation of row i before; or a state of zeros in each call",
        source="PyTorch, torch.nn.LSTM (h_0); asked twice",
    )


@rule(severities=("warning",))
def cannot_overfit(evidence: Evidence) -> list[Finding]:
    """One batch cannot be memorised.

    Fires: after 50 or more steps on one batch the loss is above half of what it was; or, where the loss is the plain
        cross-entropy, at 0.9 or more of the entropy of the batch's labels.
    Why: a net with more parameters than the batch has labels can memorise it. The entropy of the labels is what a net reaches
        that sees no image and only learns how frequent each label is.
    What fools it: equal images with different labels, a net that starts far below chance, and so few steps at so small a rate
        that nothing could be learned.
    Fix: look at the other findings; if there is none, check that loss_fn uses the model's output and the labels.
    Source: Karpathy, A Recipe for Training Neural Networks, 2019; TheDeepChecker, TOSEM 2022; own thresholds.
    """
    probe = evidence.probe
    if probe is None or probe.overfit_loss is None or (probe.overfit_steps or 0) < 50:
        return []
    # A loss that is no cross-entropy (halved, summed) has another floor.
    is_plain = probe.cross_entropy is not None and math.isclose(probe.loss, probe.cross_entropy, rel_tol=0.01)
    blind = 0.9 * probe.label_entropy if is_plain and probe.label_entropy else 0.0
    if probe.overfit_loss <= 0.5 * probe.loss and not (blind and probe.overfit_loss >= blind):
        return []
    return [
        Finding(
            rule="cannot_overfit",
            severity="warning",
            seen=f"after {probe.overfit_steps} steps on one batch the loss is {probe.overfit_loss:.3f}, from {probe.loss:.3f}",
            measurements=(
                Measurement(name="loss after overfitting", value=probe.overfit_loss, unit="nats", threshold=0.5 * probe.loss),
                Measurement(name="loss of a net that sees no image", value=probe.label_entropy or math.nan, unit="nats"),
            ),
            cause="no learnable path from input to loss, or labels that contradict each other",
            remedy="look at the findings above; if there is none, check that loss_fn uses the model's output and labels",
            source="TheDeepChecker, TOSEM 2022",
        )
    ]


@rule(
    severities=("warning", "hint"),
    explains=("activation_scale", "plateau", "prediction_collapse", "constant_as_good", "cannot_overfit", "update_ratio"),
    predicts=True,
)
def constant_output(evidence: Evidence) -> list[Finding]:
    """Every example gets the same logits: the output does not depend on the input.

    Fires: the standard deviation of a logit over the batch is below 1e-3 of the logits' rms. A hint under an optimizer that
        divides by the gradient's own size, as Adam does, unless outputs differ by less than 1e-5 of their size at every look of
        a rehearsal of 50 steps and a tenth of the plan, and hidden biases start at zero or a run of 100 steps has not learned
        either. Code `mask`: such a rehearsal, and an attention's output is zero at the start. Code `norm`: at the first step a
        normalisation's output is below 1e-3 of its scale, so what it is given does not differ within what it normalises over;
        or a layer is given a mean straight over a normalisation's output, the same for every example to 1e-5, and so is the
        answer.
    Why: healthy deep ReLU nets show 0.1 or more. Below 1e-3 the gradient is nearly the same for every example, and all that
        SGD can learn is how frequent each label is. A single number less its own mean is zero, and so is a constant.
    What fools it: a batch of nearly equal inputs, and a last bias that is large on purpose.
    Fix: start biases at zero and weights with std sqrt(2 / fan_in); check that the input is not constant; a norm over several
        numbers (fewer groups, another place, LayerNorm).
    Source: Wardat et al., DeepDiagnosis, ICSE 2022; own threshold.
    """
    if (pooled := reading.facts(evidence).pooled_norm) is not None and not reading.has_learned(evidence):
        return [_pooled(*pooled)]
    if emptied := reading.emptied_norms(evidence):
        return [_emptied(emptied)]
    probe = evidence.probe
    if probe is None or probe.logit_spread is None or not probe.logit_rms or probe.batch_size < 2:
        return []
    share = probe.logit_spread / probe.logit_rms
    if not share < 1e-3:
        return []
    masked = [s for s in probe.layers if attends_to_nothing(evidence, s)] if outputs_stay_alike(evidence) else []
    stays = bool(masked) or constant_for_good(evidence)
    return [
        Finding(
            rule="constant_output",
            code="constant_output.mask" if masked else "constant_output",
            severity="hint" if reading.is_adaptive(evidence) and not stays else "warning",
            seen=f"logits differ between examples by {share:.1e} of their size"
            + (", after the rehearsed steps as before" if stays else ""),
            measurements=(Measurement(name="spread over examples / rms", value=share, threshold=1e-3),),
            cause=f"{reading.called(masked[0])} puts out zeros: all that it may attend to is padding"
            if masked
            else "biases drown a signal that the layers have shrunk, or the input is constant",
            remedy=inverted_mask(masked[0].name) if masked else drawn_for_signal(evidence, probe.layers),
            source="DeepDiagnosis, ICSE 2022; own threshold",
            layers=reading.names(masked),
            explains=("untrained_parameter",) if stays else (),
        )
    ]


def _pooled(layer: str, norm: str) -> Finding:
    """InstanceNorm in front of a global average pool."""
    called = as_code(norm) if norm else "a normalisation"
    return Finding(
        rule="constant_output",
        code="constant_output.norm",
        severity="warning",
        seen=f"{as_code(layer)} is given a mean over the output of {called}: the same numbers for every example, and so is the "
        "answer",
        measurements=(Measurement(name="spread over examples", value=0.0, threshold=0.0),),
        cause=f"{called} brings each example to mean zero over just those places that the mean then goes over",
        remedy=f"torch.nn.ReLU() between {called} and the pooling; or a normalisation over the batch or over channels in its "
        "place (BatchNorm, GroupNorm with several channels in a group)",
        source="own; Ulyanov, Vedaldi and Lempitsky, Instance Normalization, arXiv 1607.08022, eq. (3)",
        layers=(layer,),
        explains=("vanishing_gradient", "untrained_parameter"),
    )


def _emptied(norms: list[LayerStats]) -> Finding:
    share = (norms[0].activation_rms or 0.0) / (norms[0].weight_rms or 1.0)
    return Finding(
        rule="constant_output",
        code="constant_output.norm",
        severity="warning",
        seen=f"the output of {reading.called(norms[0])} is {share:.1g} of its scale: it is given equal numbers, or one",
        measurements=(Measurement(name="output over scale", value=share, threshold=reading.EMPTIED),),
        cause="a normalisation takes the mean of a single number, or of equal ones, and nothing is left",
        remedy=f"let {as_code(norms[0].name)} normalise over several numbers: fewer groups, LayerNorm, or before the pooling",
        source="own; Wu and He, Group Normalization, ECCV 2018, eq. (1)-(2)",
        layers=reading.names(norms),
    )


@rule(severities=("warning",))
def collapsed_output(evidence: Evidence) -> list[Finding]:
    """Training makes the outputs of all examples alike.

    Fires: in 50 rehearsed steps or more, under a loss of an unknown kind, the standard deviation of the outputs over the
        examples of a fixed batch falls below a tenth of what it was, and below a fifth of the outputs' rms; and so does the
        loss, below a tenth. Code `pulled`: the loss is a function of the products of all pairs, pulls some together from both
        sides, pushes none apart, near each other or not, and is as low with one output for all as with any; of what a step's
        parts return, too, where an encoder and a predictor are called by themselves.
    Why: a loss that is lowest where every output is the same is met by a constant, and falls to it without anything learned:
        pairs that are only pulled together, a target that the model makes itself. Of 66 sound programs the spread of none fell
        below three tenths.
    What fools it: targets that hardly differ between examples, under a loss that is not recognised.
    Fix: a smaller weight for a penalty that a constant meets; or something in the loss that keeps unlike examples apart
        (negative pairs, a margin, a variance term), or a target that the model does not make itself (detach it).
    Source: Hadsell, Chopra and LeCun, Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006, section 2; own
        limits.
    """
    forces = reading.facts(evidence).pair_forces
    pulls_only = forces is not None and not forces.num_pushed and forces.same_is_lowest
    if forces is not None and pulls_only and forces.num_mutual >= forces.num_examples / 4:
        return [_pulled_only(forces)]
    rehearsal = evidence.rehearsal
    seen = rehearsal.reference if rehearsal is not None else ()
    if rehearsal is None or rehearsal.opposed or rehearsal.task.kind != "unknown" or len(rehearsal.steps) < 50 or len(seen) < 2:
        return []
    first, last = seen[0], seen[-1]
    if not first.output_spread or last.output_spread is None or not last.output_rms:
        return []
    share = last.output_spread / first.output_spread
    # A loss that such outputs do not meet is left again: a codebook is first used at one place.
    if share >= COLLAPSED or last.output_spread >= 0.2 * last.output_rms or not 0 <= last.loss < COLLAPSED * first.loss:
        return []
    return [
        Finding(
            rule="collapsed_output",
            severity="warning",
            seen=f"after {last.step} steps outputs differ between examples by {share:.1g} of what they did; the loss went from "
            f"{first.loss:.3g} to {last.loss:.3g}",
            measurements=(Measurement(name="spread of the outputs now over at the start", value=share, threshold=COLLAPSED),),
            cause="the loss is lowest where all outputs are the same",
            remedy="a smaller weight for the term that one answer for all meets (a penalty of codes or weights: its mean, not "
            "its sum); of pairs, keep unlike examples apart (negative pairs, a margin), or detach a target of its own making",
            source="Hadsell, Chopra and LeCun, CVPR 2006, section 2; own limits",
        )
    ]


def _pulled_only(forces: PairForces) -> Finding:
    return Finding(
        rule="collapsed_output",
        code="collapsed_output.pulled",
        severity="warning",
        seen=f"the loss pulls {forces.num_mutual} pairs of outputs together from both sides, and pushes none apart",
        measurements=(
            Measurement(name="pairs pulled together", value=float(forces.num_pulled)),
            Measurement(name="pairs pushed apart", value=float(forces.num_pushed), threshold=1.0),
        ),
        cause="the loss is lowest where all outputs are the same",
        remedy="detach() the side that is the target (as SimSiam and BYOL do), or push unlike examples apart in the loss",
        source="Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021, section 4.1",
    )
