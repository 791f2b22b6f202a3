"""Whether targets have to do with their inputs at all: inputs beside their own targets, against inputs beside shuffled ones."""

import itertools
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.audit_results import Relation
from trainability.doctor.batches import tensors
from trainability.doctor.measure.held import held_at
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.turned import back_to_front, turned
from trainability.doctor.measure.weak_tables import spread, strongest_products
from trainability.doctor.measure.word_views import are_drawn_evenly, columns_of_words, holds_target, narrowed, views_of_words

FEWEST_EXAMPLES = 100
_MOST_EXAMPLES = 600
_FEWEST_WORDS = 5  # of an example that is nothing but names: what two or three of them mean together is not seen one by one
_FEWEST_NAMES, _MANY_NAMES = 8, 64
_TIMES_EACH, _EVEN = 4, 1e-2  # examples for each value; distance from a whole number of steps, of float32
_SURE = 8.0  # standard deviations
_WEAK, _MOST_ROWS, _SECONDS = 4.0, 10_000, 2.0  # below it, more examples of a table are read: little says little of each
_MOST_SQUARED, _MOST_BESIDE = 256, 1024  # columns of a table, that are asked together with their squares, and at all
_MOST_VALUES = 40_000_000
_SHUFFLES, _RIDGE = 99, 0.1
_FEW_COLUMNS, _NEIGHBOURS = 16, 3
_FEW_CHANNELS = 8  # of a series
_MOST_FACTORS = 64  # columns of a table, of which each two are multiplied
_FEW_FRAMES, _FARTHEST = 4, 4  # channels of an image that may be pictures of one thing; pixels between them
_FEWEST_INTEGERS = 16  # of a column that comes as integers beside numbers: who made the table told one from the other
_MOST_CLASSES = 64
_FEWEST_OTHERS = 20  # examples that are not of the most frequent class: of fewer, no relation would be seen
_MOST_SEQUENCES = 4  # beside each other, as keys and values are


def read_relation(batches: Iterable[Any], target: str = "") -> Relation | None:
    """Compare inputs and targets of a loader's first examples.

    Args:
        batches: of the training loader. What is compared is in its first batch: two tensors, input and target, or several, of
            which one is floating-point and has two dimensions or more, and one holds an integer per example.
        target: what the loss takes, as `tensors` names it; "" if unknown. With it, tables of integers and of numbers beside
            each other are one table. What a user and a film mean only together is not seen there: no relation says little, and
            is `mixed`.

    Returns:
        The comparison; None where batches hold something else, or too few examples.
    """
    with randomness_restored(), generators_restored(batches):
        reader = _Reader(batches, target)
        if not reader.read(_MOST_EXAMPLES) or reader.sizes() is None:
            return None
        num_batches = len(reader.pairs)
        inputs, targets = reader.joined(_MOST_EXAMPLES)
        labelled = is_labelled(targets)
        if num_batches == 1 and not bool(labelled.all()):
            return None  # of a graph's nodes, which go by their neighbours, too
        inputs, targets = inputs[labelled], targets[labelled]
        if targets.dim() == 1 and not targets.is_floating_point() and len(targets) - _most_frequent(targets) < _FEWEST_OTHERS:
            return None
        if not targets.is_floating_point() and targets.dim() == 1 and len(targets.unique()) == len(targets):
            return None  # a name for each example, as an index into a memory bank: there is nothing that it could go with
        found = relation(inputs, targets, reader.integers)
        if found is not None and is_weak(found, inputs):
            everywhere = spread(batches)
            more = reader if everywhere is batches else _Reader(everywhere, target)
            if more.read(_MOST_ROWS, seconds=_SECONDS) and more.sizes() is not None:
                found = with_linear(found, *more.joined(_MOST_ROWS))
    return replace(found, mixed=True) if found is not None and reader.integers and found.z < _SURE else found


class _Reader:
    """Reads pairs of input and target off a loader, a part at a time.

    Attributes:
        pairs: that were read, a batch each.
        integers: columns that came as integers.
    """

    def __init__(self, batches: Iterable[Any], target: str) -> None:
        self._batches, self._target = iter(batches), target
        self.pairs: list[tuple[Tensor, Tensor]] = []
        self.integers: tuple[int, ...] = ()

    def read(self, most: int, *, seconds: float = math.inf) -> bool:
        """Read on until there are so many examples, or the loader ends; False where batches hold something else."""
        began = time.perf_counter()
        while sum(len(target) for _, target in self.pairs) < most and time.perf_counter() - began < seconds:
            batch = next(self._batches, None)
            if batch is None:
                break
            found = pair_of(batch)
            if found is None:
                if (joined := _joined(batch, self._target)) is None:
                    return False
                x, y, self.integers = joined
                found = x, y
            self.pairs.append(found)
            most = min(most, _MOST_VALUES // max(found[0][0].numel(), 1))
            if most < FEWEST_EXAMPLES:  # images so large that as many do not fit
                return False
        return bool(self.pairs)

    def sizes(self) -> tuple[torch.Size, torch.Size] | None:
        """Of one input and one target; None where batches differ in them."""
        (found, *others) = {(x.shape[1:], y.shape[1:]) for x, y in self.pairs}
        return None if others else found

    def joined(self, most: int) -> tuple[Tensor, Tensor]:
        """The first examples of all batches."""
        inputs, targets = (torch.cat([t.cpu() for t in part])[:most] for part in zip(*self.pairs, strict=True))
        return inputs, targets


def is_weak(found: Relation, inputs: Tensor) -> bool:
    """Whether inputs are a table of which some examples say too little: more of them, and all columns together, say more."""
    return inputs.is_floating_point() and inputs.dim() == 2 and found.z < _WEAK


def with_linear(found: Relation, inputs: Tensor, targets: Tensor) -> Relation:
    """A comparison of a table beside what its columns say together, of more examples: z is the larger one.

    A ridge regression on the columns, and of up to 256 on their squares, is fitted on half of the examples, and its answers for
    the other half are held against their targets, as they are and under 99 shuffles. Where that says little, the products of
    each two to four columns are asked.

    Args:
        found: of some of the examples.
        inputs: (examples, columns). Of more than 1,024 columns nothing is asked, and `wide` is set.
        targets: (examples, ...).
    """
    if inputs.shape[1] > _MOST_BESIDE:
        return replace(found, wide=True)
    labelled = is_labelled(targets)
    rng = torch.Generator().manual_seed(0)
    mixed = torch.randperm(int(labelled.sum()), generator=rng)  # one half is no earlier than the other
    inputs, targets = inputs[labelled][mixed].float().nan_to_num(0.0, 0.0, 0.0), targets[labelled][mixed]
    columns, answers = _standardised(inputs), _standardised(_columns_of_targets(targets))
    if not columns.shape[1] or not answers.shape[1]:
        return found
    orders = [torch.randperm(len(columns), generator=rng) for _ in range(_SHUFFLES)]
    z = _score(_fits(columns, answers, orders))
    if max(z, found.z) < _SURE and (strongest := strongest_products(columns, answers, orders)) is not None:
        z = max(z, _score(strongest))
    return replace(found, z=max(found.z, z), num_examples=max(found.num_examples, len(columns)))


def _fits(columns: Tensor, answers: Tensor, orders: list[Tensor]) -> list[float]:
    """How well a regression on half of the examples answers the others: as they are, and with answers in each order."""
    half, width = len(columns) // 2, columns.shape[1]
    if few := width <= _MOST_SQUARED:
        columns = torch.cat([columns, _standardised(columns.clamp(-3.0, 3.0).square())], dim=1)
    columns = columns.double() if few else columns  # of many, the ridge is larger, and the products take longer
    fitted, others, answers = columns[:half], columns[half:], answers.to(columns.dtype)
    ridge = (_RIDGE if few else 1.0) * half * torch.eye(columns.shape[1], dtype=columns.dtype)
    told = torch.cat([answers[:half], *(answers[o[:half]] for o in orders)], dim=1)
    says = others @ torch.linalg.solve(fitted.T @ fitted + ridge, fitted.T @ told)
    wanted = torch.cat([answers[half:], *(answers[o[half:]] for o in orders)], dim=1)
    return (says * wanted).sum(dim=0).reshape(len(orders) + 1, -1).sum(dim=1).tolist()


def is_labelled(targets: Tensor) -> Tensor:
    """Which examples have a label, where one number below zero beside classes from 0 marks those that have none."""
    everywhere = torch.ones(len(targets), dtype=torch.bool)
    if targets.dim() != 1 or targets.is_floating_point() or targets.dtype == torch.bool:
        return everywhere
    values = targets.unique()
    is_mark = int((values < 0).sum()) == 1 and int((values >= 0).sum()) > 1
    return targets >= 0 if is_mark else everywhere


def _most_frequent(targets: Tensor) -> int:
    return int(targets.unique(return_counts=True)[1].max()) if len(targets) else 0


def beside_held_out(train: Iterable[Any], validation: Iterable[Any] | None, target: str = "") -> Relation | None:
    """`read_relation` of training, and, if that is not clear, of validation too."""
    found = read_relation(train, target)
    if found is None or found.z >= _SURE or validation is None:
        return found
    other = read_relation(validation, target)
    return replace(found, held_out_z=other.z) if other is not None else found


def pair_of(batch: Any) -> tuple[Tensor, Tensor] | None:
    """Input and target of a batch that holds these two, or several tensors among which they stand out."""
    found = [tensor.detach() for _, tensor in tensors(batch)]
    if len(found) < 2 or any(t.dim() == 0 or len(t) != len(found[0]) or t.is_complex() for t in found):
        return None
    if len(found) == 2:
        return (found[0], found[1]) if found[0].dim() > 1 else None
    if any(t.is_floating_point() and t.dim() == 1 for t in found):  # a reward, beside which a whole number is an action
        return None
    if any(
        t.dim() > 1 and not t.is_floating_point() and not is_mask(t) for t in found
    ):  # words or categories, which may predict more
        return None
    wide = [t for t in found if t.is_floating_point() and t.dim() > 1]
    classes = [t for t in found if t.dim() == 1 and not t.is_floating_point() and t.dtype != torch.bool]
    return (wide[0], classes[0]) if len(wide) == len(classes) == 1 else None


def is_mask(t: Tensor) -> bool:
    """Whether a tensor holds nothing but zeros and ones."""
    return t.dtype == torch.bool or bool(((t == 0) | (t == 1)).all())


def _joined(batch: Any, target: str) -> tuple[Tensor, Tensor, tuple[int, ...]] | None:
    """Tables of integers and of numbers, side by side; the targets; and the columns of integers."""
    found = {name: tensor.detach().cpu() for name, tensor in tensors(batch)}
    wanted = found.pop(target, None)
    tables = list(found.values())
    whole = [not t.is_floating_point() for t in tables]
    if wanted is None or not wanted.is_floating_point() or not any(whole) or all(whole):
        return None
    if any(t.dim() != 2 or len(t) != len(wanted) or t.is_complex() or t.dtype == torch.bool for t in tables):
        return None
    columns = [is_whole for t, is_whole in zip(tables, whole, strict=True) for _ in range(t.shape[1])]
    integers = tuple(place for place, is_whole in enumerate(columns) if is_whole)
    return torch.cat([t.float() for t in tables], dim=1), wanted, integers


def relation(
    inputs: Tensor, targets: Tensor, integers: Sequence[int] = (), *, fewest: int = FEWEST_EXAMPLES
) -> Relation | None:
    """Compare inputs with their targets, by distance correlation and by the largest correlation of two columns.

    Each is computed on several views of the inputs (values, word counts, words by place, spectra, how one channel is moved
    against another, how far two are apart) and compared with the same under 99 shuffles of the targets; so are products of each
    two columns of a table, and so is how far neighbours agree, examples of one category, and of sequences of whole numbers
    which places are equal, what the sum leaves, and how often the target is in its row.

    Args:
        inputs: (examples, ...).
        targets: (examples, ...).
        integers: columns that came as integers.
        fewest: examples, of which it is said.

    Returns:
        How many standard deviations of the shuffled ones the strongest lies above their mean; None with fewer
        examples, where inputs or targets do not vary, and where an example is a few names (a user and a film).

    Source: Székely, Rizzo and Bakirov, Measuring and Testing Dependence by Correlation of Distances, 2007.
    """
    names_alone = not inputs.is_floating_point() and inputs[0].numel() < _FEWEST_WORDS
    if len(inputs) < fewest or inputs.dim() < 2 or names_alone:
        return None
    answers = _standardised(_columns_of_targets(targets))
    views = [view for view in map(_standardised, _views(inputs)) if view.shape[1]]
    if not answers.shape[1] or not views:
        return None
    rng = torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(inputs), generator=rng) for _ in range(_SHUFFLES)]
    apart, agree = _centred_distances(answers), answers @ answers.T
    scores = []
    for view in views:
        distances = _centred_distances(view)
        scores.append(_score(_sums(distances, apart, orders)))
        bent = torch.cat([view, _standardised(view.square())], dim=1)
        scores.append(_score([float((bent.T @ answers[o]).abs().max()) for o in (slice(None), *orders)]))
        if view.shape[1] <= _FEW_COLUMNS:  # what varies fast over a few columns is alike in neighbours alone
            near = torch.cdist(view, view).fill_diagonal_(torch.inf).topk(_NEIGHBOURS, largest=False).indices
            scores.append(_score([float(agree[o[:, None], o[near]].sum()) for o in (torch.arange(len(inputs)), *orders)]))
    if (products := _products(inputs)) is not None:
        scores.append(_score([float((products.T @ answers[o]).abs().max()) for o in (slice(None), *orders)]))
    if (alike := _alike_by_name(inputs)) is not None:
        scores.append(_score(_sums(alike, agree, orders)))
    if _are_words(inputs):
        scores += _of_words(inputs, targets, answers, orders)
    local, of_others, turn = turned(inputs, targets)
    categories = _categories(inputs, answers, apart, orders, integers)
    return Relation(
        num_examples=len(inputs),
        z=max(scores),
        categories=categories,
        drawn_evenly=are_drawn_evenly(inputs),
        is_plain=are_of_numbers(inputs),
        local=local,
        local_of_others=of_others,
        turned=turn or back_to_front(inputs, targets),
        held=held_at(inputs, targets),
    )


def related_pairs(one: Tensor, other: Tensor) -> float | None:
    """Compare two inputs of the same examples with each other, as `relation` does; each in all of its views.

    Beside distances and columns, a linear map from each view of the one to each of the other, fitted on half of the examples,
    is asked which of the other half belong together.

    Args:
        one: (examples, ...).
        other: (examples, ...).

    Returns:
        Standard deviations of shuffled pairs above their mean, of the strongest, or of the first that is beyond doubt; None
        with fewer than 100 examples, and where one of the two does not vary.
    """
    views = [[v for v in map(_standardised, _views(t)) if v.shape[1]] for t in (one, other)]
    if len(one) < FEWEST_EXAMPLES or not all(views):
        return None
    rng = torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(one), generator=rng) for _ in range(_SHUFFLES)]
    half, rest = len(one) // 2, len(one) - len(one) // 2
    halves = [torch.randperm(rest, generator=rng) for _ in range(_SHUFFLES)]
    best = -torch.inf
    for a, b in itertools.product(*views):
        bent, answers = torch.cat([a, _standardised(a.square())], dim=1), torch.cat([b, _standardised(b.square())], dim=1)
        best = max(best, _score([float((bent.T @ answers[o]).abs().max()) for o in (slice(None), *orders)]))
        fit = _likeness(a, b, half)
        best = max(best, _score([float(fit[torch.arange(rest), o].sum()) for o in (torch.arange(rest), *halves)]))
        if best >= _SURE:
            break
        distances, apart = _centred_distances(a), _centred_distances(b)
        best = max(best, _score(_sums(distances, apart, orders)))
    return best


def _likeness(one: Tensor, other: Tensor, half: int) -> Tensor:
    """Cosines of what a ridge regression on the first half says of the others, and each of the others' own."""
    x, y = one.double(), other.double()
    ridge = _RIDGE * half * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(x[:half].T @ x[:half] + ridge, x[:half].T @ y[:half])
    return nn.functional.normalize(x[half:] @ weights, dim=1) @ nn.functional.normalize(y[half:], dim=1).T


def are_of_numbers(inputs: Tensor) -> bool:
    """Whether examples are rows of numbers, or images: what they mean does not depend on an order that few views see."""
    return inputs.is_floating_point() and inputs.dim() in (2, 4)


def _categories(
    inputs: Tensor, answers: Tensor, apart: Tensor, orders: list[Tensor], integers: Sequence[int]
) -> tuple[int, ...]:
    if inputs.dim() != 2 or not inputs.is_floating_point():
        return ()
    if inputs.shape[1] > 1 and (once := _once_each(inputs)).numel() < len(inputs):  # drawn again, all of its columns are equal
        inputs, answers = inputs[once], _standardised(answers[once])
        apart, orders = _centred_distances(answers), [order[order < len(once)] for order in orders]
    found, agree = [], answers @ answers.T
    for place, column in enumerate(inputs.double().T[:_MOST_CLASSES]):
        column = _numbered(column)
        kinds = len(column.unique())
        fewest = _FEWEST_INTEGERS if place in integers else _MANY_NAMES
        if not bool((column == column.round()).all()) or not fewest <= kinds < len(column):
            continue
        if _is_by_name(column, agree, apart, orders) and _is_among_others(column, answers):
            found.append(place)
    return tuple(found)


def _numbered(column: Tensor) -> Tensor:
    """Whole numbers that were standardised, or divided by the largest, as they were but for a constant; others as they are."""
    values = column.unique()
    if bool((values == values.round()).all()) or not _MANY_NAMES <= len(values) <= len(column) / _TIMES_EACH:
        return column
    places = (column - values[0]) / values.diff().min()
    is_even = bool(((places - places.round()).abs() < _EVEN).all()) and float(places.max()) < _TIMES_EACH * len(values)
    return places.round() if is_even else column


def _once_each(inputs: Tensor) -> Tensor:
    """Where each of the different rows stands first."""
    _, places = inputs.unique(dim=0, return_inverse=True)
    first = torch.full((int(places.max()) + 1,), len(inputs))
    return first.scatter_reduce(0, places, torch.arange(len(inputs)), "amin").sort().values


def _is_among_others(column: Tensor, answers: Tensor) -> bool:
    """Whether it is the same without the most frequent number: counts that are mostly zero say by that what they say."""
    values, places, counts = column.unique(return_inverse=True, return_counts=True)
    rest = places != counts.argmax()
    if len(values) < 3 or int(rest.sum()) < FEWEST_EXAMPLES:
        return False
    rng, answers = torch.Generator().manual_seed(0), _standardised(answers[rest])
    orders = [torch.randperm(len(answers), generator=rng) for _ in range(_SHUFFLES)]
    return _is_by_name(column[rest], answers @ answers.T, _centred_distances(answers), orders)


def _is_by_name(column: Tensor, agree: Tensor, apart: Tensor, orders: list[Tensor]) -> bool:
    """Whether being equal says more than twice as much as being large, or as being ranked high."""
    equal = (column[:, None] == column[None]).float().fill_diagonal_(0.0)
    by_name = _score(_sums(equal, agree, orders))
    _, places, counts = column.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - counts / 2)[places]
    for size in (column, ranks) if by_name > _SURE else ():
        distances = _centred_distances(_standardised(size[:, None].float()))
        if by_name <= 2 * _score(_sums(distances, apart, orders)):
            return False
    return by_name > _SURE


def _sums(one: Tensor, other: Tensor, orders: list[Tensor]) -> list[float]:
    """Of the products of two square tables: as they are, and with rows and columns of the other in each order."""
    reordered = (other.index_select(0, order).index_select(1, order) for order in orders)
    return [float((one * each).sum()) for each in itertools.chain([other], reordered)]


def _score(values: list[float]) -> float:
    shuffled = torch.tensor(values[1:], dtype=torch.double)
    return (values[0] - float(shuffled.mean())) / max(float(shuffled.std()), 1e-12)


def _views(inputs: Tensor) -> list[Tensor]:
    if _are_words(inputs):
        return views_of_words(inputs)
    x = inputs.float().nan_to_num(0.0, 0.0, 0.0)
    if x.dim() == 4 and min(x.shape[-2:]) > 1:
        spectrum = torch.fft.rfft2(x - x.mean(dim=(2, 3), keepdim=True)).abs()
        pooled = nn.functional.adaptive_avg_pool2d(x, (min(8, x.shape[2]), min(8, x.shape[3])))
        views = [pooled, nn.functional.adaptive_avg_pool2d(spectrum, (min(8, x.shape[2]), min(5, spectrum.shape[3])))]
        if x.shape[1] == 2:  # two pictures that may be of one thing, or of two
            views.append((pooled[:, 0] - pooled[:, 1]).abs())
        if 2 <= x.shape[1] <= _FEW_FRAMES and min(x.shape[-2:]) > 2 * _FARTHEST:
            views.append(_moved(x))
    elif x.dim() >= 3 and x.shape[1] >= 8:
        views = [x, torch.fft.rfft(x - x.mean(dim=1, keepdim=True), dim=1).abs()]
    elif x.shape[-1] >= 16:
        views = [x, torch.fft.rfft(x - x.mean(dim=-1, keepdim=True), dim=-1).abs()]
    else:
        views = [x]
    if x.dim() == 3 and 2 <= x.shape[2] <= _FEW_CHANNELS < x.shape[1]:
        views.append(_together(x))
    return [torch.cat([narrow, _sizes(x)], dim=1) for narrow in (narrowed(view.flatten(1)) for view in views)]


def _moved(x: Tensor) -> Tensor:
    """How well each two channels fit, one moved against the other: two frames may say how things move, or how far they are."""
    x = x - x.mean(dim=(2, 3), keepdim=True)
    x = x / x.norm(dim=(2, 3), keepdim=True).clamp(min=1e-12)
    first, second = torch.triu_indices(x.shape[1], x.shape[1], offset=1)
    waves = torch.fft.rfft2(x)
    fit = torch.fft.irfft2(waves[:, second] * waves[:, first].conj(), s=x.shape[-2:])
    reach = 2 * _FARTHEST + 1
    return fit.roll((_FARTHEST, _FARTHEST), dims=(2, 3))[:, :, :reach, :reach]


def _together(x: Tensor) -> Tensor:
    """Products of each two channels, added up over the steps: one may say which values of the other count."""
    first, second = torch.triu_indices(x.shape[2], x.shape[2], offset=1)
    return (x[:, :, first] * x[:, :, second]).sum(dim=1)


def _are_words(inputs: Tensor) -> bool:
    """Whether inputs are sequences of whole numbers, or several beside each other."""
    if inputs.is_floating_point() or inputs.dtype == torch.bool or inputs.dim() not in (2, 3) or inputs.shape[-1] < 2:
        return False
    return inputs.dim() == 2 or inputs.shape[1] <= _MOST_SEQUENCES


def _of_words(inputs: Tensor, targets: Tensor, answers: Tensor, orders: list[Tensor]) -> list[float]:
    """Scores of what no single place of a sequence shows."""
    columns, everywhere = _standardised(columns_of_words(inputs)), slice(None)
    found = [_score([float((columns.T @ answers[o]).abs().max()) for o in (everywhere, *orders)])] if columns.shape[1] else []
    if (held := holds_target(inputs, targets)) is not None:
        rows = torch.arange(len(held))
        found.append(_score([float(held[rows, rows[o]].sum()) for o in (everywhere, *orders)]))
    return found


def _sizes(x: Tensor) -> Tensor:
    """What is left of an example where places do not matter."""
    flat = x.flatten(1)
    return torch.stack([flat.mean(dim=1), flat.std(dim=1, correction=0), flat.amax(dim=1), flat.amin(dim=1)], dim=1)


def _products(inputs: Tensor) -> Tensor | None:
    """Products of each two columns of a table: whether two have one sign, none of the two tells alone."""
    if inputs.dim() != 2 or not inputs.is_floating_point() or not 2 <= inputs.shape[1] <= _MOST_FACTORS:
        return None
    columns = _standardised(inputs.float().nan_to_num(0.0, 0.0, 0.0)).clamp(-1.0, 1.0)  # no few examples make it all
    first, second = torch.triu_indices(columns.shape[1], columns.shape[1], offset=1)
    products = _standardised(columns[:, first] * columns[:, second])
    return products if products.shape[1] else None


def _alike_by_name(inputs: Tensor) -> Tensor | None:
    """How many whole-numbered columns two examples agree in: categories say by being equal, not by being large."""
    if inputs.dim() != 2:
        return None
    columns = [
        c for c in inputs.double().T[:_MOST_CLASSES] if bool((c == c.round()).all()) and len(c.unique()) >= _FEWEST_NAMES
    ]
    if not columns:
        return None
    alike = sum((c[:, None] == c[None]).float() for c in columns)
    assert isinstance(alike, Tensor)
    return alike.fill_diagonal_(0.0)


def _columns_of_targets(targets: Tensor) -> Tensor:
    if not targets.is_floating_point() and targets[0].numel() == 1:
        kinds = torch.unique(targets, return_inverse=True)[1].reshape(len(targets))
        return nn.functional.one_hot(kinds.remainder(_MOST_CLASSES), min(int(kinds.max()) + 1, _MOST_CLASSES)).float()
    if not targets.is_floating_point() and targets.dim() == 2 and targets.dtype != torch.bool:
        return views_of_words(targets)[0]
    y = targets.float().nan_to_num(0.0, 0.0, 0.0)
    if y.dim() >= 3 and min(y.shape[-2:]) > 4:
        y = nn.functional.adaptive_avg_pool2d(y, 4)
    return narrowed(y.reshape(len(y), -1), _MOST_CLASSES)


def _standardised(columns: Tensor) -> Tensor:
    spread = columns.std(dim=0, correction=0)
    kept = spread > 1e-6 * columns.abs().amax(dim=0).clamp(min=1e-12)
    columns = columns[:, kept]
    return (columns - columns.mean(dim=0)) / spread[kept]


def _centred_distances(columns: Tensor) -> Tensor:
    distances = torch.cdist(columns, columns)
    means = distances.mean(dim=0)
    return distances - means[:, None] - means[None, :] + means.mean()
