"""What the graph of the backward pass and the layers' order show: parts of `Facts`."""

from dataclasses import dataclass

MOST_ASKED = 12  # unreached parameters whose reason is found out, a forward pass each


@dataclass(frozen=True, kw_only=True)
class Unreached:
    """A trainable parameter that the loss does not depend on, as far as gradients know.

    Attributes:
        name: as `named_parameters()` gives it.
        reason: "unused": nothing uses it; "spare": so of a vector in a module that is used; "dropped": its module runs, and
            neither the loss nor what the model returns changes with it; "not in the loss": the model returns what it makes, and
            the loss does not use that; "detached": the loss changes with it, and something between cuts the gradient off;
            "last_block": dropped, and made for a next block, of which there is none; "turn": the same as "detached" for all
            parameters of one of several models or optimizers, which a later batch may train; "unknown": the loss is not
            reproducible.
    """

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LoneWord:
    """An embedding in which one word is looked up at most places, beside few others.

    Attributes:
        layer: the embedding.
        word: the number of that word.
        share: of the places that are not padding.
        num_words: different words that are looked up.
        num_rows: words that the embedding has.
    """

    layer: str
    word: int
    share: float
    num_words: int
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class MisreadHeads:
    """Attention heads, or places of a sequence or an image, that are taken by a view instead of a transpose.

    Attributes:
        kind: "split" for queries, keys or values, "merged" for the result of attention, "places" for what a layer reads place
            by place, "steps" for (batch, steps, features) viewed as (steps, batch, features).
        given: shape that was viewed.
        made: shape that it was viewed as.
    """

    kind: str
    given: tuple[int, ...]
    made: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LossGraph:
    """What the graph of the backward pass shows, from the loss down.

    Attributes:
        takes: what the loss applies to the model's outputs first: "log_softmax", "sigmoid" (inside
            `binary_cross_entropy_with_logits`), "nll", "distance" (of the difference of output and target); None if it is
            none of these.
        made_by: the function that made these outputs, directly before: "softmax", "sigmoid", "relu", "tanh", "log_softmax",
            and, where takes is "distance", "softplus" or "exp"; None if it is none of these.
        made_at: where that function is called, as code: "model[5], a torch.nn.Softmax", "sigmoid() in Net.forward"; None if
            not seen.
        num_outputs: width of the dimension that log_softmax and softmax run over; None if unknown.
        unregistered: trainable parameters that the loss depends on and that no module owns, by the attribute that holds them.
        unregistered_untrained: how many of them no optimizer holds.
        outside: the model's trainable parameters that are not in the graph.
        lone_softmax: a softmax inside the model runs over a dimension of size 1.
        over_batch: the softmax of the loss runs over the examples of the batch, in place of the classes.
        softmax_astray: the shape that a softmax takes, the dimension that it runs over, and that in which the loss takes the
            classes, where these are two; None elsewhere.
        swapped: the loss is binary cross-entropy whose targets have a gradient and whose inputs have none.
        multiple_of: the loss of PyTorch, in its words, of which this is a multiple, -1 times among them; None if it is not.
        sums: terms of the loss, where it is one loss of PyTorch with reduction="sum", or the sum of all of its terms, or of
            squared or absolute differences, and nothing else; None elsewhere.
        cost_of_zeros: what outputs of zero cost, where the loss is the mean of one function of PyTorch under sigmoid or
            softmax; the best answer that is the same for every example costs that at most. None of other losses, and where
            the loss depends on trainable parameters that are not the model's.
        beside_answer: weights of linear layers and convolutions that the loss depends on, and the tensors with rows that the
            model returns do not, by their graphs.
        attention_axes: shape of attention weights, the dimension that they are normalised over, and the one that is summed
            over, where these differ; None where they are one.
        heads: attention heads, or places, that are read in another order than they are written; None if there are none.
        bounded_term: a distance of the loss that compares what a bounded function makes with targets outside its range, as
            autograd calls it, the function, and the share of these targets; None if there is none.
        viewed_across: the shapes of a view of (layers, examples, features) as a row for each example; None if there is none.
        held_by: a clamp, as code, that gives an output of the model and whose inputs are all beyond its limits; None if there
            is none.
        prior_weight: how many times a divergence of the weights from their prior counts in a pass over the data, where each
            example's error counts once, and the number of examples; None without one.
        mean_slope: examples of a mean whose derivatives by their own inputs the loss compares with something; None without one.
        constant_slope: the loss compares a derivative without a graph with an output of the same weights at the same input.
        criterion: parameters of a loss module, with its class, that the loss depends on and no optimizer holds.
        renormalised: width of a softmax whose probabilities the loss normalises once more; None if there is none.
        has_opaque_parts: part of the graph is hidden (a checkpointed block, a custom function), so nothing is said of what
            is not in it.
    """

    takes: str | None = None
    made_by: str | None = None
    made_at: str | None = None
    num_outputs: int | None = None
    unregistered: tuple[str, ...] = ()
    unregistered_untrained: int = 0
    outside: tuple[str, ...] = ()
    criterion: tuple[str, ...] = ()
    renormalised: int | None = None
    lone_softmax: bool = False
    over_batch: bool = False
    softmax_astray: tuple[tuple[int, ...], int, int] | None = None
    swapped: bool = False
    multiple_of: str | None = None
    sums: int | None = None
    has_opaque_parts: bool = False
    cost_of_zeros: float | None = None
    beside_answer: tuple[str, ...] = ()
    constant_slope: bool = False
    prior_weight: tuple[float, int] | None = None
    mean_slope: int | None = None
    heads: MisreadHeads | None = None
    attention_axes: tuple[tuple[int, ...], int, int] | None = None
    summed_beside: int | None = None
    bounded_term: tuple[str, str, float] | None = None
    held_by: str | None = None
    viewed_across: tuple[tuple[int, ...], tuple[int, ...]] | None = None


@dataclass(frozen=True, kw_only=True)
class Stacked:
    """Two weight layers with nothing between them.

    Attributes:
        first: name of the first layer.
        second: name of the one that reads its output.
        widths: features into the first, between the two, and out of the second.
        between: what lies between in a model that is affine in evaluation, and is affine itself.
        is_idle: an `nn.Identity` runs between the two, beside the first in its module, as in the place of an activation.
        are_factors: the two may be two on purpose: one has groups, or each runs along a direction of its own; or the model
            returns as many numbers as it takes, and has fewer between.
    """

    first: str
    second: str
    widths: tuple[int, int, int]
    between: tuple[str, ...] = ()
    are_factors: bool = False
    is_idle: bool = False
