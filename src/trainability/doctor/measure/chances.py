"""Distributions inside one pass: which outcomes a loss makes likelier, and draws that hand no gradient on."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import first_tensor
from trainability.doctor.measure.credit import Credit
from trainability.doctor.measure.outcomes import Outcomes
from trainability.doctor.measure.policy_terms import PolicyTerms
from trainability.doctor.measure.warned import call_as_caller

_GOOD = frozenset({"advantage", "adv", "return", "ret", "reward", "gain", "payoff", "profit"})
_LETTERS = frozenset({"R", "G", "r"})  # of returns and rewards, in the field's own notation
_UNSURE = frozenset({"neg", "negative", "minus", "cost", "loss", "regret", "penalty", "baseline"})
# Functions that keep the order of what they are given, number by number or in groups.
_KEEP = frozenset(
    {"stack", "cat", "concat", "sum", "mean", "squeeze", "unsqueeze", "view", "reshape", "flatten", "getitem", "exp", "clamp"}
    | {"clip", "min", "max", "minimum", "maximum", "add", "radd", "gather", "transpose", "permute", "t", "contiguous", "float"}
    | {"double", "to", "movedim", "select", "index_select", "take_along_dim"}
)
_READS = frozenset({"item", "tolist", "numpy", "array", "int", "float", "bool", "index"})  # and give no tensor
_ACTS = frozenset({"bernoulli", "multinomial", "normal"})
_FEWEST = 8  # weights that are compared
_MOST_FRAMES = 40
_SAME, _OTHER = 0.9, -0.5
_TORCH = torch.__path__[0]
_OWN = __name__.partition(".")[0]


class Chances(TorchFunctionMode):
    """Follows log-probabilities through one pass to where they are multiplied by a weight for each, and looks at their draws.

    Attributes:
        met: log-probabilities where they are multiplied, each with its sign (-1 for a cross-entropy) and with the program's
            variables of as many values whose names, or what they were computed from, say that large is good, by name.
        acts: whether something is drawn without a gradient by what has one, as a policy acts.
        draws: draws without a gradient from a distribution whose parameters have one: its name, the draw, and the
            distribution; None of `torch.normal`. One that another distribution draws from is not told beside it.
        credit: what log-probabilities of draws are multiplied by, beside the program's rewards.
    """

    def __init__(self, *, shift: float = 0.0) -> None:
        super().__init__()
        self.shift, self.acts, self.credit, self._outcomes = shift, False, Credit(), Outcomes()
        self._terms = PolicyTerms()
        self.met: list[tuple[Tensor, float, dict[str, Tensor]]] = []
        self.draws: list[tuple[str, Tensor, Distribution | None]] = []
        self._signs: dict[int, tuple[Tensor, float]] = {}
        self._asked: set[int] = set()  # addresses of the values whose log-probability is computed
        self._sources: dict[int, Distribution] = {}  # by id; whose log_prob was called
        self._drawn: dict[int, Tensor] = {}  # by address
        self._policies: dict[int, Distribution] = {}  # by id; that were asked for the chance of a draw
        self._entropies: list[tuple[Distribution, Tensor]] = []
        self._is_asking = 0  # calls of log_prob inside each other
        self._put_back: list[tuple[type, str, Any]] = []
        self._gradients: dict[int, Tensor] = {}

    def __enter__(self) -> Chances:
        self.patch()
        super().__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)
        self.put_back()

    def patch(self) -> None:
        """Follow the distributions' methods; `put_back` takes it back."""
        for kind in _kinds(Distribution):
            for name, wrap in (("log_prob", self._log_prob), ("sample", self._sample), ("entropy", self._entropy)):
                if (own := vars(kind).get(name)) is not None and not getattr(own, "__isabstractmethod__", False):
                    self._put_back.append((kind, name, own))
                    setattr(kind, name, wrap(own))

    def put_back(self) -> None:
        """Leave the distributions' methods as they were."""
        for kind, name, own in reversed(self._put_back):
            setattr(kind, name, own)
        self._put_back = []

    def _log_prob(self, own: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(own)
        def log_prob(distribution: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
            self._is_asking += 1
            try:
                result = own(distribution, value, *args, **kwargs)
            finally:
                self._is_asking -= 1
            self._sources[id(distribution)] = distribution
            if isinstance(value, Tensor):
                self._asked.add(value.data_ptr())
                if value.data_ptr() in self._drawn:
                    self._policies[id(distribution)] = distribution
            if isinstance(result, Tensor) and result.requires_grad:
                self._signs[id(result)] = (result, 1.0)
                self.credit.asked(result, value)
            return result

        return log_prob

    def _entropy(self, own: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(own)
        def entropy(distribution: Any, *args: Any, **kwargs: Any) -> Any:
            result = own(distribution, *args, **kwargs)
            if isinstance(result, Tensor) and result.requires_grad:
                self._entropies.append((distribution, result))
                result.register_hook(functools.partial(self._keep, id(result)))
            return result

        return entropy

    def _sample(self, own: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(own)
        def sample(distribution: Any, *args: Any, **kwargs: Any) -> Any:
            inner, before = len(self.draws), self.credit.num_draws
            result = own(distribution, *args, **kwargs)
            is_cut = isinstance(result, Tensor) and distribution.has_rsample and torch.is_grad_enabled()
            if is_cut and any(t.requires_grad for t in _parameters(distribution)) and not result.requires_grad:
                result = result + self.shift
                self.draws[inner:] = [(type(distribution).__name__, result, distribution)]
            self.credit.drawn(result, before)
            if isinstance(result, Tensor):
                self._drawn[result.data_ptr()] = result
            return result

        return sample

    def unasked(self) -> str | None:
        """The distribution of a draw whose log-probability nobody computed: no gradient reaches what it was drawn from.

        A draw that was changed before it was asked about (clamped to the actions that exist) is one of a distribution that was.
        """
        for name, value, distribution in self.draws:
            if value.data_ptr() not in self._asked and id(distribution) not in self._sources:
                return name
        return None

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        result, name = call_as_caller(func, args, kwargs), getattr(func, "__name__", "").strip("_")
        # torch.normal is drawn with a graph, whose gradients are zero.
        if name == "normal" and torch.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in args):
            result = result.detach() + self.shift
            self.draws.append(("torch.normal", result, None))
        if not self._is_asking and (name in _READS or isinstance(first_tensor(result), Tensor)):
            self.credit.used((*args, *kwargs.values()))
        with contextlib.suppress(Exception):  # a sign less that can be told
            self._outcomes.see(name, args, kwargs, result)
            self._terms.see(name, args, result, self._signs)
        if isinstance(result, Tensor) and result.requires_grad:
            self._follow(name, args, kwargs, result)
        elif name in _ACTS:
            self.credit.drawn(result)
            self.acts |= any(isinstance(a, Tensor) and a.requires_grad for a in args)
        return result

    def _follow(self, name: str, args: tuple, kwargs: dict, result: Tensor) -> None:
        if name == "log_softmax" or (name in ("cross_entropy", "nll_loss") and kwargs.get("reduction") == "none"):
            self._signs[id(result)] = (result, 1.0 if name == "log_softmax" else -1.0)
            if name != "log_softmax" and len(args) > 1:
                self.credit.asked(result, args[1])
            return
        place, known = next(self._known(args), (0, None))
        if known is None:
            return
        tensor, sign = known
        self.credit.follow(name, args, result)
        if name in ("gather", "getitem") and (chosen := _chosen(args)) is not None:
            self.credit.asked(result, chosen)
        if name in ("mul", "rmul", "multiply") and len(args) > 1:
            self.credit.met(tensor, args[1 - place])
        if name in _KEEP:
            self._signs[id(result)] = (result, sign)
        elif name in ("neg", "negative", "rsub") or (name in ("sub", "subtract") and place == 1):
            self._signs[id(result)] = (result, -sign)
        elif name in ("sub", "subtract"):
            self._signs[id(result)] = (result, sign)
        elif name in ("mul", "rmul", "multiply", "div", "truediv", "divide") and len(args) > 1:
            weight = args[1 - place]
            if not isinstance(weight, Tensor) or weight.numel() == 1:
                number = float(weight.detach() if isinstance(weight, Tensor) else weight)
                self._signs[id(result)] = (result, sign if number > 0 else -sign)
            elif not name.startswith(("div", "truediv")) and tensor.numel() >= _FEWEST:
                named = _named(tensor.numel())
                if named := {each: v.detach().clone() for each, v in named.items() if self._outcomes.is_good(each, v)}:
                    self.met.append((tensor, sign, named))
                    tensor.register_hook(functools.partial(self._keep, id(tensor)))

    def _keep(self, key: int, gradient: Tensor) -> None:
        self._gradients.setdefault(key, gradient.detach())  # the loss's own: later passes may ask about parts of it

    def _known(self, args: tuple) -> Iterator[tuple[int, tuple[Tensor, float]]]:
        for place, item in enumerate(args):
            for part in item if isinstance(item, list | tuple) else (item,):
                if isinstance(part, Tensor) and id(part) in self._signs:
                    yield place, self._signs[id(part)]

    def facts(self) -> dict[str, Any]:
        """What is said of the loss, as fields of `Facts`; to be asked as `lowered`."""
        of_terms = {"moves_critic": self._terms.moves_critic(), "takes_better": self._terms.takes_better()}
        return {"lowered": self.lowered(), "sinks_entropy": self._sinks_entropy(), **of_terms, **self.credit.facts()}

    def _sinks_entropy(self) -> bool:
        """Whether the loss wants less entropy of the distributions whose draws it makes likelier or less likely."""
        of_policies = [value for of, value in self._entropies if id(of) in self._policies]
        slopes = [self._gradients[id(value)] for value in of_policies if id(value) in self._gradients]
        return bool(slopes) and all(bool((g >= 0).all()) for g in slopes) and any(bool(g.any()) for g in slopes)

    def lowered(self) -> tuple[str, float] | None:
        """A variable that says how good each outcome is, where the loss makes the good ones less likely.

        To be asked after the backward pass, or after `torch.autograd.grad` of the loss.

        Returns:
            The variable's name and its correlation with what the loss wants of the log-probabilities; None where there is none.
        """
        found: list[tuple[str, float]] = []
        for tensor, sign, named in self.met:
            if (gradient := self._gradients.get(id(tensor))) is not None:
                found += [(name, _correlation(sign * gradient, values)) for name, values in named.items()]
        wrong = [row for row in found if row[1] > _SAME]
        return wrong[0] if wrong and not any(value < _OTHER for _, value in found) else None


def _chosen(args: tuple) -> Tensor | None:
    """The integers by which log-probabilities are picked, a class of each row."""
    parts = args[-1] if isinstance(args[-1], tuple) else args[1:]
    return next((t for t in reversed(parts) if isinstance(t, Tensor) and t.dtype == torch.int64), None)


def _kinds(kind: type) -> Iterator[type]:
    yield kind
    for inner in kind.__subclasses__():
        yield from _kinds(inner)


def _parameters(distribution: Any) -> Iterator[Tensor]:
    for value in vars(distribution).values():
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Distribution):
            yield from _parameters(value)


def _named(size: int) -> dict[str, Tensor]:
    """Variables of the program's own frames that hold as many numbers, and have names of what is good where it is large."""
    found: dict[str, Tensor] = {}
    frame = sys._getframe(2)
    for _ in range(_MOST_FRAMES):
        if frame is None:
            break
        is_own = frame.f_globals.get("__name__", "").partition(".")[0] == _OWN
        if not is_own and not frame.f_code.co_filename.startswith(_TORCH):
            for name, value in _variables(frame.f_locals):
                if isinstance(value, Tensor) and value.is_floating_point() and value.numel() == size and _says_good(name):
                    found.setdefault(name, value)
        frame = frame.f_back
    return found


def _variables(variables: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in variables.items():
        yield name, value
        if isinstance(value, dict):
            yield from ((key, item) for key, item in value.items() if isinstance(key, str))


def _says_good(name: str) -> bool:
    parts = {part.lower().rstrip("s") for part in re.split(r"_|(?<=[a-z])(?=[A-Z])", name)}
    return (bool(parts & _GOOD) or name in _LETTERS) and not parts & _UNSURE


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a.double().flatten(), b.double().flatten()
    a, b = a - a.mean(), b - b.mean()
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size > 0 else 0.0
