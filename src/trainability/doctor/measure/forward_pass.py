"""One forward pass and loss, watched: what goes into the model and its layers, and what the loss compares."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.as_code import as_code
from trainability.doctor.batches import are_views_of_one, first_tensor, tensors
from trainability.doctor.measure import statistics
from trainability.doctor.measure.beyond_range import target_facts
from trainability.doctor.measure.calls import ByName, Call, is_needed
from trainability.doctor.measure.chains import Chains
from trainability.doctor.measure.columns import sines_behind
from trainability.doctor.measure.cosine_logits import CosineLogits
from trainability.doctor.measure.divided import Divided
from trainability.doctor.measure.dropping_calls import DroppingCalls
from trainability.doctor.measure.filled_extremes import FilledExtremes
from trainability.doctor.measure.ignored_words import are_between
from trainability.doctor.measure.layer_inputs import LayerInputs
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.loss_arguments import (
    may_be_shares,
    weighs_by_share,
    weighs_examples,
    weighs_rare,
    weights_given,
    wrong_argument,
)
from trainability.doctor.measure.one_target import column_beside
from trainability.doctor.measure.path_cuts import PathCuts
from trainability.doctor.measure.same_rows import are_one_row
from trainability.doctor.measure.warned import caller
from trainability.doctor.measure.whole_step import Parts
from trainability.doctor.measure.words_as_numbers import WordsAsNumbers

_TABLES = frozenset({"embedding", "embedding_bag", "one_hot"})
ELEMENTWISE = frozenset(
    {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "sub", "rsub", "subtract", "mul", "binary_cross_entropy"}
    | {"binary_cross_entropy_with_logits", "eq", "pow", "kl_div", "poisson_nll_loss"}
)
_BOUNDED = frozenset({"softmax", "sigmoid", "relu", "tanh", "log_softmax", "softplus", "exp"})
_FLAT = frozenset({"round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside"})
# Losses that are never below zero and leave no node of their own in the graph.
_NEVER_NEGATIVE = frozenset(
    {"kl_div", "ctc_loss", "triplet_margin_loss", "margin_ranking_loss", "cosine_embedding_loss", "soft_margin_loss"}
    | {"hinge_embedding_loss", "multi_margin_loss", "multilabel_margin_loss"}
)
_MARKED = ("binary_cross_entropy_with_logits", "binary_cross_entropy")
_DIFFERENCES = frozenset({"sub", "rsub", "subtract"})
_MOST_REDUCED = 8
_OWN = __name__.partition(".")[0] + "."
DISTANCES = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})


class ForwardPass(TorchFunctionMode):
    """One forward pass and loss, watched: what goes into the model and its layers, and what the loss sets against what.

    Attributes:
        inputs: positional arguments of the model's first call; where there are none, those by name, without labels that it
            can do without.
        names: of the latter; empty for positional ones.
        output: first tensor that it returned; of several models, that of the last to be called first; of a model that is never
            called as a whole, that of the last of its parts.
        returned: all tensors that it returned.
        calls: the first call of the model, or of each of several, in their order.
        handed: tensors that every call gets of the model, or of a part that no other called.
        given: what goes into the layers.
        chains: linear layers that are given each other's output.
        last: the last call with a gradient of a module that no other called: a part's, where the model is not called itself.
        called: names of modules that ran.
        distance: the first function of `torch.nn.functional` that took the difference of one tensor with a gradient and one
            without, of the same shape; its name, and the two.
        against: the same two; or a tensor that the model returned and one of the batch, where one is taken from the other.
        beside_column: examples and outputs of the first that such a function set against one column of numbers.
        marks: targets of the first binary cross-entropy, as the loss was given them.
        marked: its name, and the outputs that it was given.
        weighs_examples: whether a loss of classes counts some for more than others, or may, as its caller takes the mean.
        wrong_argument: a loss that is given something else than it takes, and what, as `wrong_argument` says.
        class_weights: the target and the weights of a loss that counts one class for three times another or more.
        share_weights: the loss, its target and its weights, where these are near the batch's shares, or may be the data set's.
        terms: results of losses of PyTorch that are never below zero, by name.
        reduced: what a mean or a sum was taken of, to one number with a gradient, after the model's first call; not many.
        flat: where the last function was called whose slope is zero wherever it has one.
        cuts: where the path from weights to what is computed ends.
        asks_itself: whether the model, or a part of it that no other called, ran without gradients, as to make goals.
        adds_terms: whether two numbers with a gradient are added, as terms of a loss.
        makers: nodes of the graph by id, of functions that bound their result, each with where it was called, as code.
    """

    def __init__(self, model: nn.Module, batch: Any) -> None:
        super().__init__()
        self.model = model
        self.batch = [(name, t) for name, t in tensors(batch) if t.layout == torch.strided]  # a sparse one has no address
        self.inputs: tuple[Any, ...] = ()
        self.names: tuple[str, ...] = ()
        self.output: Tensor | None = None
        self.returned: list[Tensor] = []
        self.calls: list[Call] = []
        self.handed: list[Tensor] = []
        self.last: Call | None = None
        self.called: dict[str, None] = {}
        self._words = WordsAsNumbers(self.batch, model)
        self._pair: tuple[Tensor, Tensor] | None = None
        self.distance: tuple[str, Tensor, Tensor] | None = None
        self.against: tuple[Tensor, Tensor] | None = None
        self.beside_column: tuple[int, int] | None = None
        self.marks: Tensor | None = None
        self.marked: tuple[str, Tensor] | None = None
        self._ignored: tuple[int, float] | None = None
        self.divided, self.extremes, self.dropping = Divided(), FilledExtremes(), DroppingCalls()
        self.cosines = CosineLogits()
        self.looks_up = self.takes_sine = self.weighs_examples = self.asks_itself = self.adds_terms = False
        self._sines: list[tuple[float, Any]] = []
        self.wrong_argument: tuple[str, str] | None = None
        self.share_weights: tuple[str, Tensor, Tensor] | None = None
        self.class_weights: tuple[Tensor, Tensor] | None = None
        self.flat: str | None = None
        self.cuts = PathCuts()
        self.reduced: list[Tensor] = []
        self.terms: list[tuple[str, Tensor]] = []
        self.given, self.chains = LayerInputs(self.batch), Chains()
        self._one_row: dict[nn.Module, bool] = {}
        self._handles: list[Any] = []
        self.makers: dict[int, tuple[Any, str]] = {}
        self._running: list[tuple[str, nn.Module]] = []

    def __enter__(self) -> ForwardPass:
        outer = list(self.model.children()) if isinstance(self.model, Parts) else [self.model]
        self._handles = [part.register_forward_hook(LeftBehind(self._on_output), with_kwargs=True) for part in outer]
        for name, module in self.model.named_modules():
            self._handles.append(module.register_forward_pre_hook(LeftBehind(self._on_layer(name)), with_kwargs=True))
            self._handles.append(module.register_forward_hook(LeftBehind(self._on_return), with_kwargs=True, always_call=True))
        super().__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)
        for handle in self._handles:
            handle.remove()

    def _on_output(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        self._one_row[module] = self._one_row.get(module, True) and are_one_row(args, output, self.batch)
        if any(call.model is module for call in self.calls):
            return
        call = self._call(module, args, kwargs, output)
        self.calls.append(call)
        if len(self.calls) == 1:
            self.names, self.inputs = call.names, call.inputs
        self.output, self.returned = first_tensor(output), call.returned

    def _call(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Call:
        names = () if args else tuple(name for name in kwargs if "label" not in name or is_needed(module, name))
        inputs = args or tuple(kwargs[name] for name in names)
        is_whole = not args or not any(True for _ in tensors(kwargs))
        returned = [tensor for _, tensor in tensors(output)]
        return Call(model=module, inputs=inputs, names=names, returned=returned, is_whole=is_whole)

    def _on_return(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if self._running and self._running[-1][1] is module:
            name = self._running.pop()[0]
            self.chains.leave(name, module, args, output)
            self.given.left(name, module, args, output, is_outer=not self._running)
        self.asks_itself |= not self._running and not torch.is_grad_enabled()
        if not self._running and (found := first_tensor(output)) is not None and found.requires_grad:
            self.last = self._call(module, args, kwargs, output)
            self.given.pooled.answered(output)
            if not self.calls:  # a step that calls parts of the model answers by the last
                self.output, self.returned = found, self.last.returned

    def _place(self, function: str) -> str:
        """Where a function is called: the module that is nothing else, or the method that calls it."""
        if not self._running:
            return f"{function}() in the loss"
        name, module = self._running[-1]
        kind = type(module)
        is_alone = (
            name and not any(True for _ in module.children()) and kind.__module__.startswith("torch.nn.modules.activation")
        )
        return f"{as_code(name)}, a torch.nn.{kind.__name__}" if is_alone else f"{function}() in {kind.__name__}.forward"

    def _on_layer(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def seen(module: nn.Module, args: Any, kwargs: Any) -> None:
            self.called[name] = None
            if not self._running:
                self.handed += (tensor for _, tensor in tensors((args, kwargs)))
            self._running.append((name, module))
            self.given.see(name, module, args, kwargs)
            self.chains.enter(name, module, args)

        return seen

    def _see_loss(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Look at what a loss is given beside outputs and targets."""
        target = args[1] if len(args) > 1 else None
        if self.wrong_argument is None and (found := wrong_argument(name, args, kwargs)) is not None:
            self.wrong_argument = found if found[1] != "several" or not self._is_given(target) else None
            if found[1] == "rare_lighter" and isinstance(target, Tensor) and weighs_by_share(name, args, kwargs):
                self.share_weights = name, target, weights_given(name, args, kwargs)
        elif self.share_weights is None and isinstance(target, Tensor) and may_be_shares(name, args, kwargs):
            self.share_weights = name, target, weights_given(name, args, kwargs)
        weights = weighs_rare(name, args, kwargs) if self.class_weights is None else None
        if weights is not None and isinstance(target, Tensor):
            self.class_weights = target, weights
        self.weighs_examples |= weighs_examples(name, args, kwargs)

    def _is_given(self, target: Any) -> bool:
        """Whether the model is given what is its target, too, as an autoencoder of a bag of words is."""
        return any(isinstance(x, Tensor) and x.shape == target.shape and bool((x == target).all()) for x in self.inputs)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")
        of_program = not caller(sys._getframe()).f_globals.get("__name__", "").startswith(_OWN)  # hooks look at tensors, too
        if of_program:
            self._words.see(name, args, kwargs, self._layer(), is_answered=self.output is not None)
        if self.output is not None and self._pair is None and name in ELEMENTWISE:
            self._compare(name, args)
        if self.output is not None and self.distance is None and name in DISTANCES and len(args) > 1:
            a, b = args[:2]
            if (
                isinstance(a, Tensor)
                and isinstance(b, Tensor)
                and a.shape == b.shape
                and a.requires_grad
                and not b.requires_grad
            ):
                self.distance, self.against = (name, a, b), (a, b)
        if self.output is not None and self.beside_column is None and name in DISTANCES and len(args) > 1:
            self.beside_column = column_beside(*args[:2])
        if self.output is not None and self.against is None and name in _DIFFERENCES and len(args) > 1:
            self.against = self._set_against(args[0], args[1])
        if self.output is not None and self.marks is None and name in _MARKED:
            given = args[1] if len(args) > 1 else kwargs.get("target")
            self.marks = given if isinstance(given, Tensor) else None
            self.marked = (name, args[0]) if args and isinstance(args[0], Tensor) else None
        if name in ("cross_entropy", "nll_loss") and self._ignored is None and len(args) > 1:
            self._ignored = self._ignores(args, kwargs)
        self.looks_up |= name in _TABLES
        self.dropping.see(func, args, kwargs)
        self._see_loss(name, args, kwargs)
        result = func(*args, **kwargs)
        if name in _BOUNDED and isinstance(result, Tensor) and result.grad_fn is not None:
            self.makers[id(result.grad_fn)] = (result.grad_fn, self._place(name))
        if name == "sin" and self._running and result.requires_grad:
            self.takes_sine = True
            angle = first_tensor((*args, *kwargs.values()))
            if angle is not None:
                self._sines.append((float(statistics.rms(angle.detach().float())), angle.grad_fn))
        if name in _FLAT and isinstance(result, Tensor) and result.requires_grad:
            self.flat = self._place(name)
        if name in _NEVER_NEGATIVE and isinstance(result, Tensor) and result.requires_grad and result.dim() == 0:
            self.terms.append((name, result))
        if (
            name in ("mean", "sum")
            and self.output is not None
            and len(self.reduced) < _MOST_REDUCED
            and args
            and _is_reduced(args[0], result)
        ):
            self.reduced.append(args[0])
        if name in ("add", "radd", "iadd") and isinstance(result, Tensor) and result.dim() == 0 and result.requires_grad:
            self.adds_terms |= all(isinstance(x, Tensor) and x.requires_grad for x in args[:2])
        self.divided.see(name, args, kwargs, result)
        self.cosines.see(name, args, kwargs, result)
        if of_program:
            with torch._C.DisableTorchFunction():
                self.cuts.see(name, func, args, kwargs, result, self._place)
        with contextlib.suppress(Exception):  # one fact less: numbers inside of torch.func cannot be looked at
            self.extremes.see(name, args, kwargs, result)
        if of_program:
            self._words.follow(name, args, kwargs, result)
        return result

    def _set_against(self, a: Any, b: Any) -> tuple[Tensor, Tensor] | None:
        """What the model returned and a tensor of the batch, in whichever order a hand-written loss subtracts them."""
        returned, given = {id(tensor) for tensor in self.returned}, {id(tensor) for _, tensor in self.batch}
        for output, target in ((a, b), (b, a)):
            if isinstance(output, Tensor) and id(output) in returned and id(target) in given and output.shape == target.shape:
                return output, target
        return None

    def _ignores(self, args: tuple, kwargs: dict) -> tuple[int, float] | None:
        """A class that the loss leaves out, where each example has one label, each pixel, or each word between others."""
        logits, target = args[:2]
        index = kwargs.get("ignore_index", args[4] if len(args) > 4 else None)
        first = first_tensor(self.inputs)
        if not isinstance(index, int) or not isinstance(target, Tensor) or not isinstance(logits, Tensor) or first is None:
            return None
        of_examples = target.dim() == 1 and logits.dim() == 2 and first.shape[:1] == target.shape
        of_pixels = target.dim() == 3 and logits.dim() == 4 and first.dim() == 4 and first.is_floating_point()
        of_words = not first.is_floating_point() and are_between(first, target, index, logits.shape[1])
        if not (of_examples or of_pixels or of_words) or not 0 <= index < logits.shape[1]:
            return None
        share = float((target == index).float().mean())
        return (index, share) if share > 0 else None

    def _layer(self) -> str | None:
        """The layer that runs, if it has weights."""
        name, module = self._running[-1] if self._running else ("", None)
        has_weights = module is not None and any(p.dim() > 1 for p in module.parameters(recurse=False))
        return name if has_weights else None

    def _compare(self, name: str, args: tuple) -> None:
        a, b = (*(item for item in args if isinstance(item, Tensor)), None, None)[:2]
        if a is None or b is None or a.shape == b.shape or a.numel() != b.numel() or a.numel() < 2:
            return
        assert self.output is not None
        targets = [tensor.shape for _, tensor in self.batch]
        returned = {id(tensor) for tensor in self.returned}
        labels = {tensor.data_ptr() for _, tensor in self.batch if tensor.numel() == a.numel()}
        column_and_row = {a.shape, b.shape} == {(a.numel(),), (a.numel(), 1)}
        for output, target in ((a, b), (b, a)):
            # A column as the model returned it, against a row: a loss that compares all pairs makes its column itself, or its
            # row of that column, and does not hand it to a loss of PyTorch, which warns of it.
            column = id(output) in returned and output.shape == (len(output), 1) and target.dim() == 1
            column = column and not are_views_of_one(target, output)
            held = output.requires_grad and not target.requires_grad
            crossed = held and name in DISTANCES and column_and_row
            # Distances of pairs, which the model did not return, and labels of the batch as a column, or the other way round.
            paired = held and column_and_row and target.data_ptr() in labels
            if column or crossed or paired or (held and output.shape == self.output.shape and target.shape in targets):
                self._pair = (output, target)

    def all_given(self) -> bool:
        """Whether the model is given every tensor of the batch, of which there are several, so that none is a target alone."""
        given = [tensor.detach() for tensor in self.handed]
        return len(self.batch) > 1 and all(any(_is_part(own.detach(), each) for each in given) for _, own in self.batch)

    def taken_as_numbers(self) -> list[tuple[Tensor, str | None]]:
        """Sequences of the batch that go into a layer as they are, or scaled, and are looked up nowhere; with the layer."""
        return self._words.taken()

    def asked_as_classes(self) -> tuple[Tensor, list[tuple[Tensor, str | None]]] | None:
        """Classes that the loss asks for, and sequences of the batch that go into a layer as amounts; None of other losses."""
        return (self._words.classes, self._words.plain()) if self._words.classes is not None else None

    def columns_taken_as_numbers(self) -> list[tuple[Tensor, str | None]]:
        """Whole numbers of the batch, one an example, that go into a layer as they are, or scaled; with the layer."""
        return self._words.columns()

    @property
    def lengths(self) -> dict[str, tuple[int, int]]:
        """By recurrent or attention layer without batch_first, the first two sizes of its input."""
        return self.given.lengths

    def target(self) -> Tensor | None:
        """What the loss most likely sets against the output: the last tensor of the batch, or one with "label" in its name."""
        if self._pair is not None:
            return self._pair[1]
        found = self.batch[::-1]
        found.sort(key=lambda item: "label" not in item[0])
        return found[0][1] if len(found) > 1 else None

    def facts(self, loss: Tensor | None = None) -> dict[str, Any]:
        """The fields that need nothing but the pass, and its loss with its graph."""
        target, broadcast = self.target(), None
        output = self._pair[0] if self._pair is not None else self.output
        if self._pair is not None:
            shape = tuple(torch.broadcast_shapes(self._pair[0].shape, self._pair[1].shape))
            broadcast = shape if torch.Size(shape).numel() > self._pair[0].numel() else None
        words, layer = self._words.found() or (None, None)
        facts = {
            "output_shape": tuple(output.shape) if output is not None else (),
            "target_shape": tuple(target.shape) if target is not None else (),
            "broadcast_shape": broadcast,
            **self.given.facts(self.output, self.inputs),
            "nonfinite_inputs": tuple(
                name for name, tensor in self.batch if tensor.is_floating_point() and not bool(tensor.isfinite().all())
            ),
            "filled_extreme": self.extremes.found,
            "function_dropout": self.dropping.largest,
            "softened": self.divided.softened,
            "distilled": self.divided.distilled if not self.adds_terms else None,
            "temperatures": self.divided.temperatures,
            "cosine_scale": self.cosines.scale,
            "over_examples": self.cosines.over_examples,
            "ignored_class": self._ignored,
            "looks_up": self.looks_up,
            "asks_itself": self.asks_itself,
            "takes_sine": self.takes_sine,
            "sine_of": max((size for size, node in self._sines if sines_behind(node)), default=None),
            "third_sine_of": max((size for size, node in self._sines if sines_behind(node) > 1), default=None),
            "wrong_argument": self.wrong_argument,
            "weighs_examples": self.weighs_examples,
            "flat_function": self.flat,
            "one_row": tuple(name for name, module in self.model.named_modules() if self._one_row.get(module)),
            "numbers_for_words": words,
            "number_layer": layer,
        }
        given = first_tensor(self.inputs)
        if given is not None and given.is_floating_point() and given.numel() > 1:
            facts |= {"input_mean": float(given.detach().mean()), "input_std": float(given.detach().float().std())}
        if self.output is not None and self.output.is_floating_point():
            facts["output_rms"] = float(statistics.rms(self.output.detach().float()))
        if self.distance is not None:  # as the loss is given them: it may scale both, or make the target itself
            target = self.distance[2]
            facts["output_rms"] = float(statistics.rms(self.distance[1].detach().float()))
        elif self.marks is not None:
            target = self.marks
        if target is not None and target.is_floating_point() and target.numel() > 0:
            values = target.detach().float()
            facts |= {"target_rms": float(statistics.rms(values)), "target_mean": float(values.mean())}
        # Of several losses the binary one's: the others' targets may have any value.
        marked = (self.marked[1] if self.marked is not None else None, self.marks)
        output, target = marked if self.marks is not None else self.against or (None, None)
        return facts | (target_facts(target, output, loss) if target is not None and target.numel() > 0 else {})


def _is_reduced(given: Any, result: Any) -> bool:
    is_number = isinstance(result, Tensor) and result.dim() == 0 and result.requires_grad
    return is_number and isinstance(given, Tensor) and given.dim() > 0


def _is_same(one: Tensor, other: Tensor) -> bool:
    kinds = [(t.shape, t.dtype, t.device, t.layout) for t in (one, other)]
    return one is other or (kinds[0] == kinds[1] and one.layout == torch.strided and torch.equal(one, other))


def _is_part(own: Tensor, given: Tensor) -> bool:
    """Whether a tensor is given, alone or with others of its shape, behind each other or example by example."""
    if own.dim() == 0 or own.shape[1:] != given.shape[1:] or not len(own) or len(given) % len(own):
        return _is_same(own, given)
    times = len(given) // len(own)
    return any(
        _is_same(own, part) for k in range(times) for part in (given[k * len(own) : (k + 1) * len(own)], given[k::times])
    )


def callable_model(seen: Call | ForwardPass) -> nn.Module:
    """The model of a call, or of a pass, to be called with its `inputs` in their order."""
    return ByName(seen.model, seen.names) if seen.names else seen.model
