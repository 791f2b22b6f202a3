"""Monitor as users have it: the doctor's, which also writes a run directory and says findings as they arise."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.arguments import check_function, check_known_counts, with_near_names
from trainability.doctor.audit_results import BatchOrder
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import Evaluation, Evidence, ProbeResult, Sample, StepRecord
from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, take_news
from trainability.doctor.joining import completed_facts
from trainability.doctor.measure.graph import managed_parameters
from trainability.doctor.measure.monitor import Monitor as Watcher
from trainability.doctor.measure.of_loader import OfLoader, with_loader
from trainability.doctor.plateau_calls import PlateauCalls
from trainability.doctor.rehearsed import SlowAverage
from trainability.doctor.told import told
from trainability.extras import EXTRAS, require
from trainability.loops.naming import holder_name
from trainability.loops.own_average import OwnAverage
from trainability.loops.own_step import OwnStep
from trainability.loops.recorder import LoopRecorder, is_main_process, num_processes
from trainability.loops.saying import folder_for_run
from trainability.training.free_folder import check_is_path
from trainability.training.precheck import DOOMED
from trainability.training.sinks import SINKS

_FIRST_LOOKS = 2  # so many sampled steps are always diagnosed
_MOST_SHARE = 0.005  # of the loop's time, for the later ones

OnFinding = Callable[[int, Finding], None]


class Monitor(Watcher):
    """Context manager around any training loop.

    Call `after_backward(loss)` after each `loss.backward()`, before clipping. The optimizer's own hooks tell where a
    step ends. The loss is read at every step; gradient norm and clip ratio at each of the first 20, then at every fourth and
    every sampled one. Between sampled steps nothing waits for the device: numbers stay there until the next sampled step
    brings them over in one copy. The model's forward is run by the loop alone, nothing that it computes is changed, nothing is
    written into it, and no random number is drawn, so weights and losses are bitwise identical with and without Monitor. The
    exception is a compiled model: its sampled steps run the plain module, which rounds differently.

    An error inside the monitor is named once, as a warning and in the evidence, and the loop goes on. What cannot be watched
    (outputs of layers that are not called as modules, or inside `torch.func`) is named in the evidence; the rest is watched.

    One step is recorded as a function of its model and its batch. When the block has ended, the first diagnosis asks of it what
    `check` asks of a step, on a copy, with the weights of the start; this takes a second or so, 20 s at most. It is left out
    with `asks_step=False`, where `before` knows it, of several processes, and of what PyTorch compiles.

    With `run`, a directory is written as `train` writes one, so that `trainability watch`, `report` and `diagnose` work on
    it while the loop runs and afterwards, also if the process was killed. Of several processes only rank 0 writes. Rows are
    written at sampled steps; a diagnosis takes at most half a percent of the loop's time, beyond the first two.

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
        run: directory to write; if it holds a run already, the next free one beside it is written, NAME-002 and so on.
        config: what the run's page shows as its configuration: names and values, nested or not.
        sinks: "tensorboard", "wandb": where scalars, histograms and findings go too. A wandb run under way is joined.
        planned_steps: of the whole loop, if known; for the progress that `watch` shows.
        on_finding: called with the step and the finding when a finding appears or becomes more severe, in every process.
        asks_step: whether a step is recorded and asked, as above.

    Attributes:
        run: the directory that is written, once entered; None of none.
        doomed: one line that says why the loop cannot succeed, once the verdict is "dead" or "unstable"; else None.
        of_script: fields of `Facts` that only whoever follows a whole script can know.
        of_loader: what the loop's loader shows, where something else has asked it.
        of_step: what a step of the loop shows, computed again.
        streamed: see `Readings`; likewise.
        plateau: see `OptimizerSettings`; likewise.
        steps_of_others: see `Evidence`; likewise.
        is_followed: whether something else tells of backward passes, and not the loop itself.

    Raises:
        ValueError: `model` is no module, `optimizer` no optimizer, a number is none or too small, `before` is something else,
            `run` is no path, an unknown sink, or sinks or config without run; on entering, the directory cannot be written.
    """

    @with_near_names
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
        run: str | Path | None = None,
        config: Mapping[str, Any] | None = None,
        sinks: Sequence[str] = (),
        planned_steps: int | None = None,
        on_finding: OnFinding | None = None,
        asks_step: bool = True,
    ) -> None:
        super().__init__(
            model,
            optimizer,
            every,
            accumulation=accumulation,
            num_classes=num_classes,
            clip=clip,
            first_step=first_step,
            before=before,
        )
        if run is not None:
            check_is_path("run", run)
        _check(run, config, sinks)
        check_known_counts(planned_steps=planned_steps)
        if on_finding is not None:
            check_function("on_finding", on_finding, "step, finding")
        self.doomed: str | None = None
        self.run = self._asked_run = None if run is None else Path(run)
        self._config, self._sinks = config or {}, tuple(sinks)
        self._on_finding = on_finding
        self._facts_of_loop = {"num_classes": num_classes, "clip": clip, "every": every, "planned_steps": planned_steps}
        self._recorder: LoopRecorder | None = None
        self._reported: dict[str, int] = {}
        self._holds: str | None = None
        self._num_looks, self._looked_seconds, self._entered_at, self._stepped_at = 0, 0.0, 0.0, 0.0
        self.of_script: dict[str, Any] = {}
        self.of_loader: OfLoader | None = None
        self.of_step: Facts | None = None
        self.streamed: BatchOrder | None = None
        self.plateau: PlateauCalls | None = None
        self.steps_of_others: int | None = None
        self.is_followed = False
        self._own_average: OwnAverage | None = None
        self._slow_average: SlowAverage | None = None
        self._own_step = OwnStep() if asks_step and self._before.facts is None else None

    def __enter__(self) -> Monitor:
        if self._asked_run is not None and is_main_process():
            self.run = folder_for_run(self._asked_run)
            self._recorder = LoopRecorder(
                self.run, self._plain, self._optimizer, config=self._config, sinks=self._sinks, facts=self._facts_of_loop
            )
            if self._diagnosis_before is not None:
                self._look(0, self._diagnosis_before)
        self._entered_at = time.perf_counter()
        super().__enter__()
        held = managed_parameters(self._optimizer)
        if held and not any(id(p) in held for p in self._plain.parameters()):
            self._holds = holder_name(held)
        if self._own_step is not None:
            self._own_step.begin(self, at_start=self._num_steps == 0)
        if self._num_steps == 0 and self._optimizer is not None and self._handles and num_processes() == 1:
            self._own_average = OwnAverage(self._plain, self._optimizer)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        if self._own_average is not None:
            self._own_average, self._slow_average = None, self._own_average.end()
        if self._own_step is not None:
            self._own_step.end()
            if error is not None:  # whoever interrupts a loop does not wait for answers
                self._own_step = None
        self._guarded_look(is_last=True)
        if self._recorder is not None:
            self._recorder.end(self._num_steps, *self._ending(error))

    def remove_run(self) -> None:
        """Remove what was written of a loop that has ended and of which nothing was seen."""
        if self._recorder is not None:
            self._recorder.remove()

    def abandon(self) -> None:
        """Leave without a word and without a question to the recorded step: somebody else has said why the loop ends."""
        self._on_finding = None
        self.__exit__(None, None, None)
        self._own_step = None

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The optimizer that is watched, unwrapped."""
        return self._optimizer

    @property
    def model(self) -> nn.Module:
        """The plain module."""
        return self._plain

    def recent_loss(self, most: int) -> float | None:
        """Mean loss of the last so many steps; None of none. Waits for the device."""
        with torch.no_grad():
            self._flush()
        losses = [step.loss for step in self._steps[-most:]]
        return sum(losses) / len(losses) if losses else None

    def asked_of_last_step(self) -> tuple[int, int] | None:
        """How many classes the last step asked for, and the first of them; None where it was not sampled, or does not tell."""
        sample = self._samples[-1] if self._samples else None
        if sample is None or sample.step != self._num_steps or sample.num_classes is None or sample.first_class is None:
            return None
        return sample.num_classes, sample.first_class

    def reads_from(self, read: Callable[[], Any]) -> None:
        """Take what the loop's loader has yielded last, as `read` says it, for the order that inputs and targets come in."""
        self._sampler.pairs.read = read

    @property
    def awaits_model(self) -> bool:
        """Whether a step is to be sampled, and the model has not run for it."""
        return self._sampler.is_armed and not self._sampler.was_seen()

    @property
    def has_tape(self) -> bool:
        """Whether a step is to be sampled whose functions are kept."""
        return self._sampler.tape is not None

    def was_given(self, batch: Any) -> bool | None:
        """Whether the last step gave the model the first part of a pair, and the loss the second; None where nobody looked."""
        if not self._samples or self._samples[-1].step != self._num_steps or not self._sampler.pairs.wants_more:
            return None
        is_pair = isinstance(batch, tuple | list) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)
        return is_pair and self._sampler.pairs.is_last(*batch)

    def layers_in_use(self) -> set[str]:
        """Names of the layers that made an output in the last step that was sampled."""
        layers = self._samples[-1].layers if self._samples else ()
        return {layer.name for layer in layers if layer.activation_rms is not None}

    @property
    def num_steps(self) -> int:
        """Steps that are done."""
        return self._num_steps

    def _after_backward(self, loss: Tensor | float, grad_scale: Any, expected_lr: float | None, is_last: bool | None) -> None:
        if self._own_step is not None:
            self._own_step.backward(loss)
        super()._after_backward(loss, grad_scale, expected_lr, is_last)

    def _end_step(self, skipped: bool = False, arm: bool = True) -> None:
        self._stepped_at = time.perf_counter()
        super()._end_step(skipped, arm)
        if self._own_step is not None and self._optimizer is not None and self._is_entered:
            self._own_step.stepped(self._optimizer, self)

    def _ask(self) -> None:
        """Ask the step that was recorded, once."""
        own_step, self._own_step = self._own_step, None
        if own_step is not None:
            self.of_step = own_step.facts(self)

    def evidence(self) -> Evidence:
        """Everything seen so far, with what was known `before`; copies to the host what is still on the device."""
        seen = super().evidence()
        if self._has_ended:
            self._ask()
        if self.of_script:
            seen = replace(seen, facts=replace(seen.facts or Facts(), **self.of_script))
        if self.streamed is not None:
            known = seen.facts or Facts()
            seen = replace(seen, facts=replace(known, readings=replace(known.readings, streamed=self.streamed)))
        if self._slow_average is not None:
            known = seen.facts or Facts()
            seen = replace(seen, facts=replace(known, readings=replace(known.readings, slow_average=self._slow_average)))
        if self.of_step is not None:
            seen = replace(seen, facts=completed_facts(seen.facts, self.of_step))
        if self.of_loader is not None:
            seen = with_loader(seen, self.of_loader)
        seen = replace(seen, steps_of_others=self.steps_of_others, unheard_steps=self._unheard(seen))
        if seen.optimizer is None or (self._holds is None and self.plateau is None):
            return seen
        return replace(seen, optimizer=replace(seen.optimizer, holds=self._holds, plateau=self.plateau))

    def _unheard(self, seen: Evidence) -> int | None:
        """Steps of a loop that calls nothing; one that is followed need not."""
        return None if self.is_followed else seen.unheard_steps

    def sample_next(self) -> None:
        """Samples the next step, whatever its number."""
        self._next_sample = self._num_steps

    def begin_step(self) -> None:
        """Says that the optimizer is in its step: what calls backward now is its closure. For a monitor entered meanwhile."""
        self._is_stepping = True

    def begin_call(self, module: nn.Module, args: Any) -> None:
        """Says that a module is being called, with what. For a monitor entered meanwhile, whose hooks miss the beginning."""
        if self._sampler.tape is not None:
            self._sampler.tape.begin_call(module, args)

    def begin_epoch(self, epoch: int) -> None:
        """Tells the run directory that the next step is the first of an epoch.

        Args:
            epoch: counted from 1.
        """
        if self._recorder is not None:
            self._recorder.begin_epoch(self._num_steps + 1, epoch)

    def _ending(self, error: BaseException | None) -> tuple[str, str | None]:
        if isinstance(error, KeyboardInterrupt):
            return "interrupted", "stopped on request"
        if error is None or (isinstance(error, SystemExit) and not error.code):
            return "finished", None
        return "failed", error_line(error)

    def _kept(self, news: list[StepRecord] | Sample | Evaluation) -> None:
        if isinstance(news, Sample):
            if self._recorder is not None:
                self._recorder.sample(news)
        elif isinstance(news, Evaluation):
            if self._recorder is not None:
                self._recorder.evaluation(news)
        elif self._recorder is not None:
            self._recorder.steps(news, self._stepped_at, has_ended=self._has_ended)
        allowed = _MOST_SHARE * (time.perf_counter() - self._entered_at)
        if not isinstance(news, list) and (self._num_looks < _FIRST_LOOKS or self._looked_seconds < allowed):
            self._guarded_look()

    def _guarded_look(self, *, is_last: bool = False) -> None:
        if self._recorder is None and self._on_finding is None and is_last:
            return
        began = time.perf_counter()
        try:
            self._look(self._num_steps, self.diagnose(), is_last=is_last)
        except Exception as error:
            message = f"the doctor failed ({error_line(error)})"
            self._problems.note(message)
            with contextlib.suppress(Warning):
                warnings.warn(message, RuntimeWarning, stacklevel=2)
        self._num_looks += 1
        self._looked_seconds += time.perf_counter() - began

    def _look(self, step: int, diagnosis: Diagnosis, *, is_last: bool = False) -> None:
        new = take_news(diagnosis.findings, self._reported)
        self.doomed = f"{diagnosis.verdict}: {diagnosis.reason}" if diagnosis.verdict in DOOMED else None
        if self._recorder is not None:
            self._recorder.diagnosed(step, diagnosis, new, is_last=is_last)
        if self._on_finding is not None:
            for finding in new:
                self._on_finding(step, finding)


def _check(run: str | Path | None, config: Mapping[str, Any] | None, sinks: Sequence[str]) -> None:
    if run is None and (config or sinks):
        raise ValueError(f"{'config' if config else 'sinks'} is for a run directory; give run= too, such as run='runs/mine'")
    if config is not None and not isinstance(config, Mapping):
        raise ValueError(f"config is {told(config)}; expected a dict of names and values")
    is_many = isinstance(sinks, Sequence) and not isinstance(sinks, str)
    for name in sinks if is_many else [None]:
        if name not in SINKS:
            raise ValueError(f"sinks is {sinks!r}; expected names out of {', '.join(SINKS)} in a tuple")
        if name in EXTRAS:
            require(name)
