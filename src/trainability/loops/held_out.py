"""Evaluation passes of a loop that is not ours to edit: what its model tells of validation, beside the labels there."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.utils.data import DataLoader, IterableDataset, dataloader

from trainability.doctor.batches import first_tensor, tensors
from trainability.doctor.held_out_seen import HeldOutSeen
from trainability.doctor.measure import stance
from trainability.doctor.measure.of_loader import OfLoader, of_loader, without_workers
from trainability.doctor.measure.written_data import Stored, stored_in
from trainability.loops.evaluation_modes import EvaluationModes
from trainability.loops.events import Guard
from trainability.loops.monitor import Monitor
from trainability.loops.pass_lengths import PassLengths
from trainability.loops.streams import Streams

_MOST_EXAMPLES, _FEWEST_EXAMPLES, _MOST_CLASSES = 4000, 100, 1000
FRESH_PASSES = 3  # over the training data; behind them every so many-th evaluation is looked at, twice as many each time
_RECENT_STEPS = 20  # of the training loss
_MOST_STORED = 4  # data sets
_FEWEST_OF_CLASS, _RENAMED, _OWN = 10, 0.7, 0.1  # examples; shares of them by the other name, and by its own
_REST = 0.5  # of all examples are of other classes, or of these are told right


class HeldOut:
    """Listens to `DataLoader`s, and to the model's passes without gradients between two batches of one that is not trained on.

    Args:
        watched: the monitor of the only model that is trained; None where there are several, or none yet.
        given: called with each batch that a `DataLoader` yields.
    """

    def __init__(self, watched: Callable[[], Monitor | None], *, given: Callable[[Any], None]) -> None:
        self._watched, self._given_to = watched, given
        self._begun: Counter[int] = Counter()  # passes over a data set, by its id
        self._given: Counter[int] = Counter()  # examples of it in all steps
        self._trained_on: dict[int, int | None] = {}  # its length
        self._evaluated: Counter[int] = Counter()
        self._seen: dict[int, list[HeldOutSeen]] = {}
        self._trained: DataLoader[Any] | None = None  # of the last step
        self._others: DataLoader[Any] | None = None  # read last without gradients, and not trained on
        self._is_paired = False  # the model was given the first part of a batch, and the loss the second
        self._stored: dict[int, Stored | None] = {}  # of data sets, before anything has read them
        # By their iterators, which are all that a `for` statement holds; one that keeps worker processes is not kept alive.
        self._loaders: weakref.WeakKeyDictionary[Any, Callable[[], DataLoader[Any] | None]] = weakref.WeakKeyDictionary()
        self._last: tuple[DataLoader[Any] | None, Any, Any] | None = None  # with data set and batch; gradients were on
        self._place: str | None = None  # of the labels in a batch; "" where steps say different things
        self._pass: _Pass | None = None
        self._streams, self._modes, self._lengths = Streams(), EvaluationModes(), PassLengths()
        self._tell = Guard()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Follow `DataLoader`s while the block runs; an error in that is named once and never reaches the loop."""
        kind: Any = getattr(dataloader, "_BaseDataLoaderIter", None)
        original = getattr(kind, "__next__", None)
        if original is None:
            yield
            return

        @functools.wraps(original)
        def following(batches: Any) -> Any:
            try:
                batch = original(batches)
            except StopIteration:
                self._tell(self._end)
                raise
            self._tell(lambda: self._take(batches, batch))
            return batch

        begin = DataLoader.__iter__

        @functools.wraps(begin)
        def beginning(loader: DataLoader[Any]) -> Any:
            if id(loader.dataset) not in self._stored and len(self._stored) < _MOST_STORED:
                with contextlib.suppress(Exception):  # of a data set without a length
                    self._stored[id(loader.dataset)] = stored_in(loader)
            batches = begin(loader)
            kept = weakref.ref(loader) if loader.persistent_workers else lambda: loader
            with contextlib.suppress(TypeError):  # an iterator of somebody's own, of which no weak reference can be made
                self._loaders[batches] = kept
            return batches

        kind.__next__, DataLoader.__iter__ = following, beginning  # type: ignore[method-assign]
        try:
            yield
        finally:
            if kind.__next__ is following:
                kind.__next__ = original
            if DataLoader.__iter__ is beginning:
                DataLoader.__iter__ = begin  # type: ignore[method-assign]
            self._tell(self._end)

    def _take(self, batches: Any, batch: Any) -> None:
        self._given_to(batch)
        data, is_first = batches._dataset, batches._num_yielded == 1
        loader = ref() if (ref := self._loaders.get(batches)) is not None else None
        monitor = self._watched()
        if is_first or (self._pass is not None and self._pass.data is not data):
            self._end()
        if torch.is_grad_enabled() and (monitor is None or monitor.model.training):
            self._begun[id(data)] += is_first
            self._lengths.given(loader, batches._num_yielded)
            self._last = (loader, data, batch)
            self._streams.given(data, batch)
        elif is_first and monitor is not None:
            if self._trained_on and not self._is_trained_on(data):
                self._others = loader
                self._modes.begin(monitor, batch)
            self._pass = _Pass(data, monitor, self._place or "") if self._is_due(data) else None
        elif not torch.is_grad_enabled():
            self._modes.batch(batch)
        if self._pass is not None:
            self._pass.batch = batch

    def _is_trained_on(self, data: Any) -> bool:
        """Whether steps were made on a data set, or on another that holds the same first tensor."""
        first = next(iter(getattr(data, "tensors", ())), None)
        own = getattr(getattr(self._trained, "dataset", None), "tensors", ())
        return id(data) in self._trained_on or (first is not None and any(first is t for t in own))

    def _is_due(self, data: Any) -> bool:
        if not self._trained_on or id(data) in self._trained_on or not self._place or stance.has_compiled():
            return False
        self._evaluated[id(data)] += 1
        count = self._evaluated[id(data)]
        return self._passes <= FRESH_PASSES or count & (count - 1) == 0

    @property
    def _passes(self) -> float:
        """Passes over the training data, or as many times their number of examples; endless of unknown data."""
        sizes = list(self._trained_on.values())
        if None in sizes:
            return float("inf")
        given = max((self._given[key] / max(size or 0, 1) for key, size in self._trained_on.items()), default=0.0)
        return max(given, sum(self._begun[key] for key in self._trained_on))

    def of_loader(self, model: nn.Module) -> OfLoader | None:
        """What the data show once the loop has ended; None where they do not come from a `DataLoader`.

        To be asked when the loop needs them no more: what was stored of some examples before the first reading is put back.

        Args:
            model: that was trained on them.
        """
        if self._trained is None:
            return None
        before = self._stored.get(id(self._trained.dataset))
        return of_loader(model, self._trained, self._others, before=before, is_paired=self._is_paired)

    def batches(self) -> Iterable[Any]:
        """The loader that is trained on now, read in this process; nothing where there is none, or it reads from a stream."""
        loader = None if self._last is None else self._last[0]
        if loader is None or isinstance(loader.dataset, IterableDataset):
            return ()
        return without_workers(loader)

    def last_batch(self) -> Any:
        """What a loader has yielded last for training; None where none has."""
        return None if self._last is None else self._last[2]

    def stepped(self) -> None:
        """A step is over: what came last is trained on, and a step that was looked at tells which of it are the labels."""
        self._tell(self._stepped)

    def _stepped(self) -> None:
        self._end()
        if self._last is None:
            return
        self._trained, data, batch = self._last
        if id(data) not in self._trained_on:
            self._trained_on[id(data)] = len(data) if hasattr(data, "__len__") else None
        self._given[id(data)] += _num_examples(batch, self._place)  # of several steps on one batch, each counts
        monitor = self._watched()
        if monitor is not None and (given := monitor.was_given(batch)) is not None:
            self._is_paired = given
        asked = monitor.asked_of_last_step() if monitor is not None else None
        if asked is not None:
            places = [name for name, tensor in tensors(batch) if _are_labels(tensor) and _asks(tensor, *asked)]
            if len(places) == 1:
                self._place = places[0] if self._place in (None, places[0]) else ""
        self._streams.stepped(self._trained, data, self._place, None if asked is None else asked[0])
        if monitor is not None:
            monitor.of_script["short_pass"] = self._lengths.left_early()
        if monitor is not None and asked is not None:
            monitor.streamed = self._streams.order(data, self._place)

    def _end(self) -> None:
        """A pass over validation is over."""
        self._modes.end()
        if self._pass is None:
            return
        over, self._pass = self._pass, None
        over.handle.remove()
        found = over.result(self._passes)
        if found is None:
            return
        kept = self._seen.setdefault(id(over.data), [])
        later = [seen for seen in kept if seen.passes > FRESH_PASSES]
        kept[:] = [*(seen for seen in kept if seen.passes <= FRESH_PASSES), *later[-1:], found]
        # Of several sets, as one that is meant to be of another kind, the one that is told best counts.
        best = max(self._seen.values(), key=lambda each: each[-1].hits - each[-1].most_frequent)
        over.monitor.of_script["held_out"] = tuple(best)


class _Pass:
    """One pass over a data set without gradients."""

    def __init__(self, data: Any, monitor: Monitor, place: str) -> None:
        self.data, self.monitor, self.batch = data, monitor, None
        self._place, self._model = place, monitor.model
        self._answers: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._count = 0
        self._called: set[nn.Module] = set()
        self._as_loaded = True
        self._is_plain = True  # no gradients, as those that an attack on the inputs asks for
        self.handle = module_hooks.register_module_forward_hook(self._on_module)

    def _on_module(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._count >= _MOST_EXAMPLES:
            return
        self._called.add(module)
        if module is self._model and torch.is_grad_enabled():
            self._is_plain = False
        if module is not self._model or self.batch is None or torch.is_grad_enabled():
            return
        batch, self.batch = self.batch, None
        with contextlib.suppress(Exception):  # one batch less
            given, parts = first_tensor(args), dict(tensors(batch))
            self._as_loaded &= given is not None and any(_are_same(given, part) for part in parts.values())
            answers, labels = first_tensor(output), parts.get(self._place)
            if answers is None or labels is None or not _are_labels(labels) or answers.dim() != 2:
                return
            width = answers.shape[1]
            if len(answers) == len(labels) and answers.is_floating_point() and 2 <= width <= _MOST_CLASSES:
                self._answers.append(answers.detach().float().cpu())
                self._labels.append(labels.detach().long().cpu())
                self._count += len(labels)

    def result(self, passes: float) -> HeldOutSeen | None:
        """What it showed; None of too few examples, of labels that are no classes of the answers or groups of them, and of
        other answers.

        A model that leaves out layers which it trains, as its last one, was asked for features and not for classes.
        """
        layers = dict(self._model.named_modules())
        is_whole = all(layers.get(name) in self._called for name in self.monitor.layers_in_use() if name in layers)
        if not self._is_plain or not is_whole:
            return None
        if self._count < _FEWEST_EXAMPLES or len({answers.shape[1] for answers in self._answers}) != 1:
            return None
        answers, labels = torch.cat(self._answers), torch.cat(self._labels)
        width = answers.shape[1]
        if int(labels.min()) < 0 or int(labels.max()) >= width or not bool(answers.isfinite().all()):
            return None
        shares = torch.bincount(labels, minlength=width) / len(labels)
        said = answers.argmax(dim=1)
        if _are_grouped(said, labels):
            return None
        is_probabilities = bool((answers >= 0).all()) and bool(((answers.sum(dim=1) - 1).abs() < 1e-3).all())
        logs = answers.clamp(min=1e-30).log() if is_probabilities else answers.log_softmax(dim=1)
        return HeldOutSeen(
            step=self.monitor.num_steps,
            num_examples=len(labels),
            hits=float((said == labels).float().mean()),
            most_frequent=float(shares.max()),
            loss=float(nn.functional.nll_loss(logs, labels)),
            constant_loss=float(-(shares * shares.clamp(min=1e-30).log()).sum()),
            training_loss=self.monitor.recent_loss(_RECENT_STEPS),
            passes=passes,
            running=any(getattr(m, "running_mean", None) is not None for m in self._model.modules()),
            renamed=_renamed(said, labels, width),
            as_loaded=self._as_loaded,
        )


def _are_same(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.numel() == other.numel() and torch.equal(one.flatten(), other.to(one).flatten()))


def _are_grouped(said: Tensor, labels: Tensor) -> bool:
    """Whether each class that the model names goes with one label, and several with the same: these are coarser on purpose."""
    rows = [labels[said == one].bincount() for one in said.unique()]
    rows = [counts for counts in rows if int(counts.sum()) >= _FEWEST_OF_CLASS]
    groups = {int(counts.argmax()) for counts in rows}
    is_one = all(int(counts.max()) >= _RENAMED * int(counts.sum()) for counts in rows)
    return is_one and 1 < len(groups) <= len(rows) / 2


def _renamed(said: Tensor, labels: Tensor, width: int) -> tuple[tuple[int, int], ...]:
    """Pairs of a class and another, under whose name validation has it, on each half of the examples."""
    first, second = (set(_pairs(said[part::2], labels[part::2], width)) for part in (0, 1))
    both = sorted(first & second)
    names = {name for _, name in both}
    is_one_to_one = len({told for told, _ in both}) == len(names) == len(both)
    rest = torch.tensor([int(label) not in names for label in labels])
    # Inputs of another kind bring a class or two under another name, and the others nowhere.
    is_rest_told = float(rest.float().mean()) <= _REST or float((said == labels)[rest].float().mean()) >= _REST
    return tuple(both) if is_one_to_one and is_rest_told else ()


def _pairs(said: Tensor, labels: Tensor, width: int) -> Iterator[tuple[int, int]]:
    counts = torch.zeros(width, width).index_put_((labels, said), torch.ones(len(labels)), accumulate=True)
    totals, own = counts.sum(dim=1), counts.diagonal()
    is_moved = own <= _OWN * totals  # a class that the model has never met is told as one that keeps its name
    for name in range(width):
        told = int(counts[name].argmax())
        is_other = told != name and is_moved[name] and is_moved[told]
        if is_other and totals[name] >= _FEWEST_OF_CLASS and counts[name, told] >= _RENAMED * totals[name]:
            yield told, name


def _are_labels(tensor: Tensor) -> bool:
    return tensor.dim() == 1 and len(tensor) > 0 and not tensor.is_floating_point() and tensor.dtype != torch.bool


def _asks(labels: Tensor, num_classes: int, first_class: int) -> bool:
    """Whether these are the classes that the gradient of a step's logits asked for."""
    return int(labels[0]) == first_class and len(labels.unique()) == num_classes


def _num_examples(batch: Any, place: str | None) -> int:
    """As many as labels, where these are known; else the shortest tensor's rows."""
    rows = {name: len(tensor) for name, tensor in tensors(batch) if tensor.dim()}
    return rows.get(place or "", min(rows.values(), default=0))
