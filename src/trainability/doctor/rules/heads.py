"""Attention heads, and places that layers work along."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.graph_facts import MisreadHeads
from trainability.doctor.rules.parameters import SYMPTOMS
from trainability.doctor.rules.rule import rule

EXPLAINED = (*SYMPTOMS, "shuffled_labels", "constant_as_good", "overfit", "ignored_end", "sees_future", "batch_leakage")


@rule(severities=("warning",), explains=EXPLAINED)
def misread_heads(evidence: Evidence) -> list[Finding]:
    """Attention heads, or places, are taken by a view instead of a transpose.

    Fires: in the graph of the loss, the input of attention, (batch, heads, places, width) or (batch * heads, places, width), is
        a view or reshape of (batch, places, heads * width), with more than one head, and with another number of heads than
        places; or the result of attention in that shape is viewed as (batch, places, heads * width). Attention is a product
        after a softmax over the same heads and places, or `scaled_dot_product_attention`. Code `frames`: a layer with weights,
        or attention, reads (batch, places, features) or (batch * places, features), which is a view or reshape of what a
        convolution returns, (batch, channels, ..., places), and where the number of channels is no multiple of that of the
        places; or of any (batch, ..., places), the model's inputs included, where the view cuts rows in the middle, as no
        merging, splitting or windows do; or of looked-up words, (batch, words, features), that a convolution reads. Code
        `steps`: a recurrent layer or attention without batch_first gets the batch, (batch, steps, features), viewed as (steps,
        batch, features). Code `weights`: a softmax of products of two tensors runs over another dimension than the one over
        which the product with the values sums; an assignment, of which each row is shared out and columns are taken, is none.
        Code `mask`: scores that are filled with a number right before the softmax, by masked_fill or where, keep a tenth or
        more of the weight of other keys of the row, the median of the rows, and the weights are not multiplied, divided or
        masked again before they sum values.
    Why: a view keeps the order in memory. With four heads, each head then gets a quarter of the places, each cut into four
        pieces that act as places of their own, and sees none of the others; if heads are merged by a view, the output at a
        place is made of the results for other places. If (batch, channels, time) is viewed as (batch, time, channels), a layer
        reads consecutive time steps of one channel as one time step. Shapes are read, so this is certain. Weights that do not
        add up to 1 over what they weigh give each query a sum of any size.
    What fools it: a feature map that is cut into as many tokens as it has places, on purpose.
    Fix: x.view(batch, places, heads, width).transpose(1, 2) before attention, and y.transpose(1, 2).reshape(batch, places,
        heads * width) after it; for places, the permute that moves them to the front, and then the reshape.
    Source: PyTorch, `torch.Tensor.view` and `torch.nn.functional.scaled_dot_product_attention` (shapes); own check.
    """
    facts = reading.facts(evidence)
    graph = facts.graph
    if graph is not None and graph.heads is None and graph.attention_axes is not None:
        return [_weights(*graph.attention_axes)]
    if graph is None or graph.heads is None:
        return [_soft_mask(*facts.readings.soft_mask)] if facts.readings.soft_mask is not None else []
    found = {"places": _places, "steps": _steps}.get(graph.heads.kind, _heads)
    return [found(graph.heads)]


def _weights(shape: tuple[int, ...], dim: int, summed: int) -> Finding:
    return Finding(
        rule="misread_heads",
        code="misread_heads.weights",
        severity="warning",
        seen=f"attention weights {shape} add up to 1 over dimension {dim}, and are summed over dimension {summed}",
        measurements=(Measurement(name="dimension of the softmax", value=float(dim), threshold=float(summed)),),
        cause="the softmax of the attention runs over the queries, heads or examples, and not over the keys",
        remedy=f"scores.softmax(dim={summed - len(shape)}): the dimension of the keys, over which the values are summed"
        if summed == len(shape) - 1
        else f"softmax over dimension {summed - len(shape)}; or exchange the last two dimensions of the weights before the "
        "product with the values: weights.transpose(-2, -1)",
        source="Vaswani et al., Attention Is All You Need, 2017, equation (1); read off the graph of the loss",
    )


def _soft_mask(shape: tuple[int, ...], weight: float) -> Finding:
    return Finding(
        rule="misread_heads",
        code="misread_heads.mask",
        severity="warning",
        seen=f"in attention weights {shape} a masked key has {weight:.2g} times the weight of one that is not masked",
        measurements=(Measurement(name="weight of a masked key over that of another", value=weight, threshold=0.1),),
        cause="masked scores are filled with a number that is not far below the others, such as 1e-9 in place of -1e9: what "
        "the mask hides is read all the same",
        remedy='scores.masked_fill(mask, float("-inf")), or torch.finfo(scores.dtype).min, before the softmax',
        source="PyTorch, torch.nn.functional.scaled_dot_product_attention (attn_mask); read off the graph of the loss",
    )


def _heads(found: MisreadHeads) -> Finding:
    split = found.kind == "split"
    size, places, wide = found.given if split else found.made
    one = found.made if split else found.given
    heads = one[1] if len(one) == 4 else one[0] // size
    width = wide // heads
    return Finding(
        rule="misread_heads",
        severity="warning",
        seen=f"{found.given} is viewed as {found.made} "
        + (
            f"before attention, which does not transpose: each of {heads} heads sees pieces of {places / heads:g} of "
            f"{places} places, and none of the other places"
            if split
            else f"after attention, which does not transpose: the output at each of {places} places is made of one head's "
            "results for other places"
        ),
        measurements=(Measurement(name="heads", value=float(heads), threshold=1.0),),
        cause="view or reshape instead of a transpose where heads are "
        + ("split from queries, keys and values" if split else "merged again"),
        remedy=f"for queries, keys and values x.view(len(x), x.shape[1], {heads}, {width}).transpose(1, 2), and after "
        f"attention y.transpose(1, 2).reshape(len(y), -1, {wide})",
        source="PyTorch, torch.Tensor.view; read off the graph of the loss",
    )


def _places(found: MisreadHeads) -> Finding:
    size, *dims = found.given
    features = found.made[-1]
    places = found.made[1] if len(found.made) == 3 else found.made[0] // size
    ones = [k + 1 for k, n in enumerate(dims) if n == places and k]
    moved = ones[-1:] or list(range(2, len(found.given)))
    order = (0, *moved, *(k for k in range(1, len(found.given)) if k not in moved))
    shape = f"(len(x), {places}, {features})" if len(found.made) == 3 else f"(-1, {features})"
    permuted = tuple(found.given[k] for k in order)
    return Finding(
        rule="misread_heads",
        code="misread_heads.frames",
        severity="warning",
        seen=f"{found.given} is viewed as {found.made} before a layer reads it, and a view does not transpose: each of the "
        f"{places} rows is made of {features} adjacent numbers in memory, which belong to several of the {places} places",
        measurements=(Measurement(name="numbers in a row", value=float(features), threshold=1.0),),
        cause="view or reshape instead of a permute where a dimension (time, pixels, features) is moved to the front",
        remedy=f"x.permute{order} before it, which gives {permuted}, then .reshape{shape}",
        source="PyTorch, torch.Tensor.view; read off the graph of the loss",
    )


def _steps(found: MisreadHeads) -> Finding:
    size, steps, _ = found.given
    return Finding(
        rule="misread_heads",
        code="misread_heads.steps",
        severity="warning",
        seen=f"{found.given} is viewed as {found.made} before a layer that takes the first dimension for the steps, and a view "
        f"does not transpose: each of its {size} sequences is made of steps of several of the {size} examples",
        measurements=(Measurement(name="steps", value=float(steps), threshold=1.0),),
        cause="view or reshape instead of a transpose where the batch is moved behind the steps",
        remedy="x.transpose(0, 1) in place of the view; or batch_first=True for the layer, and no view",
        source="PyTorch, torch.Tensor.view and torch.nn.GRU (batch_first); addresses of the tensors",
    )
