"""What shows where data are read several times, or in another order. Data only; no torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Overwritten:
    """Data that change as they are read.

    Attributes:
        kind: "stored" where what the data set keeps is written to, as by an augmentation in place, and the next reading begins
            from what the one before left; "shared" where all examples are one and the same tensor, filled anew for each; "rows"
            where, of a watched loop, all rows of each batch's input are the same, and their classes are not.
        place: of what is written to: of "stored" its name in the data set, of "shared" its place in an example.
        num_examples: that were read.
        num_changed: of "stored", those whose stored values two readings changed, each of them; of "shared" and "rows",
            those that show another's values.
        share: of the values of a changed example, those that are others after four readings.
    """

    kind: str
    place: str
    num_examples: int
    num_changed: int
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class TurnedApart:
    """Images and targets that are turned or moved at random, each by draws of its own.

    Attributes:
        input: place of the images in a batch.
        target: place of the targets.
        num_pairs: readings of the same example, two by two, of which it is plain what was done to either.
        num_apart: those of which it is not the same.
    """

    input: str
    target: str
    num_pairs: int
    num_apart: int


@dataclass(frozen=True, kw_only=True)
class MisreadEdges:
    """Edges of a graph that are edges when they are read two numbers at a time, and not by the two rows of their tensor.

    Attributes:
        num_edges: columns of the tensor.
        how: what they are in memory order alone: "both ways" where each has its counterpart, "sorted"; "unshifted" of edges of
            several graphs that all lie among the nodes of the first.
        num_graphs: of "unshifted", how many graphs the batch joins.
        num_nodes: how many nodes these have together.
        reach: among how many of them the edges lie.
    """

    num_edges: int
    how: str
    num_graphs: int = 0
    num_nodes: int = 0
    reach: int = 0


@dataclass(frozen=True, kw_only=True)
class ShortLength:
    """A data set that says it is as long as it has batches, and has an example for each index up to many more.

    Attributes:
        declared: its length, as it says.
        held: the indices, from 0 on, that it has an example for.
        batch_size: `held` over it, rounded up or down, is `declared`; 0 where `declared` is not the data set's own length but
            the number of weights that a `WeightedRandomSampler` has, which draws no index from there on.
    """

    declared: int
    held: int
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What several readings of the same data showed.

    Attributes:
        overwritten: data that change as they are read; None if there are none.
        apart: targets that are turned otherwise than their images; None if there are none.
        edges: that are read across; None if there are none.
        short: a length that is the number of batches; None where it is not.
        coarse: of a watched loop, a column of few values and the step between them: see `SplitAudit.coarse`; and the examples.
    """

    overwritten: Overwritten | None = None
    apart: TurnedApart | None = None
    edges: MisreadEdges | None = None
    short: ShortLength | None = None
    coarse: tuple[int, float, int, int] | None = None
