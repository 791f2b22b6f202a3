"""Heads of attention."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.parameters import SYMPTOMS
from trainability.doctor.rules.rule import rule

EXPLAINED = (*SYMPTOMS, "shuffled_labels", "constant_as_good", "overfit", "ignored_end", "sees_future")


@rule(severities=("warning",), explains=EXPLAINED)
def misread_heads(evidence: Evidence) -> list[Finding]:
    """Heads of attention are made by a view where a transpose is due.

    Fires: in the graph of the loss, what goes into attention as (batch, heads, places, width), or (batch * heads, places,
        width), is a view or reshape of (batch, places, heads * width), with more than one head, and not as many heads as
        places. Or what attention has made in that shape is viewed as (batch, places, heads * width). Attention is a product
        behind a softmax over the same heads and places, or `scaled_dot_product_attention`.
    Why: a view keeps the order in memory. One of four heads is then given the first quarter of the places, each in four pieces
        that stand for places of their own, and no head sees the others; put together by a view, the answer at a place is made
        of those for others. Shapes are read, so this is certain.
    What fools it: nothing that is known.
    Fix: x.view(batch, places, heads, width).transpose(1, 2) in front, and y.transpose(1, 2).reshape(batch, places, heads *
        width) behind.
    Source: PyTorch, `torch.Tensor.view` and `torch.nn.functional.scaled_dot_product_attention` (shapes); own check.
    """
    graph = reading.facts(evidence).graph
    if graph is None or graph.heads is None:
        return []
    found = graph.heads
    split = found.kind == "split"
    size, places, wide = found.given if split else found.made
    one = found.made if split else found.given
    heads = one[1] if len(one) == 4 else one[0] // size
    width = wide // heads
    return [
        Finding(
            rule="misread_heads",
            severity="warning",
            seen=f"{found.given} is viewed as {found.made} "
            + (
                f"before attention, which does not transpose: each of {heads} heads sees pieces of {places / heads:g} of "
                f"{places} places, and none of the others"
                if split
                else f"behind attention, which does not transpose: the answer at each of {places} places is made of those of "
                "one head for others"
            ),
            measurements=(Measurement(name="heads", value=float(heads), threshold=1.0),),
            cause="view or reshape in place of a transpose, where heads are "
            + ("made of queries, keys and values" if split else "put together again"),
            remedy=f"of queries, keys and values x.view(len(x), x.shape[1], {heads}, {width}).transpose(1, 2), and behind "
            f"attention y.transpose(1, 2).reshape(len(y), -1, {wide})",
            source="PyTorch, torch.Tensor.view; read off the graph of the loss",
        )
    ]
