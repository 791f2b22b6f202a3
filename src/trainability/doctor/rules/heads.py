"""Attention heads."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.parameters import SYMPTOMS
from trainability.doctor.rules.rule import rule

EXPLAINED = (*SYMPTOMS, "shuffled_labels", "constant_as_good", "overfit", "ignored_end", "sees_future")


@rule(severities=("warning",), explains=EXPLAINED)
def misread_heads(evidence: Evidence) -> list[Finding]:
    """Attention heads are split or merged by a view instead of a transpose.

    Fires: in the graph of the loss, the input of attention, (batch, heads, places, width) or (batch * heads, places, width), is
        a view or reshape of (batch, places, heads * width), with more than one head, and with another number of heads than
        places; or the result of attention in that shape is viewed as (batch, places, heads * width). Attention is a product
        after a softmax over the same heads and places, or `scaled_dot_product_attention`.
    Why: a view keeps the order in memory. With four heads, each head then gets a quarter of the places, each cut into four
        pieces that act as places of their own, and sees none of the others; if heads are merged by a view, the output at a
        place is made of the results for other places. Shapes are read, so this is certain.
    What fools it: nothing known.
    Fix: x.view(batch, places, heads, width).transpose(1, 2) before attention, and y.transpose(1, 2).reshape(batch, places,
        heads * width) after it.
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
    ]
