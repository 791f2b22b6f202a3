"""Where a loss or gradient stops being finite: the first function that makes NaN or infinity of finite numbers."""

import contextlib
import itertools
import os
import re
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from trainability.doctor.batches import tensors, to_device
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.put_back import put_back, variables_put_back
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.uses import reaches, used_by
from trainability.doctor.rehearsed import NonFinite

# Infinity is what these are called for: masks of attention, the start of a maximum.
_FILLS = (
    "masked_fill",
    "fill",
    "full",
    "where",
    "scalar_tensor",
    "lift_fresh",
    "to_copy",
    "copy",
    "empty",
    "clone",
    "index_put",
)
_POLES = ("reciprocal", "rsqrt", "log", "log2", "log10", "pow")  # not finite at zero; a division is not by its denominator
_NOT_THE_PROGRAM = (str(Path(torch.__file__).parent), str(Path(__file__).parents[2]), os.path.dirname(contextlib.__file__))
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)\n\s*(?P<code>[^\n]*)')


def first_nonfinite(
    model: Any, optimizer: Any, batches: Iterable[Any], *, max_steps: int, seconds: float, **loop: Any
) -> NonFinite | None:
    """Steps a copy of a loop until a function makes NaN or infinity of finite numbers, forwards or on the way back.

    Args:
        model: as for `rehearse`.
        optimizer: likewise.
        batches: likewise; what can be read once only is left alone.
        max_steps: at most as many.
        seconds: at most about as long.
        loop: what else `rehearse` takes of the loop.

    Returns:
        The function and its line in the program; None where none was found, or the loop's objects cannot be copied.
    """
    loop = {key: value for key, value in loop.items() if key not in ("planned_steps", "scheduler_interval")}
    step, training_step, scheduler = loop["step"], loop["training_step"], loop.pop("scheduler")
    own = (step, training_step, loop.get("loss_fn"))
    if isinstance(batches, Iterator) or any(reaches(function, model, optimizer) for function in own):
        return None
    reached = [*used_by(step), *used_by(training_step)]
    deadline = time.monotonic() + seconds
    with randomness_restored(), generators_restored(batches), warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        stepped = Loop(*copied(model, optimizer, scheduler), others=reached, **loop)
        again = itertools.chain.from_iterable(iter(batches) for _ in itertools.count())
        guarded = put_back(*reached), variables_put_back(*own)
        with guarded[0], guarded[1], stepped.instrumented(), torch.autograd.set_detect_anomaly(True, check_nan=False):
            for number, batch in enumerate(itertools.islice(again, max_steps), start=1):
                moved = to_device(batch, stepped.device)
                watch = _Watch(moved)
                with contextlib.suppress(RuntimeError, ValueError), watch:
                    stepped.run(moved)
                if watch.found is not None:
                    return NonFinite(step=number, **watch.found)
                if time.monotonic() > deadline:
                    return None
    return None


class _Watch(TorchDispatchMode):
    """Notes the first function with a result that is not finite, of arguments that are: fields of `NonFinite`."""

    def __init__(self, batch: Any) -> None:
        super().__init__()
        self.found: dict[str, Any] | None = None
        self._batch = {t.untyped_storage().data_ptr(): place for place, t in tensors(batch) if t.layout == torch.strided}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.strip("_")
        if self.found is None and _is_origin(name, result, (args, kwargs)):
            node = torch._C._current_autograd_node()
            if node is not None:
                name = re.sub(r"Backward\d*$", "", node.name().rpartition("::")[2]).lower()
            frames = getattr(node, "metadata", {}).get("traceback_", []) if node is not None else traceback.format_stack()
            self.found = {
                "function": name,
                "place": _line(frames),
                "backward": node is not None,
                "given": self._given(name, args),
            }
        return result

    def _given(self, name: str, args: tuple) -> str | None:
        """The place in the batch of what is zero where the function is not finite."""
        asked = args[1:2] if name == "div" else args[:1] if name in _POLES else ()
        zeros = [t for _, t in tensors(asked) if t.layout == torch.strided and bool((t == 0).any())]
        return next((self._batch[k] for t in zeros if (k := t.untyped_storage().data_ptr()) in self._batch), None)


def _is_origin(name: str, result: Any, given: Any) -> bool:
    """Whether NaN is made of numbers, or infinity of finite ones where it is not what was asked for."""
    made = _floats(result)
    if any(bool(t.isnan().any()) for t in made):
        return not any(bool(t.isnan().any()) for t in _floats(given))
    infinite = name not in _FILLS and any(bool(t.isinf().any()) for t in made)
    return infinite and all(bool(t.isfinite().all()) for t in _floats(given))


def _floats(values: Any) -> list[Tensor]:
    return [t for _, t in tensors(values) if t.is_floating_point() and t.layout == torch.strided]


def _line(frames: list[str]) -> str:
    """The last line of the program itself: file, line and code; empty if there is none."""
    for frame in reversed(frames):
        found = _FRAME.search(frame)
        if found and not found["file"].startswith((*_NOT_THE_PROGRAM, "<")):
            return f"{Path(found['file']).name}:{found['line']}, {found['code'].strip()}"
    return ""
