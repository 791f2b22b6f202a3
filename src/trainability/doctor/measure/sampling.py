"""A look inside the model during one step: armed before it, reduced on the device, read on the host."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor import batches
from trainability.doctor.evidence import Sample
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.measure import ahead, stance, statistics, trained_mode
from trainability.doctor.measure.blocks import Block, layer_stats
from trainability.doctor.measure.following import activations_by_layer, activations_in_graph
from trainability.doctor.measure.graph import leaves_of
from trainability.doctor.measure.hooks import Watch
from trainability.doctor.measure.order import classes_in_gradient, marks_in_gradient
from trainability.doctor.measure.seen_pairs import SeenPairs
from trainability.doctor.measure.tape import Tape
from trainability.doctor.measure.told_targets import MOST_NUMBERS, told_constants, told_fields

_MOST_CLASSES, _MOST_INPUTS = 100_000, 64  # of a step
_ROUNDED = 1e-3  # of a gradient: what the order of a float32 sum may cause, and no more than that
_FEWEST_TARGETS = 8  # examples of a batch whose targets say whether it holds one class


class LayerSampler:
    """Watches the layers of a model during one step at a time.

    Args:
        model: the plain module.
        guard: runs what happens in the backward pass; an error that it lets out ends the pass.

    Attributes:
        is_armed: whether the next forward pass is watched, or was.
        gauges: parameters whose gradient is looked at before backward writes to it.
        answer_leaves: ids of what the tensors with rows depend on that the first pass with a gradient returned; None where part
            of their graph is hidden.
        answer_nodes: what made the tensors that the first pass with a gradient returned, until that pass has been seen.
        tape: of the loss, in steps that it tells something new of.
        pairs: inputs and targets of the sampled steps.
        ahead: whether outputs for earlier tokens go by later ones.
        own_number: of the loss, as it was at first; see `switched_off`.
        first_input: `input_stats` of the first floating-point input that was seen, on the device; where it is one number, of
            the first of the same step that is not.
        on_call: called with what the model was given and what it returned, at each forward pass of a watched step.
        on_inputs: called with (args, kwargs) of the model's first forward pass of a watched step.
        watch: of the layers.
    """

    def __init__(self, model: nn.Module, guard: Callable[[Callable[[], None]], None]) -> None:
        self.is_armed = False
        self.first_input: Tensor | None = None
        self._asks_inputs = _MOST_INPUTS
        self.answer_leaves: set[int] | None = None
        self.answer_nodes: tuple[Any, ...] = ()
        self.gauges: Sequence[Tensor] = ()
        self._looked_at: Sequence[Tensor] = ()
        self.own_number: Tensor | None = None
        self.on_inputs: Callable[[Any], None] = lambda inputs: None
        self.on_call: Callable[[Any, Any], None] = lambda inputs, output: None
        self.tape: Tape | None = None
        self._leaving: Tape | None = None  # that was closed inside a function that it passes on
        self.pairs, self.ahead = SeenPairs(), ahead.Ahead()
        self.model, self._guard, self._gauge_handles = model, guard, []
        self.watch = Watch(model, output=statistics.thin, gradient=statistics.thin, on_model=self._on_model)
        self._activations: dict[str, str | None] | None = None
        self._found_by_loss: dict[str, str | None] | None = None
        self._forget()

    def _forget(self) -> None:
        self.watch.clear()
        self._was_run = False
        self._training: bool | None = None
        self._batch_size: int | None = None
        self._stale: dict[int, Tensor] = {}
        self._is_added_to = False
        self._kept: dict[int, tuple[Tensor | None, Tensor]] = {}  # of gauges: a gradient before the step, and what was computed
        self._targets: Tensor | None = None
        self._output: Tensor | None = None
        self._given: Tensor | None = None
        self._output_gradient: Tensor | None = None
        self._constants: Tensor | None = None
        self._weights: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}

    @property
    def batch_size(self) -> int | None:
        """First dimension of what the model was given in the watched step; None if it was not seen."""
        return self._batch_size

    @property
    def has_backward(self) -> bool:
        """Whether a backward pass has reached a layer that was seen."""
        return bool(self.watch.backward)

    def arm(self) -> None:
        """Install the hook; what an earlier step, or an earlier pass of this one, showed is forgotten."""
        self.end_first_pass()
        self._forget()
        if not self.is_armed:
            stance.run_plain()
        self.is_armed = True
        self.watch.attach()
        if self._activations is None or self.pairs.wants_more:
            self.tape = Tape(self.model)
            self.tape.own_tokens.ahead = self.ahead
            self.tape.attach()
        # What is frozen now, for another phase, calls no hook when a backward pass writes to it later in the step.
        self._looked_at = [p for p in self.gauges if p.requires_grad]
        self._gauge_handles = [p.register_hook(self._before_gauge(p)) for p in self._looked_at]
        # `torch.autograd.grad` calls those, too, and adds to no gradient. Sharded parameters call neither.
        self._is_added_to = any(hasattr(p, "to_local") or not p.is_leaf for p in self._looked_at)
        if not self._is_added_to:
            self._gauge_handles += [p.register_post_accumulate_grad_hook(self._on_added) for p in self._looked_at]

    def disarm(self) -> None:
        """Remove the hook; what it saw stays."""
        self.end_first_pass()
        if self.is_armed:
            self.is_armed = False
            stance.run_compiled()

    def end_first_pass(self) -> None:
        """The first micro-batch was seen; later ones and evaluations are not looked at."""
        self.watch.detach()
        for handle in self._gauge_handles:
            handle.remove()
        self._gauge_handles: list[Any] = []
        self._asks_inputs = 0 if self.first_input is not None else _MOST_INPUTS
        if self._leaving is not None and self._leaving.leave():
            self._leaving = None
        if self.tape is not None:
            self.tape.close()
            self.tape.forget()
            self._leaving = self._leaving if self.tape.leave() else self.tape
        self.tape, self.answer_nodes = None, ()  # they keep the graph alive

    def _follow(self, loss: Tensor | float) -> None:
        """Read off the loss which function follows each layer, where the model is not called as a whole."""
        if self._activations is None and self._found_by_loss is None and isinstance(loss, Tensor) and self.watch.nodes:
            with contextlib.suppress(Exception):  # one fact less
                self._found_by_loss = activations_in_graph([loss], self.watch.nodes)
            self.watch.nodes.clear()  # they keep the graph alive

    def take_loss(self, loss: Tensor | float, value: Tensor | float, scale: Tensor | float) -> None:
        """Read off a loss, its value and the outputs' gradient what the batch asks for, and what one answer for all costs."""
        self._follow(loss)
        if self._output is not None and self._output_gradient is not None:
            with contextlib.suppress(Exception):  # one fact less; what failed here would end the watch
                gradient = self._output_gradient / scale
                self._constants = told_constants(self._output, gradient, loss, self._given)
                if self._targets is None and self._output.numel() == len(self._output):
                    self._targets = marks_in_gradient(self._output, gradient, loss)
        self._output = self._output_gradient = self._given = None
        if self.tape is not None and self.pairs.wants_more:
            self.tape.close()
            self.pairs.add(self.tape)

    def take_gradients(self, scale: Tensor | float) -> None:
        """Keep the step's gradients, divided by the scale that is on them, and the weights as they are before the step."""
        if self._stale and not self._is_added_to:
            self._is_added_to = self._is_added_by_hand()
        self._kept.clear()
        for name, weight in self._rows():
            self._weights[name] = statistics.thin(statistics.local(weight))
            gradient = None if weight.grad is None else statistics.spread(weight.grad)
            if gradient is not None:
                kept = statistics.thin(gradient)
                self._gradients[name] = kept if isinstance(scale, float) and scale == 1.0 else kept / scale

    def _rows(self) -> Iterable[tuple[str, Tensor]]:
        return ((name, weight) for layer in self.watch.layers.values() for name, weight in layer.weights.items())

    def blocks(self, *, has_stepped: bool) -> list[Block]:
        """Reduce what the step showed, all layers together.

        Args:
            has_stepped: the optimizer has moved the weights since `take_gradients`.
        """
        device = next((part.device for seen in (self._weights, self.watch.forward) for part in seen.values()), None)

        def together(parts: dict[str, Tensor]) -> dict[str, Tensor]:  # layers of one model may lie on several devices
            return {name: part.to(device) for name, part in parts.items()}

        watch = self.watch
        forward, backward = together(watch.forward), together(watch.backward)
        weights, gradients = together(self._weights), together(self._gradients)
        found = []

        def add(kind: str, rows: Iterable[str], values: Tensor) -> None:
            found.append(Block(kind=kind, rows=tuple(rows), values=values))

        if watch.order:
            stats = statistics.in_rows(statistics.activation_stats, [forward[name] for name in watch.order])
            add("activation", watch.order, stats)
            add("dead", watch.order, torch.stack([watch.dead[name].to(stats.device) for name in watch.order]))
        if backward:
            add("output_gradient_rms", backward, statistics.in_rows(statistics.row_rms, list(backward.values())))
        if gradients:
            add("gradient", gradients, statistics.in_rows(statistics.gradient_stats, list(gradients.values())))
        if weights:
            add("weight_rms", weights, statistics.in_rows(statistics.row_rms, list(weights.values())))
        if weights and has_stepped:
            now = together({n: statistics.thin(statistics.local(weight)) for n, weight in self._rows() if n in weights})
            moved = {name: value.float() - weights[name].float() for name, value in now.items()}
            add("moved", moved, statistics.in_rows(statistics.row_rms, list(moved.values())))
            narrow = [n for n, value in now.items() if value.dtype.itemsize < 4 and n in gradients]
            if narrow:
                kept = [statistics.unmoved_fraction(weights[n], now[n], gradients[n]) for n in narrow]
                add("unmoved", narrow, torch.stack(kept))
        kinds = {"weight_histogram": weights, "gradient_histogram": gradients, "activation_histogram": forward}
        if parts := [part for tensors in kinds.values() for part in tensors.values()]:
            shares = statistics.log_histograms(parts).split([len(tensors) for tensors in kinds.values()])
            for (kind, tensors), rows in zip(kinds.items(), shares, strict=True):
                add(kind, tensors, rows)
        if self._stale and self._is_added_to:
            device = device or next(iter(self._stale.values())).device
            stale = torch.stack([norm.to(device) for norm in self._stale.values()])
            add("stale", ("gauge",), torch.linalg.vector_norm(stale).reshape(1))
        if self._targets is not None:
            add("targets", ("batch",), self._targets.reshape(1, -1))
        if self._constants is not None:
            add("constants", ("batch",), self._constants.reshape(1, -1))
        return found

    def sample(self, step: int, numbers: dict[str, dict[Hashable, Any]]) -> Sample:
        """Read the blocks of this step, as `to_host` brought them over."""
        layers = self.watch.layers
        own = {row: name for name, layer in layers.items() for row in layer.weights}
        names = dict.fromkeys(row for name in self.watch.order for row in (name, *layers[name].weights))
        names |= dict.fromkeys(self._weights)
        told, num_classes, first_class = map(int, numbers["targets"]["batch"]) if "targets" in numbers else (0, 0, 0)
        of_row = {name: {kind: rows[name] for kind, rows in numbers.items() if name in rows} for name in names}
        activations = self._following()

        def read(row: str) -> LayerStats:
            name = own.get(row, row)
            return layer_stats(row, layers[name], activations.get(name) if row == name else None, of_row[row])

        return Sample(
            step=step,
            layers=tuple(read(row) for row in names if of_row[row]),
            batch_size=self._batch_size,
            asks_itself=(self._batch_size or 0) > 1 and self._batch_size in self.watch.asked,
            training=self._training,
            gradient_norm_before_backward=numbers["stale"]["gauge"] if "stale" in numbers else None,
            blind=bool(layers) and not self.was_seen(),
            num_classes=num_classes if told >= _FEWEST_TARGETS else None,
            first_class=first_class if told >= _FEWEST_TARGETS else None,
            **told_fields(numbers["constants"]["batch"] if "constants" in numbers else ()),
        )

    def was_seen(self) -> bool:
        """Whether the model ran: it or a layer of it was called, or it is scripted, which tells nobody."""
        return self._was_run or bool(self.watch.called) or isinstance(self.model, torch.jit.ScriptModule)

    def failed(self) -> str | None:
        """Layers that could not be looked at, and the first reason; None where all could."""
        failed = self.watch.failed
        return f"{_listed(list(failed))}: {next(iter(failed.values()))}" if failed else None

    def unseen(self) -> str | None:
        """Layers whose outputs the last sample does not have although the model ran, and why; None where there are none."""
        if not self.was_seen():
            return None
        uncalled = [name for name, layer in self.watch.layers.items() if layer.weights and name not in self.watch.called]
        if uncalled:
            return f"{_listed(uncalled)}: their modules are not called by themselves"
        unreadable = [name for name in self.watch.layers if name in self.watch.unreadable]
        return f"{_listed(unreadable)}: no tensors of real numbers (torch.func, sparse, complex)" if unreadable else None

    def _following(self) -> dict[str, str | None]:
        if self._activations is not None:
            return self._activations
        return {**activations_by_layer(None, self.model), **(self._found_by_loss or {})}

    def _on_model(self, args: Any, kwargs: Any, output: Any) -> None:
        """Runs after each of the model's own forward passes with gradients, while armed."""
        self._guard(lambda: self._look_at_gradients_before(output))
        self._guard(lambda: self.on_call((args, kwargs), output))
        self._guard(lambda: self._on_input((args, kwargs)))
        if self._was_run:
            self._output, self._training = None, self._training or trained_mode.is_meant(self.model)  # an attack asks first
        else:
            self._was_run, self._training = True, trained_mode.is_meant(self.model)
            self._guard(lambda: self._on_first_pass((args, kwargs), output))

    def _on_input(self, inputs: Any) -> None:
        """Keep the scale of the first input; where that is one number, as an episode's start is, of a later one of the step."""
        first, held = batches.first_tensor(inputs), self.first_input
        has_scale = first is not None and first.numel() > (1 if first.dim() > 1 else _FEWEST_TARGETS)
        if self._asks_inputs <= 0 or first is None or not has_scale or not statistics.is_readable(first):
            return
        self._asks_inputs -= 1
        found = statistics.input_stats(first.detach().float())
        if held is None:
            self.first_input = found
        elif held.shape == found.shape and held.device == found.device:
            self.first_input = torch.where(held[0] == 0, found, held)

    def _on_first_pass(self, inputs: Any, output: Any) -> None:
        self.on_inputs(inputs)
        first = batches.first_tensor(inputs)
        self._batch_size = batches.batch_size(inputs) or (first.shape[0] if first is not None and first.dim() else None)
        outputs = [tensor for _, tensor in batches.tensors(output) if tensor.requires_grad]
        is_logits = isinstance(output, Tensor) and output.requires_grad and output.is_floating_point() and output.dim() == 2
        if is_logits and 2 <= output.shape[1] <= _MOST_CLASSES:
            output.register_hook(lambda gradient: self._guard(lambda: self._look_at_targets(gradient)))
        answers = batches.first_tensor(output)
        if self._activations is None:
            self.answer_nodes = tuple(tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None)
            self.answer_leaves = _leaves_of([tensor for tensor in outputs if tensor.dim() > 0 and tensor.numel() > 1])
        has_rows = answers is not None and answers.dim() > 0 and len(answers) > 1 and answers.numel() <= MOST_NUMBERS
        if answers is not None and has_rows and answers.requires_grad and statistics.is_readable(answers):
            self._output = answers.detach()
            self._given = first if first is not None and _can_be_rebuilt(first, answers) else None
            answers.register_hook(lambda gradient: self._guard(lambda: self._keep_gradient(gradient)))
        if self._activations is None and outputs:
            found = activations_in_graph(outputs, self.watch.nodes)
            self._activations = {**activations_by_layer(None, self.model), **found}
        self.watch.nodes.clear()  # they keep the graph alive

    def _keep_gradient(self, gradient: Tensor) -> None:
        if self.is_armed and statistics.is_readable(gradient) and not ahead.is_running():
            self._output_gradient = gradient.detach()

    def _look_at_targets(self, gradient: Tensor) -> None:
        if self._targets is None and not ahead.is_running():
            self._targets = classes_in_gradient(statistics.local(gradient))

    def _look_at_gradients_before(self, output: Any) -> None:
        """Sharded parameters call no hooks: for them, what they hold as backward reaches the outputs counts."""
        for _, tensor in batches.tensors(output):
            if tensor.requires_grad:
                tensor.register_hook(lambda _: self._guard(self._look_at_gauges))

    def _before_gauge(self, gauge: Tensor) -> Callable[[Tensor], None]:
        def look(gradient: Tensor) -> None:
            self._look_at_gauge(gauge)
            if self._is_added_to:
                return
            old = None if gauge.grad is None else gauge.grad.detach().clone()
            first, given = self._kept.get(id(gauge), (old, torch.zeros_like(gradient)))
            self._kept[id(gauge)] = (first, given + gradient.detach())

        return lambda gradient: self._guard(lambda: look(gradient))

    def _is_added_by_hand(self) -> bool:
        """Whether a gradient is what it was before the step, with all that was asked for since added to it."""
        for gauge in self._looked_at:
            old, given = self._kept.get(id(gauge), (None, None))
            if old is None or given is None or gauge.grad is None or gauge.grad.is_sparse or given.is_sparse:
                continue
            if float((gauge.grad - given - old).norm()) <= _ROUNDED * float(old.norm()):
                return True
        return False

    def _on_added(self, gauge: Tensor) -> None:
        self._is_added_to = True

    def _look_at_gauges(self) -> None:
        for gauge in self._looked_at:
            self._look_at_gauge(gauge)

    def _look_at_gauge(self, gauge: Tensor) -> None:
        """Keeps the least that a parameter's gradient was before a backward pass wrote to it.

        The least of all passes counts: a GAN's other phase goes back through this model, too, before its gradients are cleared.
        """
        if not gauge.requires_grad:  # frozen for the other phase, whose backward pass adds nothing to what is left there
            return
        found = gauge.grad
        norm = torch.zeros((), device=gauge.device)
        if found is not None:
            norm = torch.linalg.vector_norm(statistics.local(found).float())
        old = self._stale.get(id(gauge))
        self._stale[id(gauge)] = norm if old is None else torch.minimum(old, norm)


def _can_be_rebuilt(given: Tensor, answers: Tensor) -> bool:
    """Whether answers may be a model's input again; not where the model itself moves its input to another device."""
    is_alike = given.shape[:1] == answers.shape[:1] and given.numel() == answers.numel()
    return is_alike and given.device == answers.device and statistics.is_readable(given)


def _leaves_of(answers: Sequence[Tensor]) -> set[int] | None:
    found = [leaves_of(tensor) for tensor in answers]
    return set().union(*(leaves for leaves, _ in found)) if found and not any(hidden for _, hidden in found) else None


def _listed(names: list[str], most: int = 5) -> str:
    shown = ", ".join(name or "the model itself" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
