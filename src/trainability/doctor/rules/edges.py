"""Edges of a graph."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import MisreadEdges
from trainability.doctor.rules.parameters import SYMPTOMS
from trainability.doctor.rules.rule import rule


@rule(
    severities=("warning",),
    explains=(*SYMPTOMS, "dead_units", "shuffled_labels", "overfit", "constant_as_good", "evaluation_path"),
)
def misread_edges(evidence: Evidence) -> list[Finding]:
    """Edges are read across: from and to nodes that no edge joins.

    Fires: the program looks nodes up by an integer tensor of two rows, of 32 columns and more. Read in memory order, two
        numbers at a time, these are edges, each once and none from a node to itself; each has its counterpart in the other
        direction, or they are sorted. By the two rows, as the program reads them, neither is so. Edges from each node to itself
        at the end, and a second half that is the first in the other direction, are left out. Code `unshifted`: a batch joins
        several graphs, as numbers of the nodes' graphs (0, 0, 1, 1, 1, ...), sizes or beginnings say; the largest has half of
        all nodes at most, and all edges lie among as many nodes as it has, from the first on. They join nodes of different
        graphs, or occur twice and more.
    Why: a list of edges (E, 2) that is brought to (2, E) by reshape or view keeps its order in memory: the first row then holds
        both ends of the first half of the edges. Messages go between nodes that have nothing to do with each other. To be
        sorted or both ways from end to end, numbers that were made as two rows are not by chance. Where graphs are joined, the
        nodes of each are numbered from where those of the graphs before end; edges that are not shifted by that join nodes of
        the first graphs, and all others have none.
    What fools it: nothing that is known; a list in no order with each edge in one direction only is not told, and is silent.
        So are graphs of which one has most nodes, and by `run` those of a model that may shift the edges by itself.
    Fix: edge_index = edges.t().contiguous(), in place of reshape(2, -1) or view(2, -1). Of graphs that are joined: add to
        the edges of each the number of nodes of the graphs before.
    Source: PyTorch Geometric, Data Handling of Graphs; own: both readings compared.
    """
    found = reading.facts(evidence).readings.edges
    if found is None:
        return []
    if found.how == "unshifted":
        return [_unshifted(found)]
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


def _unshifted(found: MisreadEdges) -> Finding:
    """Edges of all graphs of a batch on the nodes of the first."""
    return Finding(
        rule="misread_edges",
        code="misread_edges.unshifted",
        severity="warning",
        seen=f"the batch joins {found.num_graphs} graphs of {found.num_nodes} nodes together, and all of its {found.num_edges} "
        f"edges lie among the first {found.reach} nodes: the others have none",
        measurements=(
            Measurement(name="nodes that edges reach", value=float(found.reach), threshold=float(found.num_nodes)),
            Measurement(name="edges", value=float(found.num_edges)),
        ),
        cause="the edges of the graphs were joined without adding to each the number of nodes of the graphs before",
        remedy="where graphs are joined (collate_fn): edges.append(edge_index + total), then total += the graph's number of "
        "nodes, with total = 0 before the first",
        source="PyTorch Geometric, Advanced Mini-Batching; nodes that are looked up",
    )
