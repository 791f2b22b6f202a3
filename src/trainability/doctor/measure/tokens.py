"""What a loss asks of tokens: the one behind each, which the model is not to see, or the token itself."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler, default_collate

from trainability.doctor.batches import first_tensor, tensors
from trainability.doctor.measure.calls import Call
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.influence import sees_later, sees_own
from trainability.doctor.measure.own_tokens import returns_code
from trainability.doctor.measure.randomness import generators_restored
from trainability.doctor.measure.shown_places import asks_shown_words, asks_some_of_shown, leaves_out_hidden
from trainability.doctor.readings import FEWEST_LENGTHS

_NEARLY_ALL = 0.95
_MANY = 0.8
_NO_PADDING = 0.9  # share of the commonest token among those that are never asked for
_FEWEST_WORDS = 8
_MOST_SEQUENCES = 4  # of one example, in one tensor
_FIRST_BATCHES = 4
_READ = 12  # batches


def asked_of_tokens(seen: ForwardPass, call: Call, loss: Tensor) -> dict[str, Any]:
    """Ask whether each token is asked for the next one, and sees it, or for itself.

    Args:
        seen: the pass.
        call: of the model that is asked.
        loss: with its graph.

    Returns:
        Fields of `Facts`: `future` where a tensor of the batch is an input shifted by one, or the loss asks for the next token;
        `unshifted` where it asks for the same one, and the model reads up to that one; `fed_answer` where that is a target that
        the model is given beside its input; `shifted_by` where it asks for the one
        before, or for the next but one, or for the next of a model that reads up to the one before; `masked_answers`;
        `asks_shown`.
    """
    call = row_by_row(call)
    for position, given in enumerate(call.inputs):
        if not isinstance(given, Tensor) or given.dim() < 2:
            continue
        if not given.is_floating_point() and given.dim() == 2 and given.shape[1] > 3 and bool((given != given[:, :1]).any()):
            found = _asked_of_places(seen, call, loss, position)
            if found:
                return found
        if position > 0 and given.shape[1] > 3 and _is_target(seen, given) and _read_up_to(call, position) == 0:
            return {"fed_answer": True}
        for _, target in seen.batch:
            if target.shape != given.shape or target is given:
                continue
            for time in (1, 0):
                length = given.shape[time]
                if length > 3 and torch.equal(target.narrow(time, 0, length - 1), given.narrow(time, 1, length - 1)):
                    return {"future": _sees_later(seen, call, position, time=time)}
    return {}


def _is_target(seen: ForwardPass, given: Tensor) -> bool:
    """Whether an input of the model is what a squared error, or another of a difference, holds its output against."""
    against = seen.against[1] if seen.against is not None else None
    return against is not None and against.data_ptr() == given.data_ptr() and against.shape == given.shape


def steps_first(seen: ForwardPass, loss: Tensor) -> bool:
    """Whether inputs are (steps, batch, ...), so that examples lie along dimension 1.

    A layer that takes the batch for time influences what lies along dimension 0 in the same way, so only what is asked tells:
    the same steps, one later, along dimension 0 and not along 1; or one target for each place along dimension 1.

    Args:
        seen: the pass.
        loss: with its graph.
    """
    for given in seen.inputs:
        if not isinstance(given, Tensor) or given.dim() < 2 or min(given.shape[:2]) < 2 or len(given) < 4:
            continue
        output, target = seen.output, seen.target()
        of_columns = target is not None and output is not None and {len(t) if t.dim() else 0 for t in (target, output)}
        if given.shape[0] != given.shape[1] and of_columns == {given.shape[1]}:
            return True
        if given.dim() == 2 and given.is_floating_point():  # consecutive rows of a table are examples
            continue
        following = [t.reshape(given.shape) for _, t in seen.batch if t is not given and t.numel() == given.numel()]
        asked = _asked_tokens(seen, loss, given) if given.dim() == 2 else None
        following += [asked[0]] if asked is not None and bool(asked[1].all()) else []
        if any(_is_later(t, given, 0) and not _is_later(t, given, 1) for t in following):
            return True
    return False


def examples_first(seen: ForwardPass, batches: Iterable[Any]) -> bool:
    """Whether examples lie along dimension 0 for certain, where a model is given sequences and asked at each of their steps.

    Args:
        seen: the pass; not of a batch that `steps_first` knows.
        batches: the training loader.

    Returns:
        True, too, where there is one target for an example, as its number tells then; False for targets (a, b) of inputs
        (a, b, ...) that no loader has stacked, and that are not the input shifted along the second dimension.
    """
    given, target = first_tensor(seen.inputs), seen.target()
    if given is None or target is None or given.dim() < 2 or target.dim() < 2 or target.shape[:2] != given.shape[:2]:
        return True
    if isinstance(batches, DataLoader) and batches.collate_fn is default_collate:
        return True
    others = [t.reshape(given.shape) for _, t in seen.batch if t is not given and t.numel() == given.numel()]
    return any(_is_later(t, given, 1) and not _is_later(t, given, 0) for t in others)


def turned_over(seen: ForwardPass, batches: Iterable[Any]) -> bool:
    """Whether the loader stacks examples along dimension 0, and the step gives them to the model along dimension 1.

    Args:
        seen: the pass.
        batches: the training loader.
    """
    given = first_tensor(seen.inputs)
    is_stacked = isinstance(batches, DataLoader) and batches.collate_fn is default_collate and batches.batch_size is not None
    if given is None or given.dim() < 2 or not is_stacked:
        return False
    held = [t for _, t in seen.batch if t.dim() > 1]
    return not any(torch.equal(t, given) for t in held) and any(torch.equal(t.transpose(0, 1), given) for t in held)


def stacked_second(seen: ForwardPass, batches: Iterable[Any]) -> bool:
    """Whether a loader's own collate function makes (steps, examples, ...), as `pad_sequence` does.

    Dimension 1 has the loader's batch size in each of its first batches then, and dimension 0 has different sizes.

    Args:
        seen: the pass.
        batches: the training loader.
    """
    given = first_tensor(seen.inputs)
    if not isinstance(batches, DataLoader) or batches.collate_fn is default_collate or (batches.batch_size or 0) < 4:
        return False
    if given is None or given.dim() < 2 or not any(given is t for _, t in seen.batch):
        return False
    place = next(place for place, t in seen.batch if t is given)
    shapes = [dict(tensors(batch))[place].shape[:2] for batch in itertools.islice(batches, _FIRST_BATCHES)]
    steps = {shape[0] for shape in shapes}
    return len(steps) > 1 and {shape[1] for shape in shapes[:-1]} == {batches.batch_size}  # the last may have fewer


class RowByRow(nn.Module):
    """A model of several sequences in one tensor, (examples, sequences, steps), as one that is given each by itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *sequences: Tensor) -> Any:
        """What the model returns."""
        return self.model(torch.stack(sequences, dim=1))


def row_by_row(call: Call) -> Call:
    """The call of a model with two to four sequences of tokens in its only input, as one with an input for each."""
    (given, *others) = call.inputs or (None,)
    if others or not isinstance(given, Tensor) or given.dim() != 3 or given.is_floating_point():
        return call
    if not 2 <= given.shape[1] <= _MOST_SEQUENCES < given.shape[2]:
        return call
    return replace(call, model=RowByRow(callable_model(call)), inputs=given.unbind(1), names=())


class Turned(nn.Module):
    """A model of (steps, examples, ...) as one of (examples, steps, ...), for what exchanges examples."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Any) -> Any:
        """What the model returns, with examples first."""
        first = first_tensor(inputs)
        assert first is not None
        output = first_tensor((self.model(*turned(inputs, first.shape[:2])),))
        assert output is not None
        return output.transpose(0, 1) if output.shape[:2] == (first.shape[1], first.shape[0]) else output


def turned(inputs: Iterable[Any], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Inputs with their first two dimensions exchanged, where these are `shape`."""
    return tuple(x.transpose(0, 1) if isinstance(x, Tensor) and x.shape[:2] == shape else x for x in inputs)


def belong_together(seen: ForwardPass, batches: Iterable[Any]) -> bool:
    """Whether the rows that a model is given are no examples of their own, so that one may depend on the others.

    Args:
        seen: the pass.
        batches: the training loader.

    Returns:
        True where the loader does not batch, so that all rows are of one example, a set or a graph; and where it hands out the
        next rows of a series in their order, a recurrent layer reads these unbatched, and the model hands on its state.
    """
    if not isinstance(batches, DataLoader) or isinstance(batches.dataset, IterableDataset):
        return False
    if batches.batch_sampler is None:
        return True
    in_order = isinstance(getattr(batches.batch_sampler, "sampler", None), SequentialSampler)
    return in_order and seen.given.reads_unbatched and len(seen.returned) > 1


def lengths_differ(batches: Iterable[Any]) -> bool:
    """Whether the first batches have so many different lengths that each is a sequence, or a set, by itself."""
    with generators_restored(batches):
        lengths = {len(x) for b in itertools.islice(batches, _READ) if (x := first_tensor(b)) is not None and x.dim() > 0}
    return len(lengths) >= FEWEST_LENGTHS


def _is_later(target: Tensor, given: Tensor, time: int) -> bool:
    """Whether a tensor is another, one step later, and not only because nothing changes from step to step."""
    length = given.shape[time]
    now, later = given.narrow(time, 0, length - 1), given.narrow(time, 1, length - 1)
    same = (target.narrow(time, 0, length - 1) == later).float().mean()
    return float(same) > _NEARLY_ALL and float((now == later).float().mean()) < _MANY


def _sees_later(seen: ForwardPass, call: Call, position: int, *, time: int = 1, is_asked: Tensor | None = None) -> float | None:
    if returns_code(seen.returned, call.inputs[position], time):
        return None
    return sees_later(callable_model(call), call.inputs, position, time=time, asked=is_asked)


def _asked_of_places(seen: ForwardPass, call: Call, loss: Tensor, position: int) -> dict[str, Any]:
    """Wherever the labels come from: whether each place is asked for the token that is there, or for the one behind it."""
    given = call.inputs[position]
    known = _asked_tokens(call, loss, given)
    if known is None:
        return {}
    asked, is_asked = known
    if asks_shown_words(given, asked, is_asked):
        return {"asks_shown": "words"}
    # Where nearly all tokens are one and the same, as padding is, it stands at every distance from itself.
    telling = is_asked & (asked != asked[is_asked].mode().values)
    same, later = asked == given, asked[:, :-1] == given[:, 1:]
    # Where most tokens are like the one before, what comes next is nearly what is there.
    is_later = _share(later, telling[:, :-1]) >= _share(same, telling)
    if bool(telling.any()) and bool(same[telling].all()) and not is_later:  # a few that differ are what is to be corrected
        if leaves_out_hidden(given, asked, is_asked):
            return {"asks_shown": "others"}
        is_causal = _read_up_to(call, position) == 0
        if not is_causal and asks_some_of_shown(given, asked, is_asked) and _sees_own(call, position, is_asked):
            return {"asks_shown": "some"}
        return {"unshifted": True} if is_causal else {}
    if _matches(later, telling[:, :-1]):
        if _read_up_to(call, position) == -1:
            return {"shifted_by": 2}
        masked = {"masked_answers": True} if _asks_beginnings(given, is_asked) else {}
        return masked | {"future": _sees_later(seen, call, position, is_asked=is_asked)}
    backward = _matches(asked[:, 1:] == given[:, :-1], telling[:, 1:])
    twice = _matches(asked[:, :-2] == given[:, 2:], telling[:, :-2])
    if backward == twice or (backward and int(given.max()) < _FEWEST_WORDS):  # a delayed echo of bits is a task of its own
        return {}
    return {"shifted_by": -1 if backward else 2} if _read_up_to(call, position) == 0 else {}


def _sees_own(call: Call, position: int, is_asked: Tensor) -> bool:
    """Whether answers go by the very token that is asked for; False of a watched loop, whose model is not run."""
    return call.is_whole and sees_own(callable_model(call), call.inputs, position, is_asked)


def _matches(same: Tensor, counted: Tensor) -> bool:
    return _share(same, counted) > _NEARLY_ALL


def _share(same: Tensor, counted: Tensor) -> float:
    return float(same[counted].float().mean()) if bool(counted.any()) else 0.0


def _read_up_to(call: Call, position: int) -> int | None:
    """The last token that the output for a token depends on: 0 for itself, -1 for the one before; None for any other."""
    for reach in range(3):
        seen = sees_later(callable_model(call), call.inputs, position, reach=reach)
        if seen is None or seen > 0:
            return 1 - reach if seen is not None and reach > 0 else None
    return None


def _asks_beginnings(given: Tensor, is_asked: Tensor) -> bool:
    """Whether sequences are asked at their beginning and never behind it, though what follows there is no padding."""
    behind = ~is_asked & (is_asked.flip(1).cumsum(dim=1).flip(1) == 0)
    left = given[:, 1:][behind[:, :-1]]
    if not bool(is_asked[:, 0].all()) or not bool(behind[:, -2].all()):
        return False
    return float((left == left.mode().values).float().mean()) < _NO_PADDING


def _asked_tokens(call: Call | ForwardPass, loss: Tensor, given: Tensor) -> tuple[Tensor, Tensor] | None:
    """The token that cross-entropy asks for at each place, and where it asks: its gradient is lowest at the label."""
    shape = tuple(given.shape)
    for logits in call.returned:
        if not logits.requires_grad or logits.dim() != 3 or tuple(logits.shape[:2]) != shape:
            continue
        (gradient,) = torch.autograd.grad(loss, logits, allow_unused=True, retain_graph=True)
        if gradient is not None and gradient.any():
            return gradient.argmin(dim=-1), gradient.ne(0).any(dim=-1)
    return None
