"""Record a model's forward pass as a list of operations with shapes, on the meta device, without data or arithmetic."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.error_line import error_line
from trainability.doctor.measure.randomness import randomness_restored

# Elementwise functions of one tensor, under every name PyTorch calls them by (in-place forms carry an underscore).
ACTIVATIONS = frozenset(
    {"relu", "relu6", "leaky_relu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardswish", "hardtanh"}
    | {"hardsigmoid", "softplus", "softsign", "tanh", "sigmoid", "logsigmoid", "tanhshrink", "hardshrink", "softshrink"}
)
RECTIFIERS = frozenset({"relu", "relu6"})  # exactly zero on the negative side: units can be dead
_RESHAPES = frozenset(
    {"flatten", "reshape", "view", "squeeze", "unsqueeze", "transpose", "permute", "contiguous", "clone", "detach"}
    | {"to", "float", "half", "bfloat16", "double", "expand", "unflatten", "swapaxes", "movedim", "type"}
)
_NORMS = frozenset(["batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"])
_SUMS = frozenset(["add", "iadd", "radd", "sub", "isub"])
_SCALES = frozenset(["mul", "imul", "rmul", "div", "truediv", "itruediv", "true_divide"])
_POOLS = {"max_pool": "max_pool", "avg_pool": "avg_pool", "adaptive_avg_pool": "avg_pool", "adaptive_max": "max_pool"}
_WEIGHTED = {"conv": "conv", "conv_transpose": "conv_transpose", "linear": "linear", "embedding": "embedding"}
_WEIGHTED_DEFAULTS = {"stride": 1, "padding": 0, "groups": 1}


@dataclass(frozen=True, kw_only=True)
class Op:
    """One operation of the forward pass.

    Attributes:
        kind: "conv", "conv_transpose", "linear", "embedding", "norm", "activation", "max_pool", "avg_pool",
            "dropout", "reshape", "sum", "concat", "scale", "local_response_norm" or "unknown".
        function: PyTorch's name of it, "conv2d".
        name: module that owns its weight, as `named_modules()` gives it; None if it has none.
        weight: full name of its weight parameter; None if it has none.
        bias: full name of its bias parameter; None if it has none.
        inputs: numbers of the values it reads; 0 is the model's input, a constant is left out.
        output: number of the value it makes.
        input_shape: shape of its first input.
        output_shape: shape of its output.
        options: what the kind needs: kernel, stride, padding, p, training, factor, apply, alpha, beta, k.
    """

    kind: str
    function: str
    name: str | None
    weight: str | None
    bias: str | None
    inputs: tuple[int, ...]
    output: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Operations in the order of execution.

    Attributes:
        ops: the operations; each reads values that earlier ones made.
        output: number of the value that the model returned; None if it did not return one tensor.
        output_shape: its shape.
    """

    ops: tuple[Op, ...]
    output: int | None
    output_shape: tuple[int, ...]

    def activation_after(self, op: Op) -> str | None:
        """Name of the activation function that is the only reader of an operation's output, through reshapes and dropout."""
        value = op.output
        while True:
            readers = [reader for reader in self.ops if value in reader.inputs]
            if len(readers) != 1:
                return None
            if readers[0].kind == "activation":
                return readers[0].function
            # conv -> max pool -> ReLU is the same function as conv -> ReLU -> max pool
            if readers[0].kind not in ("reshape", "dropout", "max_pool"):
                return None
            value = readers[0].output


class _Recorder(TorchFunctionMode):
    """Intercepts every call of the PyTorch API, module or functional, without changing the model.

    `torch.fx` would need a model without data-dependent Python; the function mode only needs one that runs.
    """

    def __init__(self, model_input: Tensor, parameter_names: dict[int, str]) -> None:
        super().__init__()
        self.ops: list[Op] = []
        self.value_of: dict[int, int] = {id(model_input): 0}
        self.alive: list[Tensor] = [model_input]  # an id is only unique while its tensor lives
        self.alive_parameters: list[Tensor] = []
        self.parameter_names = parameter_names

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        sources = [t for t in _tensors([*args, *kwargs.values()]) if id(t) in self.value_of]
        # Read before the call: an in-place operation stores a new value in the same tensor.
        values = tuple(self.value_of[id(t)] for t in sources)
        shape = tuple(sources[0].shape) if sources else ()
        result = func(*args, **kwargs)
        if sources:
            for tensor in _tensors([result]):
                self._record(func, args, kwargs, values, shape, tensor)
        elif _function_name(func) in _RESHAPES and args and id(args[0]) in self.parameter_names:
            # A reshaped convolution weight, used as a matrix, is still that weight.
            self.alive_parameters.append(result)
            self.parameter_names[id(result)] = self.parameter_names[id(args[0])]
        return result

    def _record(self, func: Callable, args: tuple, kwargs: dict, values: tuple, shape: tuple, result: Tensor) -> None:
        function = _function_name(func)
        named = [(self.parameter_names[id(t)], t) for t in _tensors([*args, *kwargs.values()]) if id(t) in self.parameter_names]
        kind, options = _classify(function, func, args, kwargs, len(values))
        weight = next((name for name, _ in named if not name.endswith("bias")), None)
        bias = next((name for name, _ in named if name.endswith("bias")), None)
        if kind in _WEIGHTED.values():  # a bias may have any name, and a weight may come as something made of a parameter
            weight = next((name for name, t in named if t.dim() > 1), None)
            bias = next((name for name, t in named if t.dim() == 1), bias)
        owner = weight or bias
        self.alive.append(result)
        self.value_of[id(result)] = len(self.alive) - 1
        self.ops.append(
            Op(
                kind=kind,
                function=function,
                name=owner.rpartition(".")[0] if owner else None,
                weight=weight,
                bias=bias,
                inputs=values,
                output=len(self.alive) - 1,
                input_shape=shape,
                output_shape=tuple(result.shape),
                options=options,
            )
        )


def _function_name(func: Callable) -> str:
    return getattr(func, "__name__", str(func)).strip("_")


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _classify(function: str, func: Callable, args: tuple, kwargs: dict, num_inputs: int) -> tuple[str, dict[str, Any]]:
    """Kind of an operation, and the options that the theory needs."""
    stem = function.rstrip("123d")  # conv2d -> conv, max_pool2d -> max_pool
    if stem in _WEIGHTED:
        names = ("input", "weight", "bias", "stride", "padding")
        names += ("output_padding", "groups", "dilation") if stem == "conv_transpose" else ("dilation", "groups")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        return _WEIGHTED[stem], {option: given.get(option, default) for option, default in _WEIGHTED_DEFAULTS.items()}
    if function in ACTIVATIONS:
        rest, options = args[1:], {k: v for k, v in kwargs.items() if k not in ("inplace", "input", "training")}
        plain = getattr(torch.nn.functional, function, func) if func.__name__.endswith("_") else func
        return "activation", {"apply": lambda x: plain(x, *rest, **options)}
    for prefix, kind in _POOLS.items():
        if function.startswith(prefix):
            window = args[1] if len(args) > 1 else kwargs.get("kernel_size", kwargs.get("output_size"))
            stride = args[2] if len(args) > 2 else kwargs.get("stride")
            options = {"window": window, "stride": stride, "padding": kwargs.get("padding", 0)}
            return kind, {**options, "adaptive": function.startswith("adaptive")}
    if function in ("mean", "mean_dim") and (len(args) > 1 or "dim" in kwargs):
        return "avg_pool", {"dims": args[1] if len(args) > 1 else kwargs["dim"]}
    if "dropout" in function:
        names = ("input", "p", "training")
        given = {"p": 0.5, "training": True, **dict(zip(names, args, strict=False)), **kwargs}
        return "dropout", {"p": given["p"] if given["training"] else 0.0}
    if function in _RESHAPES or (function == "getitem" and _keeps_everything(*args[1:])):
        return "reshape", {}
    if function in _NORMS:
        return "norm", {"function": function, "training": kwargs.get("training", True)}
    if function == "local_response_norm":
        names = ("input", "size", "alpha", "beta", "k")
        given = {"alpha": 1e-4, "beta": 0.75, "k": 1.0, **dict(zip(names, args, strict=False)), **kwargs}
        return "local_response_norm", {name: float(given[name]) for name in ("alpha", "beta", "k")}
    if function in _SUMS and num_inputs == 2 and not kwargs.get("alpha"):
        return "sum", {}
    if function in ("cat", "concat", "concatenate"):
        return "concat", {}
    if function in _SCALES and num_inputs == 1:
        numbers = [a for a in args if isinstance(a, (int, float))]
        if len(numbers) == 1 and numbers[0] != 0:
            return "scale", {"factor": float(numbers[0]) if "mul" in function else 1.0 / float(numbers[0])}
    return "unknown", {}


def _keeps_everything(index: Any) -> bool:
    """Whether an index only adds dimensions, as `x[:, :, None, None]` does."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or part == slice(None) for part in parts)


def plain_module(model: nn.Module) -> nn.Module:
    """The module whose layers do the work: inside torch.compile, inside DistributedDataParallel."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            inner = model.module
        if inner is None:
            return model
        model = inner


def skeleton(model: nn.Module) -> nn.Module:
    """A copy of a model with its parameters, buffers and cached tensors on the meta device; no value is copied.

    Forward hooks come along only where they are PyTorch's own (spectral norm): another's would see tensors without values.
    A weight that two layers share is two stand-ins, so that each layer's operation carries that layer's name.

    Raises:
        ValueError: the model is sharded, has lazy layers that never ran, or cannot be copied.
    """
    parameters = list(model.parameters())
    if any(hasattr(p, "to_local") for p in parameters):
        raise ValueError("cannot follow a sharded model without data; trace it before fully_shard")
    if any(nn.parameter.is_lazy(t) for t in (*parameters, *model.buffers())):
        raise ValueError("cannot follow lazy layers before their first forward pass")
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in (*module._parameters.values(), *module._buffers.values(), *vars(module).values()):
            if isinstance(value, nn.Parameter):
                memo[id(value)] = nn.Parameter(torch.empty_like(value, device="meta"), requires_grad=False)
            elif isinstance(value, Tensor):
                memo[id(value)] = torch.empty_like(value, device="meta", requires_grad=False)
    try:
        twin = copy.deepcopy(model, memo)
    except Exception as error:
        raise ValueError(f"cannot follow a model that cannot be copied: {error_line(error)}") from error
    seen: set[int] = set()
    for module in twin.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) in seen:
                module._parameters[name] = nn.Parameter(torch.empty_like(parameter), requires_grad=False)
            seen.add(id(parameter))
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key in [key for key, hook in hooks.items() if not getattr(hook, "__module__", "").startswith("torch.")]:
                del hooks[key]
    return twin


def trace(model: nn.Module, input_shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Trace:
    """Record the operations of one forward pass on the meta device: milliseconds, whatever the model's size.

    Args:
        model: any module that takes one tensor. Its weights may themselves be on the meta device. What runs is a `skeleton`
            of it, so that whatever its forward changes is changed there. Random state is put back.
        input_shape: shape of a batch, (batch, channels, height, width) for images.
        dtype: of the input; None for the model's own floating-point type.

    Returns:
        The operations that depend on the input.

    Raises:
        ValueError: the model cannot be copied, or cannot run without values (control flow on data, or an operation that the
            meta device lacks), or is sharded; the message says why.
    """
    twin = skeleton(plain_module(model))
    parameters = dict(twin.named_parameters(remove_duplicate=False))
    floating = [p.dtype for p in parameters.values() if p.is_floating_point()]
    dtype = dtype or (floating[0] if floating else torch.get_default_dtype())
    model_input = torch.empty(input_shape, dtype=dtype, device="meta")
    names: dict[int, str] = {}
    for name, parameter in parameters.items():
        names.setdefault(id(parameter), name)
    recorder = _Recorder(model_input, names)
    try:
        with randomness_restored(), torch.no_grad(), recorder:
            output = twin(model_input)
    except Exception as error:
        raise ValueError(f"cannot follow the model without data: {error_line(error)}") from error
    if not isinstance(output, Tensor) or id(output) not in recorder.value_of:
        return Trace(ops=tuple(recorder.ops), output=None, output_shape=())
    return Trace(ops=tuple(recorder.ops), output=recorder.value_of[id(output)], output_shape=tuple(output.shape))
