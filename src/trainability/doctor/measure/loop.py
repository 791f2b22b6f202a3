"""The body of a training loop in any of its forms, stepped and watched."""

import contextlib
import copy
import inspect
import math
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from trainability.doctor.batches import first_tensor
from trainability.doctor.measure.closure_calls import ClosureCalls
from trainability.doctor.measure.exits import exit_as_error
from trainability.doctor.measure.graph import managed_parameters
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.left_losses import LeftLosses
from trainability.doctor.measure.loss_number import loss_as_float, scalar
from trainability.doctor.measure.mixed_gradients import MixedGradients
from trainability.doctor.measure.nested import modules, optimizers
from trainability.doctor.measure.pass_scales import Divisors, PassScales, divisors_of
from trainability.doctor.measure.put_back import keep_attributes, keep_groups, keep_variables, put_back
from trainability.doctor.measure.redrawn_weights import STEPS_COMPARED, RedrawnWeights
from trainability.doctor.measure.remade_optimizers import RemadeOptimizers
from trainability.doctor.measure.repeated_steps import RepeatedSteps
from trainability.doctor.measure.replaced import replaced
from trainability.doctor.measure.stale_gradients import StaleGradients, norm
from trainability.doctor.measure.statistics import has_values, local
from trainability.doctor.measure.uninterrupted import uninterrupted
from trainability.doctor.measure.workspace import begin_training

_ACTS_IN_TRAINING = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)

_FLOAT32 = 4  # bytes

Step = Callable[[Any, Any, Any], Any]
TrainingStep = Callable[[Any, Any], Any]
LossFn = Callable[[Any, Any], Tensor]


class Loop:
    """The body of the loop in one form, and what its objects did.

    Attributes:
        others: schedulers, scalers and the like that the body uses by itself.
        forward_only: the loss without a step; None where only the whole body is known.
        named_models: with the names that a dict gives them, "" of a single one.
        parameters: that are trained, by name.
        notes: what could not be measured.
        calls: of an optimizer's step, in the present body.
        norm: of the gradients that the optimizer found.
        stale: gradients that were not cleared since their optimizer's last step.
        closures: that an optimizer evaluates several times in a step.
        training: mode of the model when the loop ran it.
        evaluating: modules that ran in evaluation mode and act differently there.
        output: first tensor that the model returned last, or the part that answers in its place.
        rate: largest learning rate of the optimizer that stepped last.
        watching: whether what runs now is the loop's own.
        reached: ids of parameters that had a gradient when an optimizer stepped.
        resolved: ids of parameters that the gradient alone, times the learning rate, would have changed at a first step.
        redrawn: weights that were drawn anew between two steps of their optimizer, over the first steps.
        repeated: steps that were made again on the same gradients.
        remade: optimizers that the body makes anew for the same parameters.
        rounds_steps: what is added to weights in narrow formats, of which no wider copy is trained, is rounded to the nearest.
        scale: learning rates are multiplied by it while an optimizer steps; schedulers see their own.
        schedule_steps: steps of the scheduler for each that the body makes.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        scheduler: Any,
        *,
        loss_fn: LossFn | None,
        training_step: TrainingStep | None,
        step: Step | None,
        clip: float | None,
        others: Sequence[Any] = (),
        scale: float = 1.0,
        schedule_steps: int = 1,
    ) -> None:
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.scale, self.schedule_steps = scale, schedule_steps
        self._own_rates: dict[int, list[Any]] = {}  # of an optimizer, while it steps
        self.models, self.optimizers = modules(model), optimizers(optimizer)
        self.step, self.clip, self.others, self.notes = step, clip, others, []
        if step is None:
            for part in self.models:
                begin_training(part)
        self._start_variables = [keep_variables(step, training_step, loss_fn), *map(keep_attributes, self.models)]
        self.forward_only = training_step or (_usual_loss(loss_fn) if loss_fn is not None else None)
        prefixes = [f"{i}." if len(self.models) > 1 else "" for i in range(len(self.models))]
        if isinstance(model, dict):
            prefixes = [f"{name}." for name in model]
        self.named_models = [(prefix[:-1], part) for prefix, part in zip(prefixes, self.models, strict=False)]
        self.parameters = {
            prefix + name: p
            for prefix, part in zip(prefixes, self.models, strict=False)
            for name, p in part.named_parameters()
            if p.requires_grad
        }
        parameter = next(iter(self.parameters.values()), None)
        self.device = parameter.device if parameter is not None else torch.device("cpu")
        self.calls, self.norm, self.rate = 0, None, None
        self.stale, self.closures = StaleGradients(), ClosureCalls(lambda: self.watching)
        self.pass_scales = PassScales(self.optimizers)
        self._mixed = MixedGradients(self.optimizers)
        self.training: bool | None = None
        self.evaluating: dict[str, None] = {}
        self.output: Tensor | None = None
        self._on_part_handles: list[Any] = []
        self.reached: set[int] = set()
        self._arrived: set[int] = set()  # ids of parameters that got a gradient, whether or not their optimizer stepped
        self._before: dict[int, float] = {}  # norms of gradients to which a pass is about to add, by id of the parameter
        self.resolved: set[int] = set()
        self._asked: Counter[int] = Counter()  # steps of an optimizer at which that was asked
        self._began: set[int] = set()  # optimizers that have stepped
        self.redrawn, self.repeated = RedrawnWeights(self.parameters), RepeatedSteps()
        known = {id(each) for each in self.optimizers}
        self._beside = [each for each in optimizers(list(others)) if id(each) not in known]  # which the body has by itself
        narrow = {id(p) for p in self.parameters.values() if p.dtype.itemsize < _FLOAT32}
        self.rounds_steps = narrow <= self.held and all(map(_is_torchs_own, (*self.optimizers, *self._beside)))
        self._left_losses = LeftLosses([*self.optimizers, *self._beside], lambda: self.watching)
        self.remade = RemadeOptimizers(self.parameters.values(), [*self.optimizers, *self._beside], lambda: self.watching)
        self.watching = True

    @property
    def opposed(self) -> bool:
        """Whether a backward pass came through what one optimizer trains, and only another stepped on it, and all of them step:
        losses of their own, as in a GAN. Without that, the updates of several optimizers are one update.
        """
        return self._left_losses.found and all(id(optimizer) in self._began for optimizer in self.optimizers)

    @property
    def held(self) -> set[int]:
        """Ids of the parameters that optimizers hold, also those that the body has by itself."""
        return set().union(*map(managed_parameters, (*self.optimizers, *self._beside)))

    @property
    def idle(self) -> tuple[str, ...]:
        """Parameters, by name, that get a gradient, and of whose optimizers none has stepped while another has."""
        began = [each for each in self.optimizers if id(each) in self._began]
        moved, held = (set().union(*map(managed_parameters, each)) for each in (began, self.optimizers))
        still = (held - moved) & self._arrived if began else set()
        return tuple(name for name, p in self.parameters.items() if id(p) in still)

    @property
    def mixed(self) -> str | None:
        """The first parameter, by name, of an optimizer that steps on what another's loss has left; None without one."""
        return self._first_held_by(self._mixed.found())

    @property
    def stale_holder(self) -> str | None:
        """Of several optimizers, the first parameter, by name, of the one that steps most often on old gradients."""
        worst = self.stale.worst if len(self.optimizers) > 1 else None
        return None if worst is None else self._first_held_by({worst})

    def _first_held_by(self, optimizers: Container[int]) -> str | None:
        held = set().union(*(managed_parameters(each) for each in self.optimizers if id(each) in optimizers))
        return next((name for name, p in self.parameters.items() if id(p) in held), None)

    def run(self, batch: Any) -> float | None:
        """One pass through the body; returns its loss."""
        self.calls, self.norm = 0, None
        schedulers = [
            item for item in (self.scheduler, *self.others) if isinstance(item, LRScheduler) and self.schedule_steps > 1
        ]
        epochs = [scheduler.last_epoch for scheduler in schedulers]
        with exit_as_error():
            loss = self._body(batch)
        for scheduler, epoch in zip(schedulers, epochs, strict=True):
            if scheduler.last_epoch != epoch and not isinstance(scheduler, ReduceLROnPlateau):
                for _ in range(self.schedule_steps - 1):
                    scheduler.step()
        return loss

    def _body(self, batch: Any) -> float | None:
        if self.step is not None:
            return loss_as_float(self.step(self.model, self.optimizer, batch))
        assert self.forward_only is not None
        forward = self.forward_only

        def closure() -> Tensor:
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            loss = scalar(forward(self.model, batch))
            loss.backward()
            if self.clip is not None:
                nn.utils.clip_grad_norm_(list(self.parameters.values()), self.clip)
            return loss

        if any(_needs_closure(optimizer) for optimizer in self.optimizers):
            losses = [optimizer.step(closure) for optimizer in self.optimizers]  # type: ignore[arg-type]
            loss = losses[-1]
        else:
            loss = closure()
            for optimizer in self.optimizers:
                optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        return loss_as_float(loss)

    def loss(self, batch: Any, *, afresh: bool = False) -> Tensor:
        """The loss on a batch without a step.

        Args:
            batch: any.
            afresh: see `undisturbed`.
        """
        with self.undisturbed(afresh=afresh), exit_as_error():
            if self.forward_only is None:
                return torch.tensor(self._dry_run(batch), dtype=torch.float32)
            with contextlib.suppress(RuntimeError), torch.no_grad():
                return scalar(self.forward_only(self.model, batch))
            return scalar(self.forward_only(self.model, batch)).detach()  # a loss with gradients inside (a penalty)

    @contextlib.contextmanager
    def undisturbed(self, *, afresh: bool) -> Iterator[None]:
        """What runs inside is not watched; buffers, and variables of body and modules, are put back.

        Args:
            afresh: it runs with the variables that these had before the first step: without the hidden state that they carry.
        """
        buffers = [(b, b.detach().clone()) for part in self.models for b in part.buffers()]
        restore = [keep_variables(self.step, self.forward_only), *map(keep_attributes, self.models)]
        try:
            if afresh:
                modes = [(module, module.training) for part in self.models for module in part.modules()]
                for action in self._start_variables:
                    action()
                for module, training in modes:  # which is the caller's, who may look in evaluation mode
                    module.training = training
            self.watching = False
            yield
        finally:
            with uninterrupted(), torch.no_grad():
                self.watching = True
                for action in restore:
                    action()
                for buffer, old in buffers:
                    buffer.copy_(old)
                self.remade.undo()
                self.pass_scales.disturbed()

    def _dry_run(self, batch: Any) -> float:
        """The loss of the body with optimizers that stand still; one that computes it in its step steps, and is put back."""
        gradients = [(p, p.grad, None if p.grad is None else p.grad.clone()) for p in self.parameters.values()]
        put_groups_back = [keep_groups(optimizer) for optimizer in self.optimizers]
        stepping = [optimizer for optimizer in self.optimizers if _takes_more(optimizer)]
        put_groups_back += [_keep_weights(optimizer) for optimizer in stepping]
        own = [vars(optimizer).get("step") for optimizer in self.optimizers]  # a scheduler puts its own there
        try:
            for optimizer in self.optimizers:
                if optimizer not in stepping:
                    optimizer.step = _stand_still  # type: ignore[method-assign]
            assert self.step is not None
            with put_back(*self.others):
                value = loss_as_float(self.step(self.model, self.optimizer, batch))
        finally:
            with uninterrupted():
                for action in put_groups_back:
                    action()
                for optimizer, patched in zip(self.optimizers, own, strict=True):
                    vars(optimizer).pop("step", None)
                    if patched is not None:
                        optimizer.step = patched
                for p, gradient, values in gradients:
                    if gradient is not None and values is not None:
                        gradient.copy_(values)
                    p.grad = gradient
        return math.nan if value is None else value

    @contextlib.contextmanager
    def instrumented(self) -> Iterator[None]:
        """Hooks on the models, their parameters and the optimizers, taken away at the end."""
        handles: list[Any] = []
        if len(self.models) == 1:
            handles.append(self.models[0].register_forward_hook(LeftBehind(self._on_forward)))
        for part in self.models:
            for name, module in part.named_modules():
                if isinstance(module, _ACTS_IN_TRAINING):
                    handles.append(module.register_forward_pre_hook(LeftBehind(self._on_layer(name))))
        handles += [p.register_hook(self._on_gradient(p)) for p in self.parameters.values()]
        handles += [p.register_post_accumulate_grad_hook(self._on_added) for p in self.parameters.values()]
        if len(self.optimizers) + len(self._beside) > 1:
            handles += self._left_losses.hooks(self.models, list(self.parameters.values()))
        handles += self.remade.hooks()
        handles += [each.register_step_pre_hook(self._on_step_beside) for each in self._beside]
        for optimizer in self.optimizers:
            befores, afters = [self._on_step], [self._on_stepped]
            if self.scale != 1.0:
                befores, afters = [*befores, self._scale_rates], [*afters, self._own_rates_back]
            handles += [optimizer.register_step_pre_hook(hook) for hook in befores]
            handles += [optimizer.register_step_post_hook(hook) for hook in afters]
        try:
            scaler_step = replaced(torch.amp.GradScaler, "step", self._scaler_step)
            with replaced(torch.autograd, "backward", self._backward), scaler_step:
                yield
        finally:
            with uninterrupted():
                for handle in (*handles, *self._on_part_handles):
                    handle.remove()

    def _on_step_beside(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if self.watching:
            self._left_losses.stepping(optimizer)

    def _backward(self, original: Callable[..., Any], tensors: Any, *args: Any, **kwargs: Any) -> Any:
        is_asked = self.watching and isinstance(tensors, Tensor) and tensors.numel() == 1
        divisors = divisors_of(tensors, args, kwargs) if is_asked else Divisors()
        result = original(tensors, *args, **kwargs)
        if is_asked:
            self.pass_scales.passed(divisors)
        return result

    def _scaler_step(self, original: Callable[..., Any], scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(scaler, optimizer, *args, **kwargs)
        if self.watching and any(optimizer is own for own in self.optimizers):
            self.repeated.scaled(optimizer)
        return result

    def answers_by(self, part: nn.Module) -> None:
        """Take what this part returns for the model's output, where the loop never calls the model as a whole."""
        self._on_part_handles.append(part.register_forward_hook(LeftBehind(self._on_answer)))

    def _on_answer(self, module: nn.Module, args: Any, output: Any) -> None:
        found = first_tensor(output)
        self.output = found if found is None or has_values(found) else None  # nothing leaves a function that torch.func maps

    def _on_forward(self, module: nn.Module, args: Any, output: Any) -> None:
        self._on_answer(module, args, output)
        if self.watching:
            self.training = module.training

    def _on_layer(self, name: str) -> Callable[..., None]:
        def seen(module: nn.Module, args: Any) -> None:
            if self.watching and torch.is_grad_enabled() and not module.training:
                self.evaluating[name] = None

        return seen

    def _on_gradient(self, parameter: Tensor) -> Callable[[Tensor], None]:
        def seen(gradient: Tensor) -> None:
            if self.watching:
                key, found = id(parameter), parameter.grad
                is_empty = found is None or not bool(local(found).any())
                self._before[key] = 0.0 if found is None or is_empty else 1.0 if self.stale.is_known(key) else norm(found)

        return seen

    def _on_added(self, parameter: Tensor) -> None:
        """A backward pass has added to a gradient; `torch.autograd.grad` calls the hook before, and adds to none."""
        before = self._before.pop(id(parameter), None)
        if self.watching and before is not None:
            self._mixed.added(id(parameter), was_empty=before == 0)
            self._arrived.add(id(parameter))
            self.stale.added(id(parameter), before)

    def _on_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.reached |= {id(p) for group in optimizer.param_groups for p in group["params"] if p.grad is not None}
        size = math.hypot(*map(norm, gradients)) if gradients else 0.0
        self.norm = size if self.norm is None else math.hypot(self.norm, size)
        self.rate = max((float(group["lr"]) for group in optimizer.param_groups if "lr" in group), default=None)
        self.calls += 1
        if self._asked[id(optimizer)] < STEPS_COMPARED:
            self._asked[id(optimizer)] += 1
            held = [(p, float(group.get("lr") or 0.0)) for group in optimizer.param_groups for p in group["params"]]
            self.resolved |= {id(p) for p, rate in held if id(p) not in self.resolved and _would_move(p, rate)}
        self.pass_scales.stepping(optimizer)
        self.repeated.stepping(optimizer)
        self._mixed.stepping(optimizer)
        self._left_losses.stepping(optimizer)
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self.redrawn.stepping(own)
        self.stale.stepping(id(optimizer), own, is_first=id(optimizer) not in self._began)
        self._began.add(id(optimizer))
        return self.closures.stepping(optimizer, args, kwargs)

    def _on_stepped(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self.repeated.stepped(optimizer)
        self.redrawn.stepped({id(p) for group in optimizer.param_groups for p in group["params"]}, keep=self.watching)

    def _scale_rates(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._own_rates[id(optimizer)] = [group.get("lr") for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            if group.get("lr") is not None:
                group["lr"] = self.scale * group["lr"]

    def _own_rates_back(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for group, rate in zip(optimizer.param_groups, self._own_rates.pop(id(optimizer), ()), strict=True):
            if rate is not None:
                group["lr"] = rate


def _is_torchs_own(optimizer: torch.optim.Optimizer) -> bool:
    """Whether only PyTorch's code makes the steps: others round by chance, or keep what was rounded away."""
    return type(optimizer).__module__.startswith("torch.optim.") and not optimizer._optimizer_step_post_hooks


def _would_move(parameter: Tensor, rate: float) -> bool:
    """Whether a step along the gradient alone changes a parameter in its number format."""
    if parameter.grad is None or parameter.grad.layout != torch.strided:
        return False
    old, gradient = local(parameter), local(parameter.grad)
    return bool(gradient.isfinite().all()) and not torch.equal(torch.add(old, gradient.to(old.dtype), alpha=-rate), old)


def _usual_loss(loss_fn: LossFn) -> TrainingStep:
    def loss(model: Any, batch: Any) -> Tensor:
        *inputs, target = batch
        return loss_fn(model(*inputs), target)

    return loss


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _takes_more(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step needs other arguments than a closure, as one that computes the loss by itself."""
    needed = [p for p in inspect.signature(type(optimizer).step).parameters.values() if p.default is inspect.Parameter.empty]
    named = [p.name for p in needed if p.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)]
    return any(name not in ("self", "closure") for name in named)


def _keep_weights(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """Keep the weights and the state of an optimizer, and return what puts them back."""
    weights = [(p, p.detach().clone()) for group in optimizer.param_groups for p in group["params"]]
    state = {key: copy.deepcopy(value) for key, value in optimizer.state.items()}

    def restore() -> None:
        with torch.no_grad():
            for p, old in weights:
                p.copy_(old)
        optimizer.state.clear()
        optimizer.state.update(state)

    return restore


def _stand_still(closure: Callable[[], Any] | None = None, **_: Any) -> Any:
    return closure() if closure is not None else None
