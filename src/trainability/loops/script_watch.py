"""Finds the models, losses and optimizers of a script that was not written for it, and watches them."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.error_line import error_line
from trainability.doctor.measure.graph import parameters_behind
from trainability.doctor.measure.optimizer_settings import maximises
from trainability.doctor.measure.pass_scales import Divisors, PassScales
from trainability.loops.attaching import Attached
from trainability.loops.ending import is_empty, remove_if_empty, runs_in, say_nothing_seen
from trainability.loops.enough import Enough
from trainability.loops.events import listening, parameters_of
from trainability.loops.held_out import HeldOut
from trainability.loops.kept_states import KeptStates
from trainability.loops.lookalikes import LONG_LIVED, Lookalikes
from trainability.loops.naming import variable_name
from trainability.loops.plateaus import Plateaus
from trainability.loops.recordings import Recordings
from trainability.loops.refused_label import refused_label
from trainability.loops.remade import Remade
from trainability.loops.saying import as_typed, say, say_command, say_not_looked_at
from trainability.loops.trainers import Trainers

_FOREIGN_STEPS = 3  # steps after which an optimizer is taken to hold nothing that the script trains
_MOST_DERIVED = 256  # losses that are kept until a step


class ScriptWatch:
    """Follows a script by PyTorch's global hooks, and attaches a `Monitor` to each optimizer that trains a module.

    A module that is called with gradients on and holds all parameters of an optimizer is its model; where several modules
    share an optimizer, they are watched together from its second step on. One like another that was trained before it is
    watched once it has made more steps than the copies of an inner loop do. Trainers of Lightning and Transformers get the
    callback instead, since they know their accumulation and metrics.

    Args:
        script: what the run's page calls it.
        every: sample layers at every so many optimizer steps.
        most_steps: stop the script after so many; `None` never does.
        place: makes the run directory, which is asked for when there is something to watch; `None` writes none.

    Attributes:
        trainers: that the script makes.
    """

    def __init__(self, script: str | Path, *, every: int, most_steps: int | None, place: Callable[[], Path] | None) -> None:
        self._script, self._every, self._most_steps, self._place = script, every, most_steps, place
        self._attached = Attached(is_eager=True)
        self._follower, self._monitors = self._attached.follower, self._attached.monitors
        self.trainers = Trainers(every=every, most_steps=most_steps, folder=lambda: self._folder)
        self._waiting: dict[int, torch.optim.Optimizer] = {}  # optimizers without a monitor
        self._optimizers: list[torch.optim.Optimizer] = []
        # Modules that ran with gradients on, outer ones first; copies that an inner loop drops are not kept alive.
        self._called: weakref.WeakValueDictionary[int, nn.Module] = weakref.WeakValueDictionary()
        self._lookalikes, self._remade = Lookalikes(), Remade()
        self._recordings = Recordings(
            lambda: self._monitors if len(self._monitors) == len(self._optimizers) else {}, lambda: self._held_out.batches()
        )
        self._held_out = HeldOut(
            lambda: self._attached.only if len(self._optimizers) == 1 else None, given=self._recordings.given
        )
        self._kept_states = KeptStates(lambda: list(self._monitors.values()))
        self._plateaus = Plateaus(lambda: list(self._monitors.values()))
        self._pass_scales = PassScales()
        self._steps: dict[int, int] = {}  # per optimizer
        self._were_given = False  # whether any of them had a gradient as it stepped
        self._derived: list[Tensor] = []  # losses since the last step, of which the loop took derivatives by itself
        self._in_closure: torch.optim.Optimizer | None = None
        self._hook: Any = None
        self._stack = contextlib.ExitStack()
        self._has_failed, self._has_ended, self._was_stopped = False, False, False

    def begin(self) -> None:
        """Install the hooks."""
        for listened in (listening(self), self._held_out.listening(), self._plateaus.listening()):
            self._stack.enter_context(listened)
        self._stack.callback(register_optimizer_step_pre_hook(self._before_step).remove)
        self._stack.callback(register_optimizer_step_post_hook(self._after_step).remove)
        original = torch.optim.Optimizer.__init__

        @functools.wraps(original)
        def made(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            self._optimizers.append(optimizer)
            self._lookalikes.made(optimizer)
            self._pass_scales.made(optimizer)
            self._wait_for(optimizer)

        torch.optim.Optimizer.__init__ = made  # type: ignore[method-assign]
        self._stack.callback(setattr, torch.optim.Optimizer, "__init__", original)

    def end(self, error: BaseException | None) -> bool:
        """Remove the hooks, say the verdicts and what could not be told.

        Args:
            error: what ended the script; `None` if it came to its end.

        Returns:
            Whether a finding is worse than a hint.
        """
        if self._has_ended:
            return any(diagnosis.asks_for_change for diagnosis in self.diagnoses.values())
        self._unhook()
        if error is None:
            self._look_again()
        elif isinstance(error, Exception):
            self._look_at(error)
        if self._was_stopped:
            say(f"the script was stopped after {self._most_steps:,} steps ({'--check' if self._place is None else '--steps'})")
        self._attached.leave(error, keeps_empty=False)
        for callback in self.trainers.callbacks:
            callback.watching.end(error)
        diagnoses = {name: diagnosis for name, diagnosis in self.diagnoses.items() if not is_empty(diagnosis)}
        is_told = self._has_failed or (diagnoses and isinstance(error, Exception))  # by what was said already
        if not (self.has_seen_steps or is_told):
            say_nothing_seen(error)
        if short := self._lookalikes.num_short:
            say(
                f"not watched: {short:,} {'network' if short == 1 else 'networks'} like one that was trained already, as an "
                f"inner loop copies it, each for fewer than {LONG_LIVED} steps"
            )
        if diagnoses:
            monitors = self._monitors.values()
            are_classes = any(sample.num_classes for found in diagnoses.values() for sample in found.evidence.samples)
            say_not_looked_at(
                data=any(m.of_loader is not None and m.of_loader.data is not None for m in monitors),
                evaluations=not (monitors and are_classes) or any(m.of_script.get("held_out") for m in monitors),
            )
        if diagnoses and self._folder is not None:
            say_command("see it with", ["trainability", "report", *map(str, runs_in(as_typed(self._folder)))])
        elif "_folder" in vars(self) and self._folder is not None:
            remove_if_empty(self._folder)
        return any(diagnosis.asks_for_change for diagnosis in diagnoses.values())

    def abandon(self) -> None:
        """Remove the hooks and take the monitors away, and say nothing."""
        self._unhook()
        self._attached.abandon()

    def _unhook(self) -> None:
        self._has_ended = True
        self._stop_looking()
        self._stack.close()
        self.trainers.release()
        self._recordings.end()

    def _look_again(self) -> None:
        """Read the data and compute a step once more, now that the script has ended and nothing it computes can change."""
        monitor = next(iter(self._monitors.values()), None)
        if monitor is not None:
            monitor.of_loader = self._held_out.of_loader(monitor.model)
        moved = {id(p) for each in self._optimizers if id(each) in self._steps for p in parameters_of(each)}
        for each in self._monitors.values():
            if self._was_stopped:
                each.of_script["was_stopped"] = True
            each.of_script["divided_again"] = self._pass_scales.found(each.optimizer)
            each.of_script["mean_again"] = self._pass_scales.mean_again(each.optimizer)
            each.of_script["undivided"] = self._pass_scales.undivided(each.optimizer)
            held = list(parameters_of(each.optimizer)) if each.optimizer is not None else []
            if moved.isdisjoint(map(id, held)) and any(p.grad is not None and bool(p.grad.any()) for p in held):
                each.steps_of_others = max(self._steps.values(), default=0)
                each.of_script["in_vain"] = not self._were_given
        self._recordings.ask(self._monitors.values())

    def _look_at(self, error: Exception) -> None:
        """Say what the script failed with, below its traceback, and keep a label that a loss refused."""
        monitors = [*self._monitors.values(), *(m for each in self.trainers.callbacks for m in each.watching.monitors.values())]
        if steps := max((monitor.num_steps for monitor in monitors), default=0):
            say(f"the script failed after {steps:,} {'step' if steps == 1 else 'steps'}: {error_line(error)}")
        if (refused := refused_label(error)) is None:
            return
        behind = {id(p) for p in parameters_behind(refused.outputs)}  # none where no gradients are taken, as in an evaluation
        trained = [m for m in monitors if m.optimizer is not None and any(id(p) in behind for p in parameters_of(m.optimizer))]
        for monitor in (trained or monitors)[:1]:
            monitor.of_script["refused_label"] = (refused.function, refused.label, refused.num_outputs)

    @property
    def diagnoses(self) -> dict[str, Diagnosis]:
        """What is known so far, by the class of the model, or of several models by the script's variables.

        A number follows where a name is taken.
        """
        found = {name: monitor.diagnose() for name, monitor in self._monitors.items()}
        for number, callback in enumerate(self.trainers.callbacks, start=1):
            for part, monitor in callback.watching.monitors.items():
                found[part if part not in found else f"{part}-{number}"] = monitor.diagnose()
        return found

    @property
    def has_seen_steps(self) -> bool:
        """Whether anything that is watched has made a step."""
        return any(diagnosis.evidence.steps for diagnosis in self.diagnoses.values())

    @functools.cached_property
    def _folder(self) -> Path | None:
        return None if self._place is None else self._place()

    # ------------------------------------------------------------------------------------------------- finding models

    def _wait_for(self, optimizer: torch.optim.Optimizer) -> None:
        self._waiting[id(optimizer)] = optimizer
        if self._hook is None:
            self._hook = module_hooks.register_module_forward_pre_hook(self._on_call)

    def _stop_looking(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        self._called.clear()

    def _on_call(self, module: nn.Module, args: Any) -> None:
        if not torch.is_grad_enabled() or id(module) in self._called or self.trainers.are_at_work or self._has_failed:
            return
        self._called[id(module)] = module
        own = {id(p) for p in module.parameters()}
        for optimizer in list(self._waiting.values()):
            trained = {id(p) for p in parameters_of(optimizer)}
            if trained and trained <= own:
                self._attach(module, optimizer, called_with=args)

    def _attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, *, first_step: int = 1, called_with: Any = None
    ) -> None:
        del self._waiting[id(optimizer)]
        if not self._waiting:
            self._stop_looking()
        if self._lookalikes.holds_back(model, optimizer, first_step=first_step):
            self._optimizers.remove(optimizer)
            self._follower.is_eager = False  # a backward pass may be one of theirs
            return
        if self._remade.holds_back(optimizer, self._monitors.values()):
            self._optimizers.remove(optimizer)
            return
        self._watch(model, optimizer, first_step=first_step, called_with=called_with)

    def _watch(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, first_step: int, called_with: Any) -> None:
        self._lookalikes.watched(model, optimizer, first_step=first_step)
        try:
            config = {"script": str(self._script), "optimizer": _settings(optimizer)} if self._folder is not None else None
            name, run = self._attached.attach(
                self._name_of(model, optimizer),
                model,
                optimizer,
                self._every,
                is_one_of_several=self._are_several,
                is_sampled_next=True,
                is_stepping=self._in_closure is optimizer,
                called_with=called_with,
                run=self._folder,
                config=config,
                first_step=first_step,
                planned_steps=self._most_steps,
            )
        except (ValueError, OSError) as error:  # the directory cannot be written
            self._has_failed = True
            say(str(error))
            return
        self._monitors[name].reads_from(self._held_out.last_batch)
        self._recordings.begin(self._monitors[name], at_start=first_step == 1)
        count = sum(p.numel() for p in model.parameters() if not nn.parameter.is_lazy(p))
        where = f", {as_typed(run)}" if run is not None else ""
        kind = _kind_of(model)
        what = type(optimizer).__name__ if name.startswith(kind) else f"{kind}, {type(optimizer).__name__}"
        say(f"watching {name} ({what}, {count:,} parameters){where}")

    @property
    def _are_several(self) -> bool:
        return len(self._optimizers) > 1 or self._lookalikes.num_held > 0

    def _name_of(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
        """The class, and of one among several what the script calls it, where that can be told.

        The second optimizer of one network is told from the first by its own name.
        """
        kind = _kind_of(model)
        if not self._are_several:
            return kind
        parts = _parts_of(model)
        names = [variable_name(part) for part in parts]
        name = "+".join(name for name in names if name is not None) if None not in names else kind
        own = variable_name(optimizer) if name in self._monitors else None
        return name if own is None else f"{name}-{own}"

    def _attach_shared(self, optimizer: torch.optim.Optimizer) -> None:
        """After an optimizer's first step: the modules that ran and hold some of its parameters, outer ones only."""
        trained = {id(p) for p in parameters_of(optimizer)}
        found: list[nn.Module] = []
        for module in self._called.values():
            inside = any(module is part for other in found for part in other.modules())
            if not inside and any(id(p) in trained for p in module.parameters()):
                found.append(module)
        if found:
            self._attach(nn.ModuleList(found) if len(found) > 1 else found[0], optimizer, first_step=2)

    def _attach_foreign(self, optimizer: torch.optim.Optimizer) -> None:
        """The module that is trained in vain, where an optimizer has stepped without a gradient, on nothing that ran.

        Both must be without another: each has been waiting, and no other optimizer holds what the module trains.
        """
        others = (other for other in self._optimizers if other is not optimizer)
        held = {id(p) for other in others for p in parameters_of(other)}
        outer = next(iter(self._called.values()), None)
        if outer is None or any(p.grad is not None for p in parameters_of(optimizer)):
            return
        trained = [p for p in outer.parameters() if p.grad is not None]
        if trained and not any(id(p) in held for p in outer.parameters()):
            self._attach(outer, optimizer, first_step=_FOREIGN_STEPS + 1)

    # ---------------------------------------------------------------------------------------------- following the loop

    def on_backward(self, loss: Tensor, scaler: Any, *, divisors: Divisors, is_turned: bool) -> None:
        """A backward pass is over."""
        if self.trainers.are_at_work:
            return
        # A monitor asks its own optimizer whether it maximises; these know none.
        is_raised = bool(self._optimizers) and all(map(maximises, self._optimizers))
        self._recordings.backward(loss, scaler, is_turned=is_turned != is_raised)
        loss = -loss if is_turned else loss
        self._pass_scales.passed(divisors)
        self._follower.backward(loss, scaler, is_divided=divisors.is_divided)
        if self._in_closure is not None and self._follower.is_waiting:
            self._follower.complete(self._in_closure)

    def on_derivatives(self, loss: Tensor) -> None:
        """The loop may make gradients of these derivatives by itself, as of those of several tasks that are projected."""
        if not self.trainers.are_at_work and not self._has_failed and len(self._derived) < _MOST_DERIVED:
            self._derived.append(loss.reshape(()))

    def on_clip(self, parameters: list[Tensor]) -> None:
        """Gradients are complete, and not clipped yet."""
        if self.trainers.are_at_work or not self._follower.is_waiting:
            return
        clipped = {id(p) for p in parameters}
        for monitor in self._monitors.values():
            optimizer = monitor.optimizer
            if optimizer is not None and any(id(p) in clipped for p in parameters_of(optimizer)):
                self._follower.complete(optimizer)

    def on_clear(self, owner: Any) -> None:
        """Gradients are about to be cleared; of one optimizer alone a loss that waits is its own, and its step is to come."""
        self._recordings.clearing(owner)
        if self.trainers.are_at_work or not self._follower.awaits_step or self._are_several or not self._optimizers:
            return
        held = {id(p) for p in parameters_of(self._optimizers[0])}
        cleared = parameters_of(owner) if isinstance(owner, torch.optim.Optimizer) else owner.parameters()
        if any(id(p) in held for p in cleared):
            self._follower.clearing(self._optimizers[0])

    def on_scaler_step(self, optimizer: Any) -> None:
        """A loss scaler left a step out, if its losses are still waiting."""
        if self.trainers.are_at_work:
            return
        for monitor in self._monitors.values():
            if monitor.optimizer is optimizer:
                monitor.scaler_stepped()
        if self._follower.is_waiting:
            self._follower.complete(optimizer)

    def on_state(self, module: nn.Module) -> None:
        """Weights may be meant to be kept."""
        self._kept_states.taken(module)

    def on_load(self, module: nn.Module, state: Any) -> None:
        """Weights are to be put back."""
        self._kept_states.loading(module, state)

    def _before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        derived, self._derived = self._derived, []
        if self.trainers.are_at_work or self._has_failed:
            return
        self._recordings.stepping()
        self._pass_scales.stepping(optimizer)
        has_gradients = any(p.grad is not None for p in parameters_of(optimizer))
        self._were_given = self._were_given or has_gradients
        if derived and has_gradients and not self._follower.awaits_step:
            with torch.enable_grad():
                self._follower.backward(torch.stack(derived).sum())
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is not None and not self._follower.is_waiting:
            self._in_closure = optimizer
        else:
            self._follower.stepping(optimizer)

    def _after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if self.trainers.are_at_work:
            return
        self._in_closure = None
        self._follower.stepped(optimizer)
        self._held_out.stepped()
        self._kept_states.stepped()
        self._recordings.stepped(optimizer, self._follower.monitors.get(id(optimizer)))
        steps = self._lookalikes.stepped(optimizer)
        if steps == LONG_LIVED and not self._has_failed:
            self._steps[id(optimizer)] = steps
            self._optimizers.append(optimizer)
            if (model := self._lookalikes.release(optimizer)) is not None:
                self._watch(model, optimizer, first_step=steps + 1, called_with=None)
        elif steps is None:
            steps = self._steps[id(optimizer)] = self._steps.get(id(optimizer), 0) + 1
        if id(optimizer) in self._waiting and not self._has_failed:
            if steps == 1:
                self._attach_shared(optimizer)
            elif steps == _FOREIGN_STEPS:
                self._attach_foreign(optimizer)
        if self._most_steps is not None and steps >= self._most_steps:
            self._was_stopped = True
            raise Enough


def _settings(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    plain = {key: value for key, value in optimizer.defaults.items() if isinstance(value, int | float | str | tuple)}
    return {"name": type(optimizer).__name__, **plain}


def _parts_of(model: nn.Module) -> list[nn.Module]:
    """Modules that share an optimizer, where the model was put together of them; else the model alone."""
    return list(model.children()) if type(model) is nn.ModuleList else [model]


def _kind_of(model: nn.Module) -> str:
    return "+".join(dict.fromkeys(type(part).__name__ for part in _parts_of(model)))
