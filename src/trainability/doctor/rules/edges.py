"""Edges of a graph."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.parameters import SYMPTOMS
from trainability.doctor.rules.rule import rule


@rule(severities=("warning",), explains=(*SYMPTOMS, "shuffled_labels", "overfit", "constant_as_good", "evaluation_path"))
def misread_edges(evidence: Evidence) -> list[Finding]:
    """Edges are read across: from and to nodes that no edge joins.

    Fires: the program looks nodes up by an integer tensor of two rows, of 32 columns and more. Read in memory order, two
        numbers at a time, these are edges, each once and none from a node to itself; each has its counterpart in the other
        direction, or they are sorted. By the two rows, as the program reads them, neither is so. Edges from each node to itself
        at the end, and a second half that is the first in the other direction, are left out.
    Why: a list of edges (E, 2) that is brought to (2, E) by reshape or view keeps its order in memory: the first row then holds
        both ends of the first half of the edges. Messages go between nodes that have nothing to do with each other. To be
        sorted or both ways from end to end, numbers that were made as two rows are not by chance.
    What fools it: nothing that is known; a list in no order with each edge in one direction only is not told, and is silent.
    Fix: edge_index = edges.t().contiguous(), in place of reshape(2, -1) or view(2, -1).
    Source: PyTorch Geometric, Data Handling of Graphs; own: both readings compared.
    """
    found = reading.facts(evidence).readings.edges
    if found is None:
        return []
    what = "each in both directions" if found.how == "both ways" else "in order"
    return [
        Finding(
            rule="misread_edges",
            severity="warning",
            seen=f"the edges, a tensor of shape (2, {found.num_edges}), are a list of edges {what} where its numbers are read "
            "two by two in memory order, and are not where its two rows are read as their ends",
            measurements=(Measurement(name="edges", value=float(found.num_edges), threshold=32.0),),
            cause="a list of edges (E, 2) was reshaped to (2, E), and not transposed",
            remedy="edge_index = edges.t().contiguous() in place of edges.reshape(2, -1) or view(2, -1)",
            source="own; both readings of the edges",
        )
    ]
