"""Watches a running loop: every step's loss and norms, every Nth step's layers, without getting in its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.arguments import check_model, check_numbers, check_optimizer, numbers_of, one_number
from trainability.doctor.continuing import keep_prescriptions, known_before
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import Evaluation, Evidence, ProbeResult, Sample, StepRecord
from trainability.doctor.facts import Facts
from trainability.doctor.measure.blocks import to_host
from trainability.doctor.measure.closure_calls import ClosureCalls
from trainability.doctor.measure.evaluated import evaluated
from trainability.doctor.measure.first_look import facts_so_far, first_facts, is_cleared
from trainability.doctor.measure.gradient_norms import GradientNorms
from trainability.doctor.measure.graph import managed_parameters
from trainability.doctor.measure.nested import optimizers
from trainability.doctor.measure.optimizer_settings import maximises, settings_if_any
from trainability.doctor.measure.passed_by import PassedBy
from trainability.doctor.measure.pending import PendingStep, blocks_of, learning_rate, mean_of, records_of, settled
from trainability.doctor.measure.problems import Problems
from trainability.doctor.measure.processes import ProcessWatch
from trainability.doctor.measure.repeated_steps import RepeatedSteps
from trainability.doctor.measure.rivals import Rivals
from trainability.doctor.measure.sampling import LayerSampler
from trainability.doctor.rules.verdict import diagnose
from trainability.doctor.theory.trace import plain_module

# What is kept of a long run: rules look at how it began and at how it is going.
_FIRST_STEPS, _RECENT_STEPS, _RECENT_SAMPLES = 200, 1000, 20
_OF_CLASSES = ("nll", "log_softmax")  # of `LossGraph.takes`
_LIKE_BATCHES = range(4, 7)  # samples of one class after which the next is taken half as late
_NORMS_AT_FIRST, _NORMS_EVERY = 20, 4  # to read all gradients from memory takes a percent of a small network's step
_FEWEST_UNCALLED = 2  # steps: behind the first one, `after_backward` may be called yet
_MOST_PENDING = 1000  # steps whose numbers stay on the device; where steps are sampled more rarely, they are read in between


class Monitor:
    """Context manager around any training loop.

    Call `after_backward(loss)` after each `loss.backward()`, before clipping. The optimizer's own hooks tell where a
    step ends. The loss is read at every step; gradient norm and clip ratio at each of the first 20, then at every fourth and
    every sampled one. Between sampled steps nothing waits for the device: numbers stay there until the next sampled step
    brings them over in one copy. The model's forward is run by the loop alone, nothing that it computes is changed, nothing is
    written into it, and no random number is drawn, so weights and losses are bitwise identical with and without Monitor. The
    exception is a compiled model: its sampled steps run the plain module, which rounds differently.

    An error inside the monitor is named once, as a warning and in the evidence, and the loop goes on. What cannot be watched
    (outputs of layers that are not called as modules, or inside `torch.func`) is named in the evidence; the rest is watched.

    Args:
        model: the module that the loop calls; compiled, or wrapped by DistributedDataParallel, is fine.
        optimizer: one, also as Accelerate wraps it; None leaves out clipping, update ratios and learning rates. Models with an
            optimizer each take a monitor each, one `with` inside the other.
        every: sample layers at every so many optimizer steps, beginning with the first.
        accumulation: backward passes per optimizer step.
        num_classes: of the task; for chance level.
        clip: gradient-norm threshold of the loop, for the record; None for none or unknown.
        first_step: number of the first step, from 1; None continues after what `before` saw.
        before: what is known of this training from before the loop: the answer of `check` or `diagnose`, evidence, or a probe.

    Raises:
        ValueError: `model` is no module, `optimizer` no optimizer, a number is none or too small, `before` is another thing.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        every: int = 50,
        *,
        accumulation: int = 1,
        num_classes: int | None = None,
        clip: float | None = None,
        first_step: int | None = None,
        before: Diagnosis | Evidence | ProbeResult | None = None,
    ) -> None:
        check_model(model)
        check_optimizer(optimizer)
        check_numbers(every=every, accumulation=accumulation, first_step=first_step, num_classes=num_classes, clip=clip)
        self._before = known_before(before)
        self._diagnosis_before = before if isinstance(before, Diagnosis) else None
        self._plain = plain_module(model)
        self._optimizer = next(iter(optimizers(optimizer)), None)
        self._has_optimizer = optimizer is not None
        self._every, self._accumulation, self._num_classes, self._clip = every, accumulation, num_classes, clip
        seen = self._before.steps[-1].step if self._before.steps else 0
        self._num_steps = seen if first_step is None else first_step - 1
        self._sampler = LayerSampler(self._plain, self._guarded)
        self._processes = ProcessWatch(model, self._plain)
        self._rivals = Rivals(self._optimizer, self._guarded)
        self._passed_by = PassedBy(self._optimizer)
        self._sampler.on_call = self._rivals.on_call
        self._sampler.on_inputs, self._sampler.watch.on_wrapper = self._processes.on_model, self._processes.on_wrapper
        self._next_sample = -(-self._num_steps // every) * every
        self._first_writes: int | None = None
        self._norms = GradientNorms(self._plain)
        self._steps: list[StepRecord] = []
        self._samples: list[Sample] = []
        self._evaluations: list[Evaluation] = []
        self._problems = Problems()
        self._facts: Facts | None = None
        self._pending: list[PendingStep] = []
        self._handles: list[Any] = []
        self._is_entered = self._has_ended = self._is_complete = False
        self._repeated, self._closures = RepeatedSteps(), ClosureCalls()
        self._frozen: tuple[str, ...] = ()  # parameters, at the last sampled step
        self._num_uncalled = 0  # steps of the optimizer before the first call of after_backward
        self._was_called = self._has_failed = self._has_unseen = self._has_own_norm = False
        self._reset_step()

    def _reset_step(self) -> None:
        self._micro: list[Tensor | float] = []
        self._norm = self._gauges_before = self._gauges_after = None
        self._norms.let_go()
        self._expected_lr: float | None = None
        self._is_stepping = False
        self._num_complete, self._clips_later = 0, False

    def __enter__(self) -> Monitor:
        self._is_entered, self._has_ended, self._is_complete, self._was_called = True, False, False, False
        if self._has_optimizer:
            self._hook_optimizer()
        self._norms.begin()
        self._rivals.begin()
        self._guarded(self._arm_if_due)
        return self

    def _hook_optimizer(self) -> None:
        """Where the optimizer has no hooks, a step is taken to end with `after_backward`, as without an optimizer."""

        def before(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
            self._guarded(self._before_step)
            return None if self._has_failed else self._closures.stepping(optimizer, args, kwargs)

        try:
            assert self._optimizer is not None, "it is no torch.optim.Optimizer"
            self._handles = [self._optimizer.register_step_pre_hook(before)]
            self._handles.append(self._optimizer.register_step_post_hook(lambda *_: self._guarded(self._after_step)))
        except Exception as error:
            self._problems.note(f"clipping and updates: the optimizer takes no step hooks ({error_line(error)})")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._micro:  # a loop that stopped between backward and step
            self._guarded(lambda: self._end_step(skipped=self._num_writes() == self._first_writes))
        self._sampler.disarm()
        self._norms.end()
        self._rivals.end()
        self._processes.end(has_failed=kind is not None)
        for handle in self._handles:
            handle.remove()
        self._handles, self._is_entered, self._has_ended, self._is_complete = [], False, True, kind is None
        self._guarded(self._flush)

    def after_backward(
        self,
        loss: Tensor | float,
        *,
        grad_scale: Tensor | float | None = None,
        expected_lr: float | None = None,
        is_last: bool | None = None,
    ) -> None:
        """Record one backward pass. Call it before clipping.

        Args:
            loss: what is logged; one number, not scaled by a loss scaler. Where the optimizer maximises it, its negative is
                recorded.
            grad_scale: factor that a loss scaler put on gradients and that is still on them (`scaler.get_scale()`).
            expected_lr: what the schedule gives for this step, to check a resume.
            is_last: whether the step's gradients are complete now; None goes by `accumulation`.

        Raises:
            RuntimeError: called outside the monitor's `with` block, where nothing is watched.
        """
        if not self._is_entered:
            raise RuntimeError("after_backward outside of the monitor's block; loop inside `with Monitor(...) as monitor:`")
        is_late = self._num_uncalled > 0 and not self._was_called and self._sampler.is_armed and not self._sampler.was_seen()
        self._was_called = True
        if is_late:
            self._guarded(_say_late)
        self._guarded(lambda: self._after_backward(loss, grad_scale, expected_lr, is_last))

    def take_gradient_norm(self, norm: Tensor | float) -> None:
        """Use the norm of the step's gradients that the loop has computed; later steps that are not sampled compute none.

        Call it at every step, between `after_backward` and the optimizer's step.

        Args:
            norm: of all gradients, before clipping and not scaled; one number.
        """
        self._guarded(lambda: self._take_gradient_norm(norm))

    def forget_other_step(self) -> None:
        """Forgets a backward pass through this model that belonged to another optimizer's step."""
        if self._sampler.is_armed and self._sampler.has_backward and not self._micro:
            self._guarded(self._sampler.arm)

    def scaler_stepped(self) -> None:
        """Say that a loss scaler has stepped the optimizer, or has left its step out.

        Without it, a `step()` that is made where the scaler has left one out is not recognised as a second one.
        """
        self._guarded(lambda: self._repeated.scaled(self._optimizer))

    def record_evaluation(
        self,
        split: str,
        *,
        loss: float | None = None,
        top1_error: float | None = None,
        predictions: Tensor | None = None,
        labels: Tensor | None = None,
        model_training: bool | None = None,
    ) -> None:
        """Record one evaluation; inside the `with` block or after it.

        Args:
            split: "train" or "validation".
            loss: mean cross-entropy.
            top1_error: in [0, 1].
            predictions: (examples,) arg-max classes or (examples, classes) logits, counted anew; of a regression, values.
            labels: (examples,) true classes or values.
            model_training: `model.training` during the evaluation.
        """
        self._guarded(lambda: self._record_evaluation(split, loss, top1_error, predictions, labels, model_training))

    def evidence(self) -> Evidence:
        """Everything seen so far, with what was known `before`; copies to the host what is still on the device."""
        self._guarded(self._flush)
        facts = replace(
            self._facts or Facts(), **facts_so_far(self._plain, self._sampler, self._rivals, self._facts, self._samples)
        )
        facts = replace(
            facts,
            passed_by=self._passed_by.num_parameters,
            repeated_steps=self._repeated.found(),
            added_in_closure=self._closures.found(),
        )
        settings = settings_if_any(self._optimizer, self._plain, clip=self._clip) if self._optimizer is not None else None
        if settings is not None:  # what was frozen while this optimizer stepped may be trained by the next one
            settings = replace(settings, frozen=tuple(dict.fromkeys((*settings.frozen, *self._frozen))))
        seen = Evidence(
            steps=tuple(self._steps),
            samples=tuple(self._samples),
            evaluations=tuple(self._evaluations),
            facts=facts if facts != Facts() else None,
            relation=self._sampler.pairs.relation(is_over=self._has_ended) if self._before.relation is None else None,
            num_classes=self._num_classes,
            optimizer=settings,
            problems=tuple(self._problems.lines),
            unheard_steps=None if self._was_called or self._num_uncalled < _FEWEST_UNCALLED else self._num_uncalled,
            processes=self._processes.processes(),
        )
        return replace(self._before.merge(seen), has_ended=self._has_ended, is_complete=self._is_complete)

    def diagnose(self) -> Diagnosis:
        """What is known before and what was seen so far, read together; what `before` prescribes is kept."""
        diagnosis = diagnose(self.evidence())
        return diagnosis if self._diagnosis_before is None else keep_prescriptions(diagnosis, self._diagnosis_before)

    def _guarded(self, action: Callable[[], None]) -> None:
        """Run a piece of the monitor; an error in it is named once and never reaches the loop."""
        try:
            with torch.no_grad():
                action()
        except Exception as error:
            self._has_failed = True
            self._sampler.disarm()
            self._problems.warn(f"the monitor stopped watching: {error_line(error)}")

    def _arm_if_due(self) -> None:
        if self._num_steps >= self._next_sample and not (self._sampler.is_armed or self._has_failed):
            self._norms.refresh(managed_parameters(self._optimizer))
            self._sampler.gauges = self._norms.gauges
            self._processes.arm()
            self._sampler.watch.wrapper = self._processes.wrapper
            self._sampler.arm()
            self._next_sample = (self._num_steps // self._every + 1) * self._every

    def _after_backward(self, loss: Tensor | float, grad_scale: Any, expected_lr: float | None, is_last: bool | None) -> None:
        if self._optimizer is not None and maximises(self._optimizer):
            loss = -loss  # what is minimised
        if self._is_stepping and self._num_complete:
            self._num_complete += 1
            return  # a closure that the optimizer evaluates again; the step's loss is that of its first pass
        was_complete = len(self._micro) >= self._accumulation if is_last is None else self._num_complete > 0
        if grad_scale is not None and was_complete:
            # The last step never came: the scaler found an overflow. This step's forward pass is over, so it is not sampled.
            self._end_step(skipped=True, arm=False)
        if self._facts is None and isinstance(loss, Tensor):
            at_start = self._num_steps == 0 and not self._micro
            self._facts = first_facts(loss, self._plain, self._optimizer, self._sampler, at_start=at_start)
        if self._first_writes is None:
            self._first_writes = self._num_writes()
        number = settled(loss) if isinstance(loss, Tensor) and loss.numel() == 1 else one_number("loss", loss)
        self._micro.append(number.detach().reshape(()).clone() if isinstance(number, Tensor) else number)
        self._expected_lr = expected_lr
        is_last = len(self._micro) % self._accumulation == 0 if is_last is None else is_last
        if self._sampler.is_armed:
            if len(self._micro) == 1:
                self._sampler.take_loss(loss, self._micro[0], 1.0 if grad_scale is None else grad_scale)
            if not self._sampler.was_seen():
                self._passed_by.take(loss, is_stepping=self._is_stepping)
            self._sampler.end_first_pass()
            self._processes.after_backward(is_last=is_last)
        self._rivals.take(loss, is_last=is_last)
        if not is_last:
            return
        self._num_complete += 1
        self._clips_later = self._is_stepping  # in the optimizer's closure, where clipping comes after this
        is_due = self._num_steps < _NORMS_AT_FIRST or self._num_steps % _NORMS_EVERY == 0
        if is_due or self._sampler.is_armed or self._processes.may_wait:
            self._take_norms(grad_scale)
        if self._sampler.is_armed:
            self._sampler.take_gradients(1.0 if grad_scale is None else grad_scale)
        if not self._handles:
            self._end_step()

    def _take_norms(self, grad_scale: Any) -> None:
        norms = self._norms.take(gauges_only=self._has_own_norm and not self._sampler.is_armed)
        self._norm, self._gauges_before = norms.each, norms.gauges
        if grad_scale is not None:
            self._norm = None if norms.each is None else norms.each / grad_scale
            self._gauges_before = None if norms.gauges is None else norms.gauges / grad_scale
        if (norms.is_partial or self._sampler.is_armed) and (line := self._processes.waited_for()) is not None:
            self._problems.warn(line)

    def _num_writes(self) -> int:
        """How often parameters were written, by PyTorch's own count: what it was before means that nothing moved them."""
        trained = (p for p in self._plain.parameters() if p.requires_grad and not nn.parameter.is_lazy(p))
        return sum(parameter._version for parameter in trained)

    def _before_step(self) -> None:
        self._is_stepping = True
        self._passed_by.stepping()
        if self._optimizer is not None:
            self._repeated.stepping(self._optimizer)
        if self._num_steps == 0 and self._micro and self._facts is not None:
            self._facts = replace(self._facts, cleared=is_cleared(self._facts.graph, self._plain, self._optimizer))
        self._compare_gauges()

    def _after_step(self) -> None:
        if self._optimizer is not None:
            self._repeated.stepped(self._optimizer)
        self._end_step()

    def _compare_gauges(self) -> None:
        if self._gauges_before is not None:
            self._gauges_after = self._norms.take_gauges_again(measures=self._sampler.is_armed)
        if self._sampler.is_armed:
            ends = self._gauges_before, self._gauges_after
            before, after = (None if end is None else torch.linalg.vector_norm(end) for end in ends)
            self._processes.before_step(None if before is None or after is None else after / before)

    def _take_gradient_norm(self, norm: Tensor | float) -> None:
        self._has_own_norm, self._norm = True, torch.as_tensor(norm).detach().reshape(1)

    def _end_step(self, skipped: bool = False, arm: bool = True) -> None:
        if not self._micro:  # a step without after_backward is not counted
            if not self._was_called:
                self._sampler.disarm()
                self._num_uncalled += 1
                if self._num_uncalled < _FEWEST_UNCALLED:  # it may be called behind the step
                    self._next_sample = self._num_steps
                    self._arm_if_due()
                    self._is_stepping = False
                    return
                self._problems.warn(
                    "the optimizer steps and nothing calls monitor.after_backward(loss): the loop is not watched; call it "
                    "between loss.backward() and optimizer.step()"
                )
            self._is_stepping = False
            return
        if self._clips_later and self._num_complete == 1:
            self._compare_gauges()
        numbers = {"loss": mean_of(self._micro), "gradient_norm": self._norm, "lr": learning_rate(self._optimizer)}
        numbers |= {"gauges_before": self._gauges_before, "gauges_after": self._gauges_after}
        self._num_steps += 1
        facts = {
            "step": self._num_steps,
            "skipped": skipped,
            "micro_batches": len(self._micro),
            "expected_lr": self._expected_lr,
        }
        known = {id(n): settled(n) for n in numbers.values() if isinstance(n, Tensor)}  # where nothing clips, two are the same
        self._pending.append(PendingStep(numbers={kind: known.get(id(n), n) for kind, n in numbers.items()}, facts=facts))
        if self._sampler.is_armed:
            self._sampler.disarm()
            self._flush(sampled=True)
        elif len(self._pending) >= _MOST_PENDING:
            self._flush()
        self._reset_step()
        if arm:
            self._arm_if_due()

    def _flush(self, sampled: bool = False) -> None:
        blocks = blocks_of(self._pending)
        if sampled:
            blocks += self._sampler.blocks(has_stepped=self._is_stepping)
            blocks += self._processes.blocks(has_stepped=self._is_stepping)
        numbers = to_host(blocks)
        self._keep_steps(records_of(self._pending, numbers))
        if sampled:
            self._norms.judge_counts(self._steps[-1].clip_ratio)
            self._processes.tell(self._steps[-1], numbers)
            self._processes.disarm()
            sample = self._sampler.sample(self._num_steps, numbers)
            self._samples.append(sample)
            self._frozen = tuple(name for name, p in self._plain.named_parameters() if not p.requires_grad)
            if len(self._samples) in _LIKE_BATCHES and self._processes.is_alone and self._shows_one_class():
                self._next_sample = min(self._next_sample, self._num_steps + self._every // 2)
            if sample.blind:
                self._problems.warn("the monitor saw no layer run: does the loop call the module that was given to Monitor?")
            if (failed := self._sampler.failed()) is not None:
                self._problems.warn(f"the monitor could not look at {failed}")
            elif (unseen := self._sampler.unseen()) is not None and not self._has_unseen:
                self._has_unseen = True  # named at the first sample; the later ones are alike
                self._problems.note(f"outputs of {unseen}; their weights and gradients are watched")
            self._kept(sample)

    def _shows_one_class(self) -> bool:
        """Whether all batches so far were of the same class: where a pass is as long as `every`, it is always the same part."""
        graph = self._facts.graph if self._facts is not None else None
        if graph is None or graph.takes not in _OF_CLASSES:
            return False
        return {(sample.num_classes, sample.first_class) for sample in self._samples} == {(1, self._samples[0].first_class)}

    def _keep_steps(self, records: list[StepRecord]) -> None:
        self._pending.clear()
        self._steps += records
        self._kept(records)
        if len(self._steps) > _FIRST_STEPS + 2 * _RECENT_STEPS:
            del self._steps[_FIRST_STEPS:-_RECENT_STEPS]
        if len(self._samples) > 2 * _RECENT_SAMPLES:
            del self._samples[1:-_RECENT_SAMPLES]

    def _record_evaluation(
        self,
        split: str,
        loss: float | None,
        top1_error: float | None,
        predictions: Tensor | None,
        labels: Tensor | None,
        model_training: bool | None,
    ) -> None:
        fields: dict[str, Any] = numbers_of(loss=loss, top1_error=top1_error) | evaluated(predictions, labels)
        self._evaluations.append(Evaluation(step=self._num_steps, split=split, model_training=model_training, **fields))
        self._kept(self._evaluations[-1])

    def _kept(self, news: list[StepRecord] | Sample | Evaluation) -> None:
        """Called with what was just read, for a subclass that writes it down."""


def _say_late() -> None:
    raise ValueError(
        "after_backward is called after the optimizer's step; call it between loss.backward() and optimizer.step()"
    )
