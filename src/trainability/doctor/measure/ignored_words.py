"""Words that a loss asks nothing of although they stand between others that it asks of: a class, and no padding."""

from torch import Tensor

_FEWEST_WORDS, _MOST_OF_ONE = 8, 0.5  # different words there, and the share of the most frequent: padding is one and the same
_LEAST_SHARE = 0.05  # of all places


def are_between(words: Tensor, target: Tensor, index: int, num_classes: int) -> bool:
    """Whether places whose class a loss ignores hold words of all kinds, with asked ones on both sides.

    Args:
        words: (sequences, places) integers.
        target: a class for each place, in this shape or in one row.
        index: the class that is ignored.
        num_classes: that the model tells. Where they are as many as words, the words themselves are asked for, as in masked
            language models, and what is not masked is left out by whatever number the author chose.
    """
    if words.dim() != 2 or target.numel() != words.numel() or target.is_floating_point() or words.numel() == 0:
        return False
    asked = target.reshape(words.shape) != index
    before, after = asked.cumsum(dim=1) > 0, asked.flip(1).cumsum(dim=1).flip(1) > 0
    found = words[~asked & before & after]
    if found.numel() < _LEAST_SHARE * words.numel() or 2 * num_classes > words.unique().numel():
        return False
    counts = found.unique(return_counts=True)[1]
    return len(counts) >= _FEWEST_WORDS and int(counts.max()) <= _MOST_OF_ONE * found.numel() and _begin(words, asked)


def _begin(words: Tensor, asked: Tensor) -> bool:
    """Whether different words that are ignored begin sequences: later pieces of a word, whose first alone has a tag, do not."""
    first = 1 if bool((words[:, 0] == words[0, 0]).all()) else 0  # behind a mark of the beginning
    return len(words[:, first][~asked[:, first]].unique()) > 1
