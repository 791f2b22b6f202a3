"""Where something is in an image or a series."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import LevelBlind, OrderPooled, PlaceBlind
from trainability.doctor.rules.parameters import SYMPTOMS
from trainability.doctor.rules.rule import rule


@rule(severities=("warning",), explains=(*SYMPTOMS, "shuffled_labels", "overfit", "constant_as_good"))
def pooled_places(evidence: Evidence) -> list[Finding]:
    """The model takes away what the targets go by: places, an order, or examples' levels.

    Fires: the loss compares up to 16 numbers for each example with as many targets, and the model is given one tensor, such as
        an image (channels, height, width) or a series (channels, steps). A small piece of an input on an even ground, moved
        within the middle third of a dimension (by four places, of fewer than 28), gives the same output to 0.1 % of the
        outputs' spread, at a distance that all strides divide, and moved out to a fifth of the places from either end changes
        it by at most 40 % of what the piece adds to it. In 200 to 480 examples of the training loader, where the inputs are
        largest, smallest and most uneven (positions of extremes and centroids) explains half of the variance or more of one
        number of the targets, held out; quantiles, the power spectrum and pooled responses of filters, which do not change as
        contents move, explain at most a third of that. Code `order`: the model is given sequences of words, and its outputs
        stay the same to 0.01 % of their spread as the places of each sequence are exchanged or mirrored, also with other
        weights in place of those near zero. In 200 to 600 examples, of which 64 words make up nine tenths, their order (which
        word stands first or last, where, and behind which) explains 40 % of the targets' variance or more, held out; the counts
        of the words, and the order of the same words after a shuffle, explain at most a third of that. Silent where words tell
        their order, as in sorted sets. Code `tokens`: the model answers each word of sequences by a class of its own, and with
        the places of each sequence exchanged the outputs are exchanged alike, to 0.01 % of their spread. In 200 examples or
        more the order (the place, the words at two places to either side, at the mirrored place and at the ends; of three
        places one by one, the words at all) explains 40 % of the targets' variance or more, held out; the word itself, with the
        counts of all words and the same after a shuffle of the others, at most a third of that. Code `level`: the model is
        given one tensor, and its outputs stay the same to 0.2 % of their spread as each example, or each channel (16 or fewer,
        second or last), is shifted by up to its standard deviation, or stretched about its mean by 0.7 to 1.5. In 200 to 480
        examples, these means or standard deviations explain half of the variance of the targets or more, held out, and what is
        left of the inputs at most a third of that.
    Why: the mean or maximum of a feature map over all places tells how much of a feature there is, and not where. Such a
        network can only guess places from the padding of its convolutions near the border, so that it is far less exact. The
        mean of embeddings (nn.EmbeddingBag), or attention without positions, is the same for any order of the words. An
        instance or layer normalisation of the input leaves nothing of an example's mean and spread.
    What fools it: nothing known. Silent on networks with positional embeddings, coordinate channels or recurrent layers, on
        convolutions that reach from the middle to the border, along dimensions in which inputs share a background, as of a
        fixed camera, and where something other than the brightest, darkest or most uneven part of the input is asked for.
    Fix: flatten the feature maps in place of the global pooling (nn.AdaptiveAvgPool2d(8) in front makes them smaller); or take
        the expected coordinates under a softmax over the places of each map (spatial softmax, soft-argmax); or give the
        coordinates of each place as additional input channels (CoordConv). For words, nn.Embedding followed by a recurrent
        layer or a convolution, or positions added to the embeddings. For `level`, a mean and standard deviation of the training
        set in place of each example's own.
    Source: Liu et al., An Intriguing Failing of Convolutional Neural Networks and the CoordConv Solution, NeurIPS 2018. Zaheer
        et al., Deep Sets, NeurIPS 2017 (sums over places are all that does not go by their order).
    """
    found = reading.facts(evidence).readings.place_blind
    if found is None:
        level = reading.facts(evidence).readings.level_blind
        return _level(level) if level is not None else _order(reading.facts(evidence).readings.order_pooled)
    return [
        Finding(
            rule="pooled_places",
            severity="warning",
            seen=f"the output is the same wherever something is in the middle of the input{_along(found)}, but the targets are "
            f"places: where the inputs stand out explains {100 * found.placed:.0f} % of the variance of batch{found.target}"
            f"[:, {found.column}] in held-out examples, and what they show, wherever it is, {100 * found.free:.0f} %",
            measurements=(
                Measurement(name="variance explained by places", value=found.placed, threshold=0.5),
                Measurement(name="variance explained without places", value=found.free, threshold=found.placed / 3),
                Measurement(
                    name="change of an output where its cause moves out of the middle", value=found.moved, threshold=0.4
                ),
                Measurement(name="examples", value=float(found.examples)),
            ),
            cause="the feature maps are averaged, or their maximum is taken, over all places before the last layers (global "
            "pooling), so that these cannot tell where a feature is",
            remedy=f"keep the places: nn.Flatten() in place of the global pooling ({_grid(found)} in front makes the maps "
            "smaller); or a spatial softmax (soft-argmax: the expected coordinates under the softmax of each map); or the "
            "coordinates of each place as additional input channels (CoordConv)",
            source="Liu et al., An Intriguing Failing of Convolutional Neural Networks and the CoordConv Solution, NeurIPS'18",
        )
    ]


def _level(found: LevelBlind) -> list[Finding]:
    """Examples whose level is normalised away."""
    kinds = " and ".join({"mean": "mean", "spread": "standard deviation"}[kind] for kind in found.kinds)
    return [
        Finding(
            rule="pooled_places",
            code="pooled_places.level",
            severity="warning",
            seen=f"the output is the same whatever the {kinds} of an example of batch{found.given} is, but the targets go by "
            f"that: it explains {100 * found.levelled:.0f} % of the variance of batch{found.target} in held-out examples, and "
            f"the rest of the input {100 * found.free:.0f} %",
            measurements=(
                Measurement(name="variance explained by the level", value=found.levelled, threshold=0.5),
                Measurement(name="variance explained by the rest", value=found.free, threshold=found.levelled / 3),
                Measurement(name="examples", value=float(found.examples)),
            ),
            cause="each example is normalised by itself (instance norm, layer norm or x - x.mean() of the input), which "
            "removes its level before any layer has read it",
            remedy="remove the normalisation of the single example in front of the first layer; normalise by the mean and "
            "standard deviation of the training set, or with batch norm",
            source="Ulyanov et al., Instance Normalization, 2016 (it removes an image's contrast, on purpose); own: asked",
        )
    ]


def _order(found: OrderPooled | None) -> list[Finding]:
    """Sequences whose order is lost."""
    if found is None:
        return []
    if found.is_for_each:
        return [_of_tokens(found)]
    return [
        Finding(
            rule="pooled_places",
            code="pooled_places.order",
            severity="warning",
            seen=f"the output is the same in whatever order the words of batch{found.given} stand, but the targets go by it: "
            f"the order explains {100 * found.ordered:.0f} % of the variance of batch{found.target} in held-out examples, and "
            f"the words, in whatever order, {100 * found.free:.0f} %",
            measurements=(
                Measurement(name="variance explained by the order", value=found.ordered, threshold=0.4),
                Measurement(name="variance explained without the order", value=found.free, threshold=found.ordered / 3),
                Measurement(name="examples", value=float(found.examples)),
            ),
            cause=f"{f'nn.{found.pools} takes' if found.pools else 'the model takes'} the mean, the sum or the maximum of the "
            "embeddings, or attention without positions, so that sequences of the same words are one input",
            remedy="nn.Embedding followed by nn.GRU or nn.LSTM (batch_first=True), or by convolutions over the places, in "
            "place of the mean; in a Transformer, add positions to the embeddings",
            source="own; Zaheer et al., Deep Sets, NeurIPS 2017",
        )
    ]


def _of_tokens(found: OrderPooled) -> Finding:
    """Words that are answered alike wherever they stand."""
    return Finding(
        rule="pooled_places",
        code="pooled_places.tokens",
        severity="warning",
        seen=f"with the words of batch{found.given} in another order, the output is the same for each word wherever it stands, "
        f"but the targets go by the order: it explains {100 * found.ordered:.0f} % of the variance of batch{found.target} in "
        f"held-out examples, and the word itself beside the others, in whatever order, {100 * found.free:.0f} %",
        measurements=(
            Measurement(name="variance explained by the order", value=found.ordered, threshold=0.4),
            Measurement(name="variance explained without the order", value=found.free, threshold=found.ordered / 3),
            Measurement(name="examples", value=float(found.examples)),
        ),
        cause="attention without positions, or layers that read each word by itself: the model cannot tell where a word stands "
        "and which words are next to it",
        remedy="add positions to the embeddings: x = self.embedding(tokens) + self.positions.weight[:tokens.shape[1]], with "
        "self.positions = nn.Embedding(longest, width); or sinusoids, or rotary positions of queries and keys",
        source="own; Vaswani et al., Attention Is All You Need, NeurIPS 2017, section 3.5",
    )


def _along(found: PlaceBlind) -> str:
    """Of which dimensions, in words."""
    sizes = " x ".join(str(found.shape[dim - 1]) for dim in found.dims)
    return f" ({sizes} places)"


def _grid(found: PlaceBlind) -> str:
    return "nn.AdaptiveAvgPool2d(8)" if len(found.shape) == 3 else "nn.AdaptiveAvgPool1d(8)"
