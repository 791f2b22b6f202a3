"""The model's outputs on one batch: whether they depend on anything but the example."""

from dataclasses import replace

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule


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
        "loss_at_start",
        "sees_future",  # tested by replacing the later tokens of all examples
    ),
)
def batch_leakage(evidence: Evidence) -> list[Finding]:
    """In eval mode, an example's output depends on its neighbours or place in the batch.

    Fires: with another neighbour, before or after it in the batch, an example's output changes by more than 1e-3 of the
        outputs' rms, though it does not change when the same batch is run twice. Code `sequences`: a recurrent or attention
        layer without batch_first is given as many steps as there are examples, and half as many for half of the batch; in a
        watched loop, where the loss has one output for each of the layer's steps, and the number of these differs from that of
        its examples; or a loader's own collate function stacks (steps, examples, ...), whose second size is the batch size, and
        examples along the second dimension influence each other. Code `place`: the output does not change with the neighbours,
        but changes by as much when the batch is run in another order. Code `reordered`: the outputs of up to 16 examples in
        another order are the same rows, to 1e-4, at other places. Code `softmax`: there, or in a watched run, a softmax of the
        forward pass takes (examples, 2 or more) and runs over the examples. The same where (layers, examples, features), with
        fewer layers than examples, is viewed as a row for each example. Code `normalised`: the logits of cross-entropy are
        products of two tables whose columns have unit length, each over the examples of the batch, and whose rows do not.
    Why: in eval mode each example should be computed by itself. All batches in the test have the same size, so that even the
        rounding is equal; an operation that mixes the batch changes outputs by a large part of their size. An LSTM that takes
        the batch as time leaks in one direction only.
    What fools it: models that compare examples on purpose (in-batch retrieval); outputs with an entry per pair of examples are
        left out, and so are batch norm without running statistics and, for `place`, models that draw random numbers. Silent
        where rows are no examples: where a `DataLoader` does not batch (batch_size=None); where a recurrent layer takes the
        rows for the steps of one sequence, and the first batches, or the sampled steps, have three lengths or more; and where
        it yields the rows of a series in order, and the model returns its state. With batches of (steps, batch): silent where
        targets are the next steps, or one per sequence; a hint where there is a target for each step and the examples were not
        stacked by PyTorch's DataLoader, as in a tagger.
    Fix: check batch_first= of recurrent and attention layers, training= of functional.batch_norm, and every view, reshape,
        permute and dim= in the model's forward.
    Source: the test of mixed batch dimensions by Karpathy, A Recipe for Training Neural Networks, 2019; own threshold.
    """
    if reading.rows_are_steps(evidence):
        return []
    if reading.facts(evidence).over_examples:
        return [_over_examples()]
    # The facts test twice, in both directions, and not where an output belongs to a pair of examples.
    look = evidence.facts if evidence.facts is not None and evidence.facts.output_shape is not None else evidence.probe
    leakage = (look.leakage if look is not None else None) or 0.0
    layer = evidence.facts.along_batch if evidence.facts is not None else None
    if layer is not None:
        unsure = evidence.facts is not None and evidence.facts.maybe_steps_first
        return [replace(_along_batch(layer, leakage), severity="hint" if unsure else "warning")]
    placed = (evidence.facts.place_leakage if evidence.facts is not None else None) or 0.0
    if reading.facts(evidence).reordered:
        return [_reordered(max(leakage, placed))]
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
            "normalize, permute instead of view, batch_first=True in recurrent and attention layers, training=self.training in "
            "functional.batch_norm",
            source="torchtest 2; own threshold",
        )
    ]


def _reordered(change: float) -> Finding:
    """Examples that the model sorts, as for packing, and returns as they are then."""
    return Finding(
        rule="batch_leakage",
        code="batch_leakage.reordered",
        severity="warning",
        seen="the model returns each example's output at another place than the example has in the batch",
        measurements=(Measurement(name="change over rms of the output", value=change, threshold=1e-3),),
        cause="forward sorts or shuffles the examples of the batch and does not put their outputs back: each is compared with "
        "another example's target",
        remedy="restore the original order after sorting: outputs = outputs[order.argsort()] with order as it was used to "
        "sort; or leave the sort out, with enforce_sorted=False in pack_padded_sequence",
        source="PyTorch, torch.nn.utils.rnn.pack_padded_sequence; own: the same examples in another order",
    )


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
        else (Measurement(name="layers that run along the batch", value=1.0, threshold=0.0),),
        cause="the input is (batch, steps, features), and the layer expects (steps, batch, features)",
        remedy=f"batch_first=True for {layer}, or transpose(0, 1) before and after it",
        source="PyTorch, torch.nn.MultiheadAttention, torch.nn.LSTM (batch_first); own: run with half of the batch",
        layers=(layer,),
    )


def _over_examples() -> Finding:
    """Embeddings that are normalised along the wrong dimension."""
    return Finding(
        rule="batch_leakage",
        code="batch_leakage.normalised",
        severity="warning",
        seen="embeddings that are multiplied with each other, for cross-entropy, have unit length in each column, over the "
        "examples of the batch, and not in each row",
        measurements=(Measurement(name="length of each column", value=1.0, threshold=1e-3),),
        cause="they are normalised over the examples: each one depends on all others, and their products are no cosines",
        remedy="normalise each example: torch.nn.functional.normalize(z, dim=1), not dim=0",
        source="PyTorch, torch.nn.functional.normalize; own, lengths of rows and columns",
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
