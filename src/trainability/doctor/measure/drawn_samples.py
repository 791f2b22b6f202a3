"""Whether the random numbers of a forward pass are a sample that the model itself describes, as a variational autoencoder's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_NORMAL = frozenset({"randn", "randn_like", "normal"})
_RANDOM = _NORMAL | frozenset(
    {"rand", "rand_like", "randint", "randint_like", "randperm", "bernoulli", "multinomial", "exponential", "uniform"}
    | {"poisson", "geometric", "cauchy", "log_normal", "random", "gumbel_softmax"}
)
_PRODUCTS = frozenset({"mul", "rmul", "imul", "multiply"})
_SUMS = frozenset({"add", "radd", "iadd"})
_KEEPS = frozenset({"to", "type_as", "view", "reshape", "unsqueeze", "squeeze", "expand", "expand_as", "float", "double"})
_INPUT, _WEIGHT = 1, 2
_MADE = _INPUT | _WEIGHT  # by weights, of the input


class DrawnSamples(TorchFunctionMode):
    """Follows what is made of a model's input by its weights, and of normal draws: mean + scale * draw, with both of the model.

    Noise that is scaled by a constant or by a parameter (augmentation, noisy layers) is none, and no other distribution is.

    Args:
        model: that is called.
        inputs: what it takes.
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        super().__init__()
        self._alive: list[Any] = []  # an id is only unique while its tensor lives
        self._of = {id(x): _WEIGHT for x in (*model.parameters(), *model.buffers())}
        self._of |= {id(x): _INPUT for x in _tensors(inputs)}
        self._draws: set[int] = set()
        self._normal: dict[int, int] = {}  # of a normal draw, also reshaped, the draw
        self._products: dict[int, int] = {}  # of a draw and a scale of the model, and the draw
        self._unused: set[int] = set()

    @property
    def are_all(self) -> bool:
        """Whether random numbers were drawn, and all of them made such a sample."""
        return bool(self._draws) and not self._unused

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        given, name = list(_tensors([*args, *kwargs.values()])), getattr(func, "__name__", "").strip("_")
        before = [self._of.get(id(x), 0) for x in given]  # in-place functions return what they were given
        result = func(*args, **kwargs)
        made = list(_tensors([result]))
        self._alive += made
        if name in _RANDOM:
            for tensor in made:
                self._normal |= {id(tensor): id(tensor)} if name in _NORMAL else {}
                self._drawn(tensor, is_sample=name == "normal" and _MADE in before)
        elif made:
            self._follow(name, given, before, made)
        return result

    def _drawn(self, tensor: Tensor, *, is_sample: bool) -> None:
        self._draws.add(id(tensor))
        self._of[id(tensor)] = _MADE if is_sample else 0
        if not is_sample:
            self._unused.add(id(tensor))

    def _follow(self, name: str, given: list[Tensor], before: list[int], made: list[Tensor]) -> None:
        draws = [self._normal[id(x)] for x in given if id(x) in self._normal]
        products = [self._products[id(x)] for x in given if id(x) in self._products]
        scales = _MADE in before
        if name in _PRODUCTS and draws and scales:
            self._products[id(made[0])] = draws[0]
        elif name in _PRODUCTS and products:
            self._products[id(made[0])] = products[0]
        elif name in _KEEPS and draws:
            self._normal[id(made[0])] = draws[0]
        elif name in _SUMS and scales:
            self._unused -= set(products)
        elif name == "addcmul" and before.count(_MADE) >= 2:
            self._unused -= set(draws)
        together = 0
        for own in before:
            together |= own
        for tensor in made:
            self._of[id(tensor)] = together


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values.values() if isinstance(values, dict) else values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple, dict)):
            yield from _tensors(value)
