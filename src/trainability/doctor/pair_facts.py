"""What a loss of pairs, or a pairing of inputs and targets, shows: parts of `Facts`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OwnPairs:
    """Whether the two sides of pairs belong together: how much nearer they are than the sides of two pairs of the same kind.

    Attributes:
        pushed_z: of the pairs pushed apart, in the view of the inputs in which that is surest, in standard errors; of images in
            views without their light, which an album or a camera gives to pictures that have nothing else in common.
        pushed_share: how much nearer they are there, as a share of the distance.
        pulled_z: of the pairs pulled together, the largest of all views.
        pulled_there_z: the same in the view of `pushed_z`.
        nearer_z: the largest of all views of what `Pulls.nearer_z` is.
        pushed_equal: share of the numbers of an input that are the same, bit for bit, in both sides of the pairs pushed apart,
            over what it is in two such pairs (1 where all are, 0 where no more are); 0 where most pairs have two equal sides.
    """

    pushed_z: float
    pushed_share: float
    pulled_z: float
    nearer_z: float
    pulled_there_z: float = 0.0
    pushed_equal: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Pulls:
    """What a loss of pairs does to them before the first step, and how far apart their inputs are.

    Attributes:
        num_pulled: pairs whose embeddings the loss pulls together.
        num_pushed: pairs that it pushes apart.
        apart_pulled: mean distance of the inputs of the former, in standard deviations of a feature; of any two examples, where
            the loss pulls nothing together.
        apart_pushed: the same of the latter.
        z: how far the former are further apart than the latter, in standard errors of the difference.
        nearer_z: in the direction in which the former are nearest beside the latter, how sure that is, in standard errors.
        further_z: the same of the direction in which they are furthest apart.
        own: whether pairs belong together, of either kind; None with too few of one.
    """

    num_pulled: int
    num_pushed: int
    apart_pulled: float
    apart_pushed: float
    z: float
    nearer_z: float = 0.0
    further_z: float = 0.0
    own: OwnPairs | None = None


@dataclass(frozen=True, kw_only=True)
class PairForces:
    """What a loss that compares examples in pairs wants of them, read exactly.

    Attributes:
        num_examples: that the model returned a row for.
        num_pulled: pairs that it wants nearer; where there is none, with outputs at right angles or up to 1,000 times as long.
        num_pushed: pairs that it wants further apart.
        alike_pulled: share of the former that have one label; None without labels in the batch, or without such pairs.
        alike_pushed: the same of the latter.
        num_alike: pairs with one label; None without labels.
        num_mutual: pairs pulled together of which both sides move: no side is detached.
        num_blocks: tensors that the model returns in all calls, each with a row per example.
        strangers: pairs of rows of two examples that it wants nearer while it wants all rows of one example, which are its
            views, further apart: rows are of one that change with it, or are like rows of several tensors.
        same_is_lowest: where it pushes none apart, whether it is as low with one row for all as with any rows.
        layout: of two rows of each example, "concatenated" (half of the rows apart) or "interleaved" (beside each other); None
            of others, and where it is unknown.
        views_pulled: of two tensors, whether it wants all like rows nearer.
        equal_views: the two rows of each example that the loss pulls together are equal value for value, without dropout.
    """

    num_examples: int
    num_pulled: int
    num_pushed: int
    alike_pulled: float | None = None
    alike_pushed: float | None = None
    num_alike: int | None = None
    num_mutual: int = 0
    num_blocks: int = 1
    strangers: int = 0
    views_pulled: bool = False
    equal_views: bool = False
    same_is_lowest: bool = True
    layout: str | None = None


@dataclass(frozen=True, kw_only=True)
class Company:
    """Pairs of names that a loss pulls together and pushes apart, and how much they keep company in the data.

    Attributes:
        num_pairs: that were compared, of either kind.
        num_names: different names among those that pairs are of.
        pulled: of the pairs that are pulled together: standard deviations by which pairs of two names with the same two others
            are more frequent than by chance.
        pushed: the same of the pairs that are pushed apart.
        repeated: of the pairs that are pulled together: standard deviations by which pairs that occur again are more frequent
            than by chance.
        pushed_too: share of the pairs pushed apart that are pulled together at another time, and what it would be if the names
            in them went together at random.
    """

    num_pairs: int
    pulled: float
    pushed: float
    num_names: int | None = None
    repeated: float | None = None
    pushed_too: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class PairRelation:
    """The two inputs of pairs, of which a loss wants each example's own nearer and all others of the batch further apart.

    Attributes:
        one: tensor of the batch with the first input, by its place.
        other: the same of the second.
        num_examples: that were compared.
        z: standard deviations by which own pairs are related more strongly than shuffled ones.
        is_plain: both are tables of numbers or images.
        constant_loss: with the same score for all pairs of a batch of up to 64 examples; None where it was not computed.
        num_batches: of the loader; None where it has no length.
        held_out_z: `z` of validation; None without one.
    """

    one: str
    other: str
    num_examples: int
    z: float
    is_plain: bool
    constant_loss: float | None = None
    num_batches: int | None = None
    held_out_z: float | None = None


@dataclass(frozen=True, kw_only=True)
class Misplaced:
    """Where in the image answers look, beside the places of the targets that they are held against.

    Attributes:
        num_asked: answers that were asked about.
        down: correlation of the two places' rows.
        across: the same of their columns.
        viewed: maps (batch, channels, height, width) are read as (batch, height, width, ...), which is no transpose.
    """

    num_asked: int
    down: float
    across: float
    viewed: bool = False


@dataclass(frozen=True, kw_only=True)
class Misaligned:
    """Answers that are held against other examples' targets.

    Attributes:
        given: the tensor of the batch that an answer is made of, by its place.
        target: the one that it is held against.
        num_wrong: examples whose answer is held against another's target.
        num_asked: examples that were asked about.
        row: one of the former; its place in the batch.
        made: the row of the output that this example's input makes.
        held: the row of the output that its target is set against.
        turned: answers have their places along another dimension than targets, as behind a transpose of one of them.
        num_partners: of rows that are compared in pairs, how many `target` holds for each row of `given`; 0 elsewhere.
    """

    given: str
    target: str
    num_wrong: int
    num_asked: int
    row: int
    made: int
    held: int
    turned: bool = False
    num_partners: int = 0


@dataclass(frozen=True, kw_only=True)
class ValuesCompared:
    """Values fitted on training's inputs, and asked of validation's; shares of the variance, below 0 where the mean tells more.

    Attributes:
        num_examples: of validation.
        training: told of training examples that were not fitted to.
        validation: of validation.
        own: of half of validation, fitted on the other.
        scaled_apart: in both, every column of numbers has the mean 0 and the spread 1, to rounding.
    """

    num_examples: int
    training: float
    validation: float
    own: float
    scaled_apart: bool = False


@dataclass(frozen=True, kw_only=True)
class KeptTargets:
    """Targets that a loop holds beside its batches, and that have nothing to do with their inputs.

    Attributes:
        num_examples: of several steps, that were compared.
        z: how much better they fit to their inputs than shuffled ones do, in standard deviations; see `Relation`.
        own_z: the same of the batches' own targets.
        shape: of the targets of one step.
    """

    num_examples: int
    z: float
    own_z: float
    shape: tuple[int, ...]
