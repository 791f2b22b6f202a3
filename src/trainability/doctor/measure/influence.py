"""What an output depends on: chance, other examples of the batch, later tokens; found by asking twice, with parts exchanged.

Each audit controls for itself: the same question is asked twice first, with the same random numbers. A model that answers
it differently (numbers that cannot be repeated) is not judged.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import first_tensor
from trainability.doctor.measure import statistics
from trainability.doctor.measure.drawn_samples import DrawnSamples
from trainability.doctor.measure.randomness import randomness_restored, seed_all, seed_torch
from trainability.doctor.measure.workspace import set_training

Forward = Callable[..., Any]
_FEW = 8  # examples are enough to see two answers differ
_SEEN = 1e-4  # of the outputs' rms
_MOST_ROWS, _SAME_ROW = 16, 1e-4  # examples that are put in another order; of a row's size, for the same row


class _Dropped(TorchFunctionMode):
    """Whether a dropout function runs as in training, though the model is in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention":  # it drops whenever it is told a share, whatever the mode
            given = dict(zip(("query", "key", "value", "attn_mask", "dropout_p"), args, strict=False)) | (kwargs or {})
            self.seen |= (given.get("dropout_p") or 0.0) > 0
        elif "dropout" in name:
            given = dict(zip(("input", "p", "training"), args, strict=False)) | (kwargs or {})
            self.seen |= given.get("training", True) is True and (given.get("p", 0.5) or 0) > 0
        return func(*args, **(kwargs or {}))


def evaluation_noise(model: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
    """Change of the outputs in eval mode when the same batch is asked twice, as an evaluation would, and what makes it.

    Args:
        model: runs in eval mode and without gradients; the caller puts modes, buffers and random state back.
        inputs: what it takes.

    Returns:
        Fields of `Facts`: the largest change over the rms of the output; "dropout" where a dropout function runs as in
        training, "sample" or "random" where the change goes with the random numbers, which are a sample that the model
        describes or are not; else "state". None where it cannot be asked.
    """
    first = first_tensor(inputs)
    size = len(first) if first is not None and first.dim() else 0
    few = [x[:_FEW] if isinstance(x, Tensor) and x.dim() > 0 and len(x) == size else x for x in inputs]
    dropped, drawn = _Dropped(), DrawnSamples(model, few)
    with dropped, drawn:
        one = answer(model, few, None)
    other, same = answer(model, few, None, seed=1), answer(model, few, None)
    if one is None or other is None or same is None or one.shape != other.shape or one.shape != same.shape:
        return {}
    change = float((one - other).abs().max() / statistics.rms(one).clamp(min=1e-30))
    repeats = torch.equal(one, same)
    of_chance = "sample" if drawn.are_all else "random"
    source = "dropout" if dropped.seen else of_chance if repeats else "state"
    return {"evaluation_noise": change, "noise_source": source if change > 0 else None}


def leakage(model: nn.Module, inputs: tuple[Any, ...]) -> float | None:
    """Change of one example's output when another example of the batch is exchanged, in either direction, in eval mode.

    Args:
        model: runs in eval mode and without gradients; the caller puts modes and buffers back.
        inputs: what it takes; the first is a tensor of four or more examples, or five where three lie along another dimension
            of the output. Other tensors with as many rows are cut alike.

    Returns:
        The largest change over the rms of the output; None where it cannot be asked: fewer examples, batch norm without
        running statistics, outputs that are no row per example or compare all pairs, answers that do not repeat.
    """
    # As many rows each time, and not one: kernels may round differently for another batch size.
    size = _size_asked(model, inputs)
    rows, other = list(range(size)), size
    answers = [_of_rows(model, inputs, asked) for asked in (rows, rows, [*rows[:-1], other], [other, *rows[1:]])]
    whole, again, last, earliest = answers
    if whole is None or again is None or last is None or earliest is None or not torch.equal(whole, again):
        return None
    if len(whole) in whole.shape[1:]:
        return None
    changes = [(whole[:-1] - last[:-1]).abs().max(), (whole[1:] - earliest[1:]).abs().max()]
    return max(map(float, changes)) / max(float(statistics.rms(whole)), 1e-30)


def place_leakage(model: nn.Module, inputs: tuple[Any, ...]) -> float | None:
    """Change of an example's output when it is at another place in the same batch, in eval mode.

    Args:
        model: runs in eval mode and without gradients; the caller puts modes and buffers back.
        inputs: what it takes; as for `leakage`.

    Returns:
        The largest change over the rms of the output; None where `leakage` cannot be asked, too, and where the model draws
        numbers, which differ from place to place.
    """
    size = _size_asked(model, inputs)
    rows = list(range(size))
    whole, again, other = (_of_rows(model, inputs, rows, seed=seed) for seed in (0, 0, 1))
    moved = _of_rows(model, inputs, [*rows[1:], 0])
    if whole is None or again is None or other is None or moved is None or size in whole.shape[1:]:
        return None
    if not (torch.equal(whole, again) and torch.equal(whole, other)):
        return None
    return float((whole.roll(-1, dims=0) - moved).abs().max()) / max(float(statistics.rms(whole)), 1e-30)


def comes_back_in_another_order(model: nn.Module, inputs: tuple[Any, ...]) -> bool:
    """Whether the outputs of the same examples in another order are the same rows, and not in that order, in eval mode.

    Args:
        model: runs in eval mode and without gradients; the caller puts modes and buffers back.
        inputs: what it takes; as for `leakage`.
    """
    first = inputs[0] if inputs else None
    size = min(len(first) - 1, _MOST_ROWS) if isinstance(first, Tensor) and first.dim() else 0
    rows = list(range(size))
    whole, turned = _of_rows(model, inputs, rows), _of_rows(model, inputs, [*rows[1:], *rows[:1]])
    if whole is None or turned is None or len(whole) != size or whole.shape != turned.shape:
        return False
    one, other = whole.reshape(size, -1).double(), turned.reshape(size, -1).double()
    apart = torch.cdist(one, other)
    near = apart <= _SAME_ROW * one.norm(dim=1, keepdim=True).clamp(min=1e-30)
    if not bool((near.sum(dim=1) == 1).all() and (near.sum(dim=0) == 1).all()):  # each row is found once, and each is one's
        return False
    return near.int().argmax(dim=1).tolist() != [(k - 1) % size for k in rows]


def _size_asked(model: nn.Module, inputs: tuple[Any, ...]) -> int:
    """Three, or four where that many lie along another dimension: an output for all pairs has either; classes are as many."""
    few = _of_rows(model, inputs, [0, 1, 2])
    return 3 if few is not None and 3 not in few.shape[1:] else 4


def _of_rows(model: nn.Module, inputs: tuple[Any, ...], rows: list[int], *, seed: int = 0) -> Tensor | None:
    """The output for these examples of the batch; None where it cannot be asked for them."""
    first = inputs[0] if inputs else None
    untracked = any(isinstance(m, nn.modules.batchnorm._BatchNorm) and not m.track_running_stats for m in model.modules())
    if not isinstance(first, Tensor) or first.dim() == 0 or len(first) <= max(3, *rows) or untracked:
        return None
    size = len(first)
    chosen = [x[rows] if isinstance(x, Tensor) and x.dim() > 0 and len(x) == size else x for x in inputs]
    return answer(model, chosen, len(rows), seed)


def sees_later(
    model: nn.Module,
    inputs: tuple[Any, ...],
    position: int,
    *,
    time: int = 1,
    reach: int = 0,
    asked: Tensor | None = None,
) -> float | None:
    """Change of the output for earlier tokens when the last ones are exchanged, in eval mode.

    The first that is exchanged is one that differs between examples, as a mark that ends all their beginnings does not.

    Args:
        model: runs in eval mode and without gradients; the caller puts modes and buffers back.
        inputs: what it takes.
        position: of the input whose tokens are exchanged, between those of other examples.
        time: its dimension of tokens: 1 for (batch, tokens, ...), 0 for (tokens, batch, ...).
        reach: of the places that are exchanged, how many count among the outputs, too: 1 for the first of them.
        asked: (batch, tokens) bool, the places whose outputs count; None for all.

    Returns:
        The largest change over the rms of the output; None where it cannot be asked: fewer than two examples or four tokens,
        an output that has no entry per token, answers that do not repeat. Where two dimensions of the output may be that of
        the tokens, the smaller change.
    """
    tokens = inputs[position]
    if not isinstance(tokens, Tensor) or tokens.dim() < 2 or tokens.shape[1 - time] < 2 or tokens.shape[time] < 4:
        return None
    size, length = tokens.shape[1 - time], tokens.shape[time]
    rows = min(size, 8) if time == 1 else size
    cut = [x[:rows] if isinstance(x, Tensor) and x.dim() > 0 and time == 1 and len(x) == size else x for x in inputs]
    others = cut[position].roll(1, dims=1 - time)
    differ = (others != cut[position]).movedim(time, 0).flatten(1).any(dim=1)
    counted = asked[:rows].T if asked is not None else torch.ones(length, rows, dtype=torch.bool, device=tokens.device)
    places = counted.any(dim=1).nonzero()
    middle = int(places[len(places) // 2]) if len(places) else length
    if not bool(differ[middle:].any()):
        return None
    kept = middle + int(differ[middle:].int().argmax())
    later = torch.arange(length, device=tokens.device) >= kept
    mask = later[None, :] if time == 1 else later[:, None]
    changed = torch.where(mask.reshape(*mask.shape, *[1] * (tokens.dim() - 2)), others, cut[position])
    whole, again = answer(model, cut, None), answer(model, cut, None)
    cut[position] = changed
    other = answer(model, cut, None)
    if whole is None or again is None or other is None or not torch.equal(whole, again):
        return None
    views = _by_token(whole - other, rows, length, time)
    counted = counted & (torch.arange(length, device=tokens.device) < kept + reach)[:, None]
    if not views or not bool(counted.any()):
        return None
    return min(float(view[counted.to(view.device)].abs().max()) for view in views) / max(float(statistics.rms(whole)), 1e-30)


def sees_own(model: nn.Module, inputs: tuple[Any, ...], position: int, asked: Tensor) -> bool:
    """Whether the outputs at places that are asked for change with the token there, in train mode without dropout.

    Args:
        model: runs without gradients; the caller puts modes and buffers back.
        inputs: what it takes.
        position: of the input of tokens, (batch, tokens). One place of each example is exchanged with another example's token.
        asked: (batch, tokens) bool, the places that are asked for.

    Returns:
        False where the tokens are hidden by the model, or by another of its inputs, where the model draws what it hides, and
        where it cannot be asked.
    """
    tokens = inputs[position]
    others = tokens.roll(1, dims=0)
    can = asked & (others != tokens)
    rows = can.any(dim=1).nonzero().flatten()
    if len(rows) < 2:
        return False
    places = can[rows].int().argmax(dim=1)
    changed = tokens.clone()
    changed[rows, places] = others[rows, places]
    outputs: list[Tensor] = []
    set_training(model, True)
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd | nn.MultiheadAttention | nn.RNNBase):
            module.training = False
    for seed, given in ((0, tokens), (1, tokens), (0, changed)):
        with randomness_restored(), torch.no_grad(), contextlib.suppress(Exception):
            seed_torch(seed)
            made = first_tensor(model(*inputs[:position], given, *inputs[position + 1 :]))
            outputs += [made] if made is not None and made.shape[:2] == tokens.shape else []
    if len(outputs) != 3 or not torch.equal(outputs[0], outputs[1]):
        return False
    moved = (outputs[2] - outputs[0])[rows, places].flatten(1).abs().amax(dim=1)
    return bool((moved > _SEEN * statistics.rms(outputs[0])).float().mean() > 0.5)


def along_batch(model: nn.Module, inputs: tuple[Any, ...], lengths: dict[str, tuple[int, int]]) -> str | None:
    """A layer without batch_first whose sequences run along the batch: they shorten as the batch does.

    Args:
        model: runs in train mode; the caller puts modes, buffers and random state back.
        inputs: what it takes; tensors with as many rows as the first are cut alike.
        lengths: by layer, the first two sizes of what it was given.

    Returns:
        Its name; None where there is none.
    """
    first = first_tensor(inputs)
    size = len(first) if first is not None and first.dim() else 0
    suspects = {name for name, (length, width) in lengths.items() if length == size != width > 1}
    if size < 4 or not suspects:
        return None
    found: list[str] = []

    def hook(name: str) -> Callable[..., None]:
        return lambda module, args: found.append(name) if args and len(args[0]) == size // 2 else None

    handles = [model.get_submodule(name).register_forward_pre_hook(hook(name)) for name in suspects]
    try:
        set_training(model, True)
        with randomness_restored():
            model(*[x[: size // 2] if isinstance(x, Tensor) and x.dim() > 0 and len(x) == size else x for x in inputs])
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _by_token(output: Tensor, rows: int, length: int, time: int) -> list[Tensor]:
    """The output with its dimension of tokens first: of (batch, tokens, ...), (batch, classes, tokens), or flat ones."""
    if output.dim() > 1 and output.dim() < 3 and len(output) == rows * length:
        output = output.unflatten(0, (rows, length) if time == 1 else (length, rows))
    if output.dim() < 2 or rows not in output.shape[:2]:
        return []
    places = [dim for dim, size in enumerate(output.shape) if size == length and (dim != 0 or output.shape[1] == rows)]
    if time == 1 and len(output) == rows:
        places = [dim for dim in places if dim > 0]
    return [output.movedim(dim, 0) for dim in places] if output.dim() > 2 else []


def answer(model: nn.Module, inputs: list[Any], rows: int | None, seed: int = 0) -> Tensor | None:
    """The output with the random numbers of a seed; None where it is no tensor of numbers, with as many rows as are said."""
    set_training(model, False)
    try:
        # Indices beyond a sparse tensor's size, such as edges of left-out nodes, would end the process.
        with torch.no_grad(), randomness_restored(), torch.sparse.check_sparse_tensor_invariants():
            seed_all(seed)
            output = first_tensor(model(*inputs))
    except Exception:
        return None
    if output is None or output.dim() == 0 or not output.is_floating_point() or (rows is not None and len(output) != rows):
        return None
    return output.detach().float().clone()
