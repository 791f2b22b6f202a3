"""The model's outputs on one batch: whether they depend on the input, and on nothing else."""

import math
from dataclasses import replace

from trainability.doctor import reading
from trainability.doctor.as_code import as_code
from trainability.doctor.evidence import Evidence
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
        "sees_future",  # tested by replacing the later tokens of all examples
    ),
)
def batch_leakage(evidence: Evidence) -> list[Finding]:
    """In eval mode, an example's output depends on its neighbours or place in the batch.

    Fires: with another neighbour, before or after it in the batch, an example's output changes by more than 1e-3 of the
        outputs' rms, though it does not change when the same batch is run twice. Code `sequences`: a recurrent or
        attention layer without batch_first is given as many steps as there are examples, and half as many for half of
        the batch; in a watched loop, where the loss has one output for each of the layer's steps, and the number of
        these differs from that of its examples; or a loader's own collate function stacks (steps, examples, ...), whose
        second size is the batch size, and examples along the second dimension influence each other. Code `place`: the
        output does not change with the neighbours, but changes by as much when the batch is run in another order. Code
        `softmax`: there, or in a watched run, a softmax of the forward pass takes (examples, 2 or more) and runs over
        the examples. The same where (layers, examples, features), with fewer layers than examples, is viewed as a row for
        each example.
    Why: in eval mode each example should be computed by itself. All batches in the test have the same size, so that even the
        rounding is equal; an operation that mixes the batch changes outputs by a large part of their size. An LSTM that takes
        the batch as time leaks in one direction only.
    What fools it: models that compare examples on purpose (in-batch retrieval); outputs with an entry per pair of examples are
        left out, and so are batch norm without running statistics and, for `place`, models that draw random numbers. Silent
        where rows are no examples: where a `DataLoader` does not batch (batch_size=None), and where it yields the rows of a
        series in order, a recurrent layer takes them unbatched, and the model returns its state. With batches of (steps,
        batch): silent where targets are the next steps, or one per sequence; a hint where there is a target for each step and
        the examples were not stacked by PyTorch's DataLoader, as in a tagger.
    Fix: check batch_first= of recurrent and attention layers, and every view, reshape, permute and dim= in the model's forward.
    Source: the test of mixed batch dimensions by Karpathy, A Recipe for Training Neural Networks, 2019; own threshold.
    """
    # The facts test twice, in both directions, and not where an output belongs to a pair of examples.
    look = evidence.facts if evidence.facts is not None and evidence.facts.output_shape is not None else evidence.probe
    leakage = (look.leakage if look is not None else None) or 0.0
    layer = evidence.facts.along_batch if evidence.facts is not None else None
    if layer is not None:
        unsure = evidence.facts is not None and evidence.facts.maybe_steps_first
        return [replace(_along_batch(layer, leakage), severity="hint" if unsure else "warning")]
    placed = (evidence.facts.place_leakage if evidence.facts is not None else None) or 0.0
    if not leakage > 1e-3:
        return [_by_place(placed)] if placed > 1e-3 else _by_view(evidence) or _by_softmax(evidence)
    if told := _by_view(evidence) or _by_softmax(evidence):
        return told
    is_second = reading.facts(evidence).stacked_second
    return [
        Finding(
            rule="batch_leakage",
            code="batch_leakage.sequences" if is_second else "batch_leakage",
            severity="warning",
            seen="an example's output changes when another example of the batch is replaced",
            measurements=(Measurement(name="change over rms of the output", value=leakage, threshold=1e-3),),
            cause="the loader stacks (steps, examples, ...), and the model takes (examples, steps, ...)"
            if is_second
            else "an operation mixes the batch dimension (batch_first, a wrong reshape, transpose or softmax dimension)",
            remedy="stack (examples, steps, ...) in the collate function, pad_sequence(..., batch_first=True); or "
            "batch_first=False in the model's layers"
            if is_second
            else "do not operate over the first dimension in forward: dim=1 or -1 instead of dim=0 in softmax, mean and "
            "normalize, permute instead of view, batch_first=True in recurrent and attention layers",
            source="torchtest 2; own threshold",
        )
    ]


def _by_view(evidence: Evidence) -> list[Finding]:
    """Rows made of several examples, as the graph shows them."""
    graph = reading.facts(evidence).graph
    if graph is None or graph.viewed_across is None:
        return []
    given, made = graph.viewed_across
    return [
        Finding(
            rule="batch_leakage",
            severity="warning",
            seen=f"{given} is viewed as {made}, which does not transpose: the row of each of {given[1]} examples is made of "
            f"{given[0]} pieces that are adjacent in memory and belong to several examples",
            measurements=(Measurement(name="pieces of an example's row", value=float(given[0]), threshold=1.0),),
            cause="view or reshape turns the last state of a recurrent layer, or another tensor with layers first, into a "
            "row for each example",
            remedy="h.transpose(0, 1).flatten(1) instead of the view; for two directions, torch.cat([h[-2], h[-1]], dim=1)",
            source="PyTorch, torch.nn.LSTM (h_n is (directions * layers, batch, features)); read off the graph of the outputs",
        )
    ]


def _by_softmax(evidence: Evidence) -> list[Finding]:
    """Leakage as the graph shows it: of a watched loop without other examples."""
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
            cause="dim=0 in softmax: probabilities sum to 1 over the batch, and an output depends on its neighbours and "
            "their number",
            remedy="dim=1 (or -1) in softmax, over the choices of one example",
            source="PyTorch, torch.nn.functional.softmax; read off the graph of the outputs",
        )
    ]


def _by_place(change: float) -> Finding:
    """Inputs that depend on the index in the batch, such as a positional encoding added by rows."""
    return Finding(
        rule="batch_leakage",
        code="batch_leakage.place",
        severity="warning",
        seen="an example's output changes with its place in the batch",
        measurements=(Measurement(name="change over rms of the output", value=change, threshold=1e-3),),
        cause="something is added or selected by index in the batch, for example a positional encoding for (steps, batch, "
        "features)",
        remedy="index it by step: encoding[: x.shape[1]] for (batch, steps, features), not encoding[: x.shape[0]] with a "
        "batch dimension after it",
        source="own; the same examples in another order",
    )


def _along_batch(layer: str, leakage: float) -> Finding:
    """Sequences that run along the batch, whether or not the output shows it."""
    return Finding(
        rule="batch_leakage",
        code="batch_leakage.sequences",
        severity="warning",
        seen=f"{layer} takes the examples of the batch as the steps of a sequence",
        measurements=(Measurement(name="change over rms of the output", value=leakage, threshold=1e-3),)
        if leakage
        else (Measurement(name="such layers", value=1.0, threshold=0.0),),
        cause="the input is (batch, steps, features), and the layer expects (steps, batch, features)",
        remedy=f"batch_first=True for {layer}, or transpose(0, 1) before and after it",
        source="PyTorch, torch.nn.MultiheadAttention, torch.nn.LSTM (batch_first); own: run with half of the batch",
        layers=(layer,),
    )


@rule(severities=("warning", "hint"))
def random_evaluation(evidence: Evidence) -> list[Finding]:
    """In eval mode, the model's outputs differ when the same batch is run twice.

    Fires: two runs in eval mode differ by more than 1e-4 of the outputs' rms. A warning where a dropout function is active as
        in training (code `dropout`); a hint where other random numbers are drawn (code `random`), or the model keeps something
        from call to call (code `state`). A warning with code `shuffled`: the model keeps a row for each example of the batch,
        each call changes it, the outputs and the loss of the loop's own step depend on it, and the training loader's sampler is
        random.
    Why: evaluations then differ from run to run, and dropout in them lowers the accuracy. `torch.nn.functional.dropout` drops
        unless `training=self.training` is passed, whatever the model's mode. The state left by the first part of a sequence
        belongs to its second part: with shuffled batches, each row starts with another example's state.
    What fools it: Monte-Carlo dropout and a generator's noise, which are intended; chains that are kept for all data alike
        (persistent contrastive divergence). A sample whose mean and scale the model computes from its input, as in a
        variational autoencoder, is left alone.
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
            seen=f"in eval mode, two outputs for the same batch differ by {facts.evaluation_noise:.2g} of their size",
            measurements=(Measurement(name="change over rms of the output", value=facts.evaluation_noise, threshold=1e-4),),
            cause={
                "dropout": "a dropout function is active as in training: training=self.training is missing",
                "random": "the model draws random numbers in eval mode",
                "state": "the model keeps something from call to call",
            }[source],
            remedy="torch.nn.functional.dropout(x, p, training=self.training), or a torch.nn.Dropout module"
            if source == "dropout"
            else "draw only in training, or seed before each evaluation; leave it if it is intended",
            source="PyTorch, torch.nn.functional.dropout",
        )
    ]


def _shuffled_state(kept: str) -> Finding:
    """A state carried from batch to batch, while the rows of the batch change."""
    return Finding(
        rule="random_evaluation",
        code="random_evaluation.shuffled",
        severity="warning",
        seen=f"model.{kept} keeps a row for each example from call to call, and the training loader shuffles: each example "
        "starts from the state of another one",
        measurements=(Measurement(name="states kept", value=1.0, threshold=0.0),),
        cause="a state that is carried over needs batches in which row i continues row i of the previous batch",
        remedy="shuffle=False, with row i of each batch continuing row i of the previous one; or start from a state of zeros "
        "in each call",
        source="PyTorch, torch.nn.LSTM (h_0); own: run twice",
    )


@rule(severities=("warning",))
def cannot_overfit(evidence: Evidence) -> list[Finding]:
    """One batch cannot be memorised.

    Fires: after 50 or more steps on one batch the loss is above half of its first value; or, where the loss is plain
        cross-entropy, at least 0.9 of the entropy of the batch's labels.
    Why: a net with more parameters than the batch has labels can memorise it. The entropy of the labels is what a net reaches
        that ignores the image and only learns the class frequencies.
    What fools it: equal images with different labels, a net that starts far below chance, and too few steps at too small a rate
        to learn anything.
    Fix: look at the other findings; if there is none, check that loss_fn uses the model's output and the labels.
    Source: Karpathy, A Recipe for Training Neural Networks, 2019; TheDeepChecker, TOSEM 2022; own thresholds.
    """
    probe = evidence.probe
    if probe is None or probe.overfit_loss is None or (probe.overfit_steps or 0) < 50:
        return []
    # A loss other than cross-entropy (halved, summed) has another floor.
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
                Measurement(name="loss of a net that ignores the image", value=probe.label_entropy or math.nan, unit="nats"),
            ),
            cause="no learnable path from input to loss, or labels that contradict each other",
            remedy="look at the findings above; if there are none, check that loss_fn uses the model's output and the labels",
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
        divides by the gradient's own size, such as Adam, unless outputs differ by less than 1e-5 of their size throughout a
        rehearsal of 50 steps and a tenth of the plan, and hidden biases start at zero or a run of 100 steps has not learned
        either. Code `mask`: such a rehearsal, where an attention's output is zero at the start. Code `norm`: at the first step
        a normalisation's output is below 1e-3 of its scale, because its input is constant over what it normalises; or a layer's
        input is a mean taken directly of a normalisation's output, the same for every example to 1e-5, and so is the model's
        output.
    Why: healthy deep ReLU nets show 0.1 or more. Below 1e-3 the gradient is almost the same for every example, and all that SGD
        can learn is the class frequencies. A single number minus its own mean is zero, and so is a constant.
    What fools it: a batch of almost equal inputs, and a last bias that is large on purpose.
    Fix: start biases at zero and weights with std sqrt(2 / fan_in); check that the input is not constant; normalise over
        several numbers (fewer groups, another place, LayerNorm).
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
            + (", before and after the rehearsed steps" if stays else ""),
            measurements=(Measurement(name="spread over examples / rms", value=share, threshold=1e-3),),
            cause=f"{reading.called(masked[0])} outputs zeros: it may attend to padding only"
            if masked
            else "biases drown a signal that the layers have shrunk, or the input is constant",
            remedy=inverted_mask(masked[0].name) if masked else drawn_for_signal(evidence, probe.layers),
            source="DeepDiagnosis, ICSE 2022; own threshold",
            layers=reading.names(masked),
            explains=("untrained_parameter",) if stays else (),
        )
    ]


def _pooled(layer: str, norm: str) -> Finding:
    """InstanceNorm before a global average pool."""
    called = as_code(norm) if norm else "a normalisation"
    return Finding(
        rule="constant_output",
        code="constant_output.norm",
        severity="warning",
        seen=f"the input of {as_code(layer)} is a mean over the output of {called}: it is the same for every example, and so "
        "is the model's output",
        measurements=(Measurement(name="spread over examples", value=0.0, threshold=0.0),),
        cause=f"{called} normalises each example to mean zero over the same places that the mean is taken over",
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
        seen=f"the output of {reading.called(norms[0])} is {share:.1g} of its scale: its input is constant, or a single number",
        measurements=(Measurement(name="output over scale", value=share, threshold=reading.EMPTIED),),
        cause="a normalisation subtracts the mean from a single number, or from equal ones, and nothing is left",
        remedy=f"let {as_code(norms[0].name)} normalise over several numbers: fewer groups, LayerNorm, or place it before the "
        "pooling",
        source="own; Wu and He, Group Normalization, ECCV 2018, eq. (1)-(2)",
        layers=reading.names(norms),
    )


@rule(severities=("warning",))
def collapsed_output(evidence: Evidence) -> list[Finding]:
    """Training makes the outputs of all examples equal.

    Fires: in 50 rehearsed steps or more, under an unknown loss, the standard deviation of the outputs over the examples of a
        fixed batch falls below a tenth of its initial value and below a fifth of the outputs' rms, and the loss falls below a
        tenth. Code `pulled`: the loss is a function of the products of all pairs, pulls some pairs together from both sides and
        pushes none apart, whether near each other or not, and is as low with one output for all as with any other; also for the
        outputs of a step's parts, where an encoder and a predictor are called separately.
    Why: a loss whose minimum is reached when all outputs are the same falls to it without learning anything: pairs that are
        only pulled together, or a target that the model makes itself. Of 66 sound programs, none had a spread below three
        tenths.
    What fools it: targets that hardly differ between examples, under a loss that is not recognised.
    Fix: a smaller weight for a penalty that a constant minimises; or a term that keeps unlike examples apart (negative pairs, a
        margin, a variance term), or a target that the model does not make itself (detach it).
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
    # Outputs under another loss separate again: a codebook is first used at one entry only.
    if share >= COLLAPSED or last.output_spread >= 0.2 * last.output_rms or not 0 <= last.loss < COLLAPSED * first.loss:
        return []
    return [
        Finding(
            rule="collapsed_output",
            severity="warning",
            seen=f"after {last.step} steps outputs differ between examples by {share:.1g} of their initial spread; the loss "
            f"went from {first.loss:.3g} to {last.loss:.3g}",
            measurements=(Measurement(name="spread of the outputs now over at the start", value=share, threshold=COLLAPSED),),
            cause="the loss is lowest where all outputs are the same",
            remedy="a smaller weight for the term that a constant output minimises (a penalty on codes or weights: its mean, "
            "not its sum); for pairs, keep unlike examples apart (negative pairs, a margin), or detach a target that the "
            "model makes itself",
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
        remedy="with labels, push unlike examples apart: if the loss takes their least distance, dist.masked_fill(same, "
        "float('inf')).min(dim=1), not dist * ~same, whose least value is always 0; without labels, detach() the side that is "
        "the target, as SimSiam and BYOL do",
        source="Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021, section 4.1",
    )
