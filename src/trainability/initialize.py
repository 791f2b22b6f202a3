"""Starting weights by a written plan: one scheme per weight layer, first to last.

`xavier:4,normal=0.01,xavier:3` gives the first four layers Glorot's scheme, the last three too, and every layer between them
N(0, 0.01). Biases are zero. Every tensor is drawn on the CPU from a generator of (seed, layer), so that the weights depend
neither on the device nor on which other layers a plan names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainability import keyed
from trainability.config import nearest
from trainability.vgg import VGG, paper_names


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A way to draw a weight tensor.

    `std(fan_in, fan_out, value)` is the standard deviation that it promises; `fill(weight, std, generator)` draws into a
    tensor of shape (fan_out-like, fan_in-like, ...). `value` names the parameter that the plan must give, if any.
    """

    std: Callable[[int, int, float], float]
    fill: Callable[[Tensor, float, torch.Generator], object]
    value: str | None
    source: str


def _fill_normal(weight: Tensor, std: float, generator: torch.Generator) -> object:
    return weight.normal_(0, std, generator=generator)


def _fill_uniform(weight: Tensor, std: float, generator: torch.Generator) -> object:
    bound = math.sqrt(3) * std  # Var(U(-a, a)) = a² / 3
    return weight.uniform_(-bound, bound, generator=generator)


def _fill_orthogonal(weight: Tensor, std: float, generator: torch.Generator) -> object:
    # std is 1 / sqrt(longer side) of the (out, fan_in) matrix times the gain; nn.init wants the gain.
    rows, columns = weight.shape[0], weight[0].numel()
    return nn.init.orthogonal_(weight, gain=std * math.sqrt(max(rows, columns)), generator=generator)


def _glorot_std(fan_in: int, fan_out: int, value: float) -> float:
    return math.sqrt(2 / (fan_in + fan_out))


def _he_std(fan_in: int, fan_out: int, value: float) -> float:
    return math.sqrt(2 / fan_in)


SCHEMES: dict[str, Scheme] = {
    "xavier": Scheme(std=_glorot_std, fill=_fill_uniform, value=None, source="Glorot & Bengio 2010, eq. 16"),
    "xavier-normal": Scheme(std=_glorot_std, fill=_fill_normal, value=None, source="Glorot & Bengio 2010, eq. 12"),
    "he": Scheme(std=_he_std, fill=_fill_normal, value=None, source="He et al. 2015, eq. 10"),
    "he-uniform": Scheme(std=_he_std, fill=_fill_uniform, value=None, source="He et al. 2015, eq. 10"),
    "lecun": Scheme(
        std=lambda fan_in, fan_out, value: math.sqrt(1 / fan_in),
        fill=_fill_normal,
        value=None,
        source="LeCun et al. 1998, eq. 16",
    ),
    "orthogonal": Scheme(
        # Rows (or columns, whichever are fewer) are orthonormal: mean square 1 / the longer side. fan_out counts the kernel's
        # area too, so `apply` passes the matrix's own sides.
        std=lambda columns, rows, value: 1 / math.sqrt(max(rows, columns)),
        fill=_fill_orthogonal,
        value=None,
        source="Saxe et al. 2014, section 3",
    ),
    "normal": Scheme(
        std=lambda fan_in, fan_out, value: value,
        fill=_fill_normal,
        value="the standard deviation",
        source="Simonyan & Zisserman 2014, section 3.1",
    ),
    "uniform": Scheme(
        std=lambda fan_in, fan_out, value: value / math.sqrt(3),
        fill=_fill_uniform,
        value="the bound",
        source="U(-a, a)",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A scheme and the number of consecutive layers it is for; `None` takes what the others leave."""

    scheme: str
    value: float | None = None
    count: int | None = None

    def __str__(self) -> str:
        """Write it as in a plan: `normal=0.01:3`."""
        value = "" if self.value is None else f"={self.value:g}"
        count = "" if self.count is None else f":{self.count}"
        return f"{self.scheme}{value}{count}"


_SEGMENT = re.compile(r"(?P<scheme>[a-z-]+)(=(?P<value>[^:]+))?(:(?P<count>.+))?")


@dataclass(frozen=True, kw_only=True)
class InitPlan:
    """Per weight layer a scheme. Round-trips through its text form."""

    segments: tuple[Segment, ...]

    @classmethod
    def parse(cls, text: str) -> InitPlan:
        """Read a plan such as `xavier:4,normal=0.01,xavier:3`.

        Raises:
            ValueError: an unknown scheme, a missing or senseless value or count, or two segments without a count.
        """
        segments = tuple(_parse_segment(part.strip(), text) for part in text.split(","))
        open_ended = [str(segment) for segment in segments if segment.count is None]
        if len(open_ended) > 1:
            raise ValueError(
                f'init.plan "{text}": {" and ".join(open_ended)} have no count; only one segment can take the rest'
            )
        return cls(segments=segments)

    def __str__(self) -> str:
        """Write the text form."""
        return ",".join(map(str, self.segments))

    def resolve(self, num_layers: int) -> list[Segment]:
        """Spread the plan over a net's weight layers.

        Returns:
            One segment per layer.

        Raises:
            ValueError: the counts do not add up to the number of layers; both numbers are named.
        """
        counted = sum(segment.count or 0 for segment in self.segments)
        rest = num_layers - counted
        open_ended = any(segment.count is None for segment in self.segments)
        if rest < 0 or (rest > 0 and not open_ended):
            raise ValueError(f'init.plan "{self}" is for {counted} weight layers; the network has {num_layers}')
        return [segment for segment in self.segments for _ in range(rest if segment.count is None else segment.count)]


def _parse_segment(part: str, text: str) -> Segment:
    match = _SEGMENT.fullmatch(part)
    if match is None:
        raise ValueError(f'init.plan "{text}": cannot read "{part}"; write SCHEME, SCHEME:LAYERS or SCHEME=VALUE:LAYERS')
    name = match["scheme"]
    if name not in SCHEMES:
        raise ValueError(f'init.plan "{text}": unknown scheme "{name}"{nearest(name, list(SCHEMES))}')
    needed = SCHEMES[name].value
    if needed and match["value"] is None:
        raise ValueError(f'init.plan "{text}": {name} needs {needed}, as in "{name}=0.01"')
    if not needed and match["value"] is not None:
        raise ValueError(f'init.plan "{text}": {name} takes no value')
    value = count = None
    if match["value"] is not None:
        value = _number(match["value"], text, float)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f'init.plan "{text}": {needed} of {name} is {value:g}; it must be above 0')
    if match["count"] is not None:
        count = int(_number(match["count"], text, int))
        if count < 1:
            raise ValueError(f'init.plan "{text}": a count of {count} layers; it must be at least 1')
    return Segment(scheme=name, value=value, count=count)


def _number(written: str, text: str, kind: Callable[[str], float]) -> float:
    try:
        return kind(written)
    except ValueError:
        whole = "a whole number" if kind is int else "a number"
        raise ValueError(f'init.plan "{text}": "{written}" is not {whole}') from None


@dataclass(frozen=True, kw_only=True)
class LayerInit:
    """One row of the initialisation table.

    Attributes:
        index: among the weight layers, from 0.
        name: as in `named_modules()`.
        shape: of the weight.
        scheme: as written in the plan, or "copied".
        std: that the scheme promises, or, for a copied layer, that the weight has.
        gain: fan_in · std² / 2, what the layer multiplies the mean square of the signal by, before a ReLU with zero bias.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    scheme: str
    std: float
    gain: float


WEIGHT_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


def weight_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """List a net's convolutions and linear layers, in the order in which they are defined."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, WEIGHT_LAYERS)]


def fans(module: nn.Module) -> tuple[int, int]:
    """Count the inputs of one output (fan-in) and the outputs of one input (fan-out), kernel area included."""
    weight = _weight(module)
    area = weight[0, 0].numel()
    groups = getattr(module, "groups", 1)
    if getattr(module, "transposed", False):
        # Stored (in, out / groups, ...): an output hears in / groups channels.
        return weight.shape[0] // groups * area, weight.shape[1] * area
    return weight.shape[1] * area, weight.shape[0] // groups * area


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def promised_std(segment: Segment, module: nn.Module) -> float:
    """Say the standard deviation that a plan's segment gives a layer's weight."""
    scheme, weight = SCHEMES[segment.scheme], _weight(module)
    if segment.scheme == "orthogonal":
        return scheme.std(weight[0].numel(), weight.shape[0], 0)
    fan_in, fan_out = fans(module)
    return scheme.std(fan_in, fan_out, segment.value or 0)


@torch.no_grad()
def apply(plan: InitPlan, model: nn.Module, *, seed: int) -> list[LayerInit]:
    """Draw every weight layer of any net by the plan and set its biases to zero.

    Args:
        plan: resolved against the net's weight layers.
        model: changed in place; parameters of other kinds of layers stay as they are.
        seed: with the layer's number, decides the weights.

    Returns:
        The initialisation table, a row per weight layer.

    Raises:
        ValueError: the plan does not fit the net.
    """
    layers = weight_layers(model)
    table = []
    for index, ((name, module), segment) in enumerate(zip(layers, plan.resolve(len(layers)), strict=True)):
        scheme, weight, std = SCHEMES[segment.scheme], _weight(module), promised_std(segment, module)
        drawn = torch.empty(weight.shape)
        scheme.fill(drawn, std, keyed.generator(seed, index))
        weight.copy_(drawn)
        if isinstance(module.bias, Tensor):
            module.bias.zero_()
        written = str(Segment(scheme=segment.scheme, value=segment.value))
        table.append(_row(index, name, module, written, std))
    return table


def _row(index: int, name: str, module: nn.Module, scheme: str, std: float) -> LayerInit:
    shape = tuple(_weight(module).shape)
    return LayerInit(index=index, name=name, shape=shape, scheme=scheme, std=std, gain=fans(module)[0] * std**2 / 2)


def _holds_as_many(given: Tensor, weight: Tensor) -> bool:
    """Whether two layers have equally many weights; a convolutional and a linear classifier have them in other shapes."""
    return given.numel() == weight.numel() and given.shape[0] == weight.shape[0]


@torch.no_grad()
def copy_shallower(
    trained: VGG, model: VGG, table: list[LayerInit], *, num_first: int = 4, num_last: int = 3
) -> list[LayerInit]:
    """Copy the first and last weight layers of a trained shallower VGG into a deeper one, all of an equally built one.

    A layer goes to the layer of the same place in its stage: the first four of net A are conv1_1, conv2_1, conv3_1 and
    conv3_2. Counted through instead, the second of A (64 to 128 channels) would not fit the second of B (64 to 64).

    Args:
        trained: the shallower net.
        model: changed in place.
        table: the initialisation table that `apply` returned for it.
        num_first: layers copied from the front.
        num_last: layers copied from the end.

    Returns:
        The table with the copied rows marked.

    Raises:
        ValueError: the deeper net lacks a layer of the shallower one, or a shape differs; both shapes are named.

    Source: Simonyan & Zisserman 2014, section 3.1: "we initialised the first four convolutional layers and the last three
    fully-connected layers with the layers of net A (the intermediate layers were initialised randomly)"; "to speed-up
    training of the S = 384 network, it was initialised with the weights pre-trained with S = 256".
    """
    sources, targets = paper_names(trained), paper_names(model)
    rows = {row.name: row for row in table}
    names = list(sources)
    # C and D have layers of the same names, but of other kernels.
    is_same = sources == targets and all(
        _holds_as_many(_weight(trained.get_submodule(layer)), _weight(model.get_submodule(layer))) for layer in sources.values()
    )
    for name in names if is_same else names[:num_first] + names[-num_last:]:
        if name not in targets:
            raise ValueError(f"init.from copies {name}, which the network here does not have")
        source, target = trained.get_submodule(sources[name]), model.get_submodule(targets[name])
        weight, given = _weight(target), _weight(source)
        if not _holds_as_many(given, weight):
            raise ValueError(
                f"init.from: {name} has shape {tuple(given.shape)} there and {tuple(weight.shape)} here;"
                " both runs need the same width, hidden size, crop and number of classes"
            )
        weight.copy_(given.reshape(weight.shape))
        assert isinstance(target.bias, Tensor)
        assert isinstance(source.bias, Tensor)
        target.bias.copy_(source.bias)
        row = rows[targets[name]]
        rows[row.name] = _row(row.index, row.name, target, "copied", weight.std(correction=0).item())
    return list(rows.values())
