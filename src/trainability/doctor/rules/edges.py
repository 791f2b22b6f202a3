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
    """Edges of a graph are misread: they connect nodes that no edge of the data connects.

    Fires: the program indexes nodes with an integer tensor of two rows and 32 columns or more. Read in memory order, two
        numbers at a time, it is a list of edges, each once and none from a node to itself, in which each edge has its reverse
        or all are sorted; read by its two rows, as the program does, it has neither property. Self-loops at the end, and a
        second half that reverses the first, are left out. Code `unshifted`: a batch joins several graphs, as the graph indices
        of the nodes (0, 0, 1, 1, 1, ...), sizes or offsets show; the largest has at most half of all nodes, and all edges lie
        among the first nodes, as many as that graph has. They connect nodes of different graphs, or occur twice or more. Code
        `order`: a batch of 16 graphs or more holds a symmetric matrix of edges for each, different in each, and features of the
        nodes whose means are the same at each place of the list, to what chance makes; edges join nodes that are listed one
        after the other no more often than others; and with the nodes in another order, in all tensors, the answer for the graph
        changes by a hundredth of its rms or more. Code `away`: the loss is the same, to the last bit, without any of 16 edges
        or more, and another one with each of them in the other direction.
    Why: a list of edges (E, 2) that is reshaped or viewed to (2, E) keeps its order in memory: the first row then holds both
        ends of the first half of the edges, and messages pass between unrelated nodes. Numbers that were made as two rows are
        not sorted, or reversible throughout, by chance when read this way. Where graphs are joined, the nodes of each graph are
        numbered from the end of the previous one; edges that are not shifted accordingly connect nodes of the first graphs, and
        all other nodes have none.
    What fools it: nothing known. Silent on an unordered list with each edge in one direction only, on graphs of which one has
        most of the nodes, and, with `run`, on a model that may shift the edges itself.
    Fix: edge_index = edges.t().contiguous(), instead of reshape(2, -1) or view(2, -1). For joined graphs: add to the edges of
        each graph the number of nodes of the graphs before it.
    Source: PyTorch Geometric, Data Handling of Graphs; own: both readings compared.
    """
    found = reading.facts(evidence).readings.edges
    if found is None:
        readings = reading.facts(evidence).readings
        return _by_order(readings.node_order) or _leading_away(readings.edges_away)
    if found.how == "unshifted":
        return [_unshifted(found)]
    what = "each in both directions" if found.how == "both ways" else "in order"
    return [
        Finding(
            rule="misread_edges",
            severity="warning",
            seen=f"the edges, a tensor of shape (2, {found.num_edges}), form a list of edges {what} when its numbers are read "
            "two by two in memory order, and not when its two rows are read as the ends",
            measurements=(Measurement(name="edges", value=float(found.num_edges), threshold=32.0),),
            cause="a list of edges (E, 2) was reshaped to (2, E), and not transposed",
            remedy="edge_index = edges.t().contiguous() instead of edges.reshape(2, -1) or view(2, -1)",
            source="own; both readings of the edges",
        )
    ]


def _by_order(change: float | None) -> list[Finding]:
    """A graph of which another list of the same nodes and edges has another answer."""
    if change is None:
        return []
    return [
        Finding(
            rule="misread_edges",
            code="misread_edges.order",
            severity="warning",
            seen="the answer for a graph depends on the order in which its nodes are listed: with the same nodes and edges in "
            f"another order, answers change by {change:.2g} of their size; no feature of the nodes goes with their place",
            measurements=(Measurement(name="change of the answers over their rms", value=change, threshold=0.01),),
            cause="features are pooled in place of nodes (another dim in mean, sum or max), or the nodes are flattened or read "
            "as a sequence",
            remedy="pool over the nodes, the dimension behind the batch: h.mean(dim=1) for (graphs, nodes, features)",
            source="Zaheer et al., Deep Sets, NeurIPS 2017; own: nodes listed in another order",
        )
    ]


def _leading_away(found: tuple[int, float] | None) -> list[Finding]:
    """Edges that are listed in one direction only, away from what is asked about."""
    if found is None:
        return []
    count, change = found
    return [
        Finding(
            rule="misread_edges",
            code="misread_edges.away",
            severity="warning",
            seen=f"without its {count:,} edges the loss is the same to the last bit, and with each in the other direction it "
            f"changes by {100 * change:.2g} %: no node that the loss counts receives a message",
            measurements=(Measurement(name="change of the loss with reversed edges", value=change, threshold=1e-4),),
            cause="each edge is listed in one direction only, and runs away from the nodes that are asked about; or its rows, "
            "source and target, are exchanged",
            remedy="add the other direction: edge_index = torch.cat([edge_index, edge_index.flip(0)], dim=1); or exchange the "
            "rows, edge_index.flip(0), where messages have one direction on purpose",
            source="PyTorch Geometric, Data Handling of Graphs (undirected graphs); own: the loss without edges",
        )
    ]


def _unshifted(found: MisreadEdges) -> Finding:
    """Edges of all graphs of a batch, on the nodes of the first."""
    return Finding(
        rule="misread_edges",
        code="misread_edges.unshifted",
        severity="warning",
        seen=f"the batch joins {found.num_graphs} graphs with {found.num_nodes} nodes in all, but all of its "
        f"{found.num_edges} edges lie among the first {found.reach} nodes: the others have none",
        measurements=(
            Measurement(name="nodes with an edge", value=float(found.reach), threshold=float(found.num_nodes)),
            Measurement(name="edges", value=float(found.num_edges)),
        ),
        cause="the edges of the graphs were joined without adding the number of nodes of the previous graphs",
        remedy="where graphs are joined (collate_fn): edges.append(edge_index + total), then total += the graph's number of "
        "nodes, starting from total = 0",
        source="PyTorch Geometric, Advanced Mini-Batching; own: nodes that are indexed",
    )
