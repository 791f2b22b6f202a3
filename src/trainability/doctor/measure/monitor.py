"""Watches a running loop: every step's loss and norms, every Nth step's layers, without getting in its way."""

import math
import sys
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.evidence import Evaluation, Evidence, LayerStats, OptimizerSettings, Sample, StepRecord
from trainability.doctor.measure import statistics
from trainability.doctor.measure.hooks import Watch, activation_fields, activations_by_layer, first_tensor
from trainability.doctor.measure.probe import optimizer_settings
from trainability.doctor.theory import moments, signal
from trainability.doctor.theory.trace import Trace, trace

# What is kept of a long run: rules look at how it began and at how it is going.
_FIRST_STEPS, _RECENT_STEPS, _RECENT_SAMPLES = 200, 1000, 20


class Monitor:
    """Context manager around any training loop.

    Call `after_backward(loss)` after each `loss.backward()`, before clipping. The optimizer's own hooks tell where a
    step ends. Between sampled steps nothing waits for the device: numbers stay there until the next sampled step
    brings them over in one copy. Nothing that the model computes is changed, and no random number is drawn, so a
    monitored run is bitwise the unmonitored one. The exception is a compiled model: its sampled steps run the plain
    module, which rounds differently.

    An error inside the monitor is named once, as a warning and in the evidence, and the loop goes on unwatched.

    Args:
        model: the module that the loop calls; compiled, or wrapped by DistributedDataParallel, is fine.
        optimizer: None leaves out clipping, update ratios and learning rates.
        every: sample layers at every so many optimizer steps, beginning with the first.
        accumulation: backward passes per optimizer step.
        num_classes: of the task; for chance level.
        clip: gradient-norm threshold of the loop, for the record; None for none or unknown.
        first_step: number of the first step, after a resume.

    Raises:
        ValueError: every or accumulation below 1.
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
        first_step: int = 0,
    ) -> None:
        if every < 1 or accumulation < 1:
            raise ValueError(f"every is {every} and accumulation {accumulation}; both must be at least 1")
        self._plain = _plain(model)
        self._optimizer = optimizer
        self._every = every
        self._accumulation = accumulation
        self._num_classes = num_classes
        self._clip = clip
        self._step = first_step
        self._watch = Watch(self._plain, output=statistics.thin, gradient=statistics.thin, guard=self._guarded)
        self._parameters = [p for p in self._plain.parameters() if p.requires_grad]
        # Clipping scales all gradients alike, so one small tensor before and after tells the ratio.
        self._gauge = min(self._parameters, key=lambda p: (p.dim() < 2, p.numel()), default=None)
        self._steps: list[StepRecord] = []
        self._samples: list[Sample] = []
        self._evaluations: list[Evaluation] = []
        self._problems: list[str] = []
        self._pending: list[tuple[Tensor, bool, dict[str, Any]]] = []
        self._handles: list[Any] = []
        self._stance: Any = None
        self._armed = False
        self._trace: Trace | None = None
        self._untraceable = False
        self._activations: dict[str, str | None] | None = None
        self._reset_step()
        self._reset_sample()

    def _reset_step(self) -> None:
        self._micro: list[Tensor] = []
        self._norm: Tensor | None = None
        self._gauge_before: Tensor | None = None
        self._clip_ratio: Tensor | None = None
        self._expected_lr: float | None = None
        self._is_stepping = False

    def _reset_sample(self) -> None:
        self._training: bool | None = None
        self._stale: Tensor | None = None
        self._input: tuple[tuple[int, ...], torch.dtype] | None = None
        self._weights: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}

    def __enter__(self) -> "Monitor":
        if self._optimizer is not None:
            self._handles = [
                self._optimizer.register_step_pre_hook(lambda *_: self._guarded(self._before_step)),
                self._optimizer.register_step_post_hook(lambda *_: self._guarded(self._end_step)),
            ]
        self._guarded(self._arm_if_due)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._micro:  # a loop that stopped between backward and step
            self._guarded(self._end_step)
        self._disarm()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._guarded(self._flush)

    def after_backward(
        self,
        loss: Tensor | float,
        *,
        grad_scale: Tensor | float | None = None,
        expected_lr: float | None = None,
        is_last: bool | None = None,
    ) -> None:
        """Records one backward pass. Call it before clipping.

        Args:
            loss: what is logged; one number, not scaled by a loss scaler.
            grad_scale: factor that a loss scaler put on gradients and that is still on them (`scaler.get_scale()`).
            expected_lr: what the schedule gives for this step, to check a resume.
            is_last: whether the step's gradients are complete now; None goes by `accumulation`.
        """
        self._guarded(lambda: self._after_backward(loss, grad_scale, expected_lr, is_last))

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
        """Records one evaluation.

        Args:
            split: "train" or "validation".
            loss: mean cross-entropy.
            top1_error: in [0, 1].
            predictions: (examples,) arg-max classes, for collapse.
            labels: (examples,) true classes.
            model_training: `model.training` during the evaluation.
        """
        self._guarded(lambda: self._record_evaluation(split, loss, top1_error, predictions, labels, model_training))

    def evidence(self) -> Evidence:
        """Everything seen so far; copies to the host what is still on the device."""
        self._guarded(self._flush)
        settings: OptimizerSettings | None = None
        if self._optimizer is not None:
            settings = optimizer_settings(self._optimizer, self._plain, clip=self._clip)
        return Evidence(
            steps=tuple(self._steps),
            samples=tuple(self._samples),
            evaluations=tuple(self._evaluations),
            num_classes=self._num_classes,
            optimizer=settings,
            problems=tuple(self._problems),
        )

    def _guarded(self, action: Any) -> None:
        """Runs a piece of the monitor; an error in it is named once and never reaches the loop."""
        try:
            with torch.no_grad():
                action()
        except Exception as error:
            self._disarm()
            message = f"the monitor stopped watching: {type(error).__name__}: {error}"
            if message not in self._problems:
                self._problems.append(message)
                warnings.warn(message, RuntimeWarning, stacklevel=3)

    # -- sampled steps -------------------------------------------------------------------------------------------

    def _arm_if_due(self) -> None:
        if self._armed or self._step % self._every or self._problems:
            return
        self._armed = True
        self._reset_sample()
        self._watch.clear()
        # Hooks that a compiled module was not compiled with never fire: this step runs the plain one.
        if "torch._dynamo" in sys.modules:  # nothing is compiled without it, and importing it takes seconds
            self._stance = torch.compiler.set_stance("force_eager")
        self._watch.attach()
        self._roots = [
            self._plain.register_forward_pre_hook(self._on_input),
            self._plain.register_forward_hook(self._on_output),
        ]

    def _disarm(self) -> None:
        if not self._armed:
            return
        self._armed = False
        self._watch.detach()
        for handle in self._roots:
            handle.remove()
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None

    def _on_input(self, module: nn.Module, args: Any) -> None:
        tensor = first_tensor(args)
        if torch.is_grad_enabled() and self._training is None:
            self._training = module.training
            if tensor is not None:
                self._input = (tuple(tensor.shape), tensor.dtype)

    def _on_output(self, module: nn.Module, args: Any, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is not None and tensor.requires_grad and torch.is_grad_enabled() and self._stale is None:
            tensor.register_hook(lambda gradient: self._guarded(lambda: self._on_backward(gradient)))

    def _on_backward(self, gradient: Tensor) -> None:
        """Runs as backward begins, before any parameter's gradient is written."""
        if self._gauge is not None and self._stale is None:
            left = self._gauge.grad
            self._stale = (
                torch.zeros((), device=gradient.device) if left is None else statistics.rms(statistics.local(left)).detach()
            )

    # -- every step ----------------------------------------------------------------------------------------------

    def _after_backward(self, loss: Tensor | float, grad_scale: Any, expected_lr: float | None, is_last: bool | None) -> None:
        if grad_scale is not None and len(self._micro) >= self._accumulation:
            self._end_step(skipped=True)  # the last step never came: the scaler found an overflow
        device = self._gauge.device if self._gauge is not None else "cpu"
        value = loss.detach().float() if isinstance(loss, Tensor) else torch.tensor(float(loss), device=device)
        self._micro.append(value.reshape(()).clone())
        self._expected_lr = expected_lr
        if self._armed:
            self._watch.detach()  # the first micro-batch was seen; later ones and evaluations are not looked at
        if not (len(self._micro) % self._accumulation == 0 if is_last is None else is_last):
            return
        scale = 1.0 if grad_scale is None else grad_scale
        gradients = [statistics.local(p.grad) for p in self._parameters if p.grad is not None]
        if gradients:
            self._norm = nn.utils.get_total_norm(gradients).float() / scale
        if self._gauge is not None and self._gauge.grad is not None:
            self._gauge_before = torch.linalg.vector_norm(statistics.local(self._gauge.grad).float()) / scale
        if self._armed:
            self._sample_gradients(scale)
        if self._optimizer is None:
            self._end_step()

    def _sample_gradients(self, scale: Any) -> None:
        for name, module in self._watch.layers.items():
            weight = getattr(module, "weight", None)
            if not isinstance(weight, Tensor):
                continue
            self._weights[name] = statistics.thin(statistics.local(weight))
            if weight.grad is not None:
                gradient = statistics.thin(statistics.local(weight.grad))
                self._gradients[name] = gradient if isinstance(scale, float) and scale == 1.0 else gradient / scale

    def _before_step(self) -> None:
        self._is_stepping = True
        if self._gauge_before is not None and self._gauge is not None and self._gauge.grad is not None:
            after = torch.linalg.vector_norm(statistics.local(self._gauge.grad).float())
            # A gauge without gradient tells nothing: 0 / 0 counts as not clipped.
            self._clip_ratio = torch.where(self._gauge_before > 0, after / self._gauge_before, 1.0)

    def _end_step(self, skipped: bool = False) -> None:
        if not self._micro:
            return  # optimizer.step() without after_backward: not ours to count
        missing = torch.full((), math.nan, device=self._micro[0].device)
        values = [torch.stack(self._micro).mean(), self._norm, self._clip_ratio]
        row = torch.stack([missing if v is None else v.to(missing.device) for v in values])
        lr = max(float(g["lr"]) for g in self._optimizer.param_groups) if self._optimizer is not None else None
        facts: dict[str, Any] = {"lr": lr, "expected_lr": self._expected_lr, "micro_batches": len(self._micro)}
        facts["skipped"] = skipped
        self._pending.append((row, self._norm is not None, {"step": self._step, **facts}))
        if self._armed:
            self._disarm()
            self._flush(sampled=True)
        self._step += 1
        self._reset_step()
        self._arm_if_due()

    # -- to the host ---------------------------------------------------------------------------------------------

    def _flush(self, sampled: bool = False) -> None:
        """Brings everything over in one copy: this is the only place that waits for the device."""
        rows = [row for row, _, _ in self._pending]
        blocks: list[Tensor] = [torch.stack(rows)] if rows else []
        if sampled:
            blocks += self._sampled_blocks()
        if not blocks:
            return
        device = blocks[0].device
        flat = torch.cat([block.float().reshape(-1).to(device) for block in blocks]).cpu()
        parts = flat.split([block.numel() for block in blocks])
        numbers = iter([part.view(block.shape).tolist() for part, block in zip(parts, blocks, strict=True)])
        if rows:
            self._keep_steps(next(numbers))
        if sampled:
            self._keep_sample(numbers)

    def _sampled_blocks(self) -> list[Tensor]:
        """What a sampled step showed, all layers together; `_keep_sample` takes it apart in the same order."""
        watch, gradients, weights = self._watch, list(self._gradients.values()), list(self._weights.values())
        blocks = []
        if watch.order:
            blocks += [statistics.in_rows(statistics.activation_stats, [watch.forward[n] for n in watch.order])]
            blocks += [torch.stack([watch.dead[n] for n in watch.order])]
        if watch.backward:
            blocks += [statistics.in_rows(statistics.row_rms, list(watch.backward.values()))]
        if gradients:
            blocks += [statistics.in_rows(statistics.gradient_stats, gradients)]
        if weights:
            blocks += [statistics.in_rows(statistics.row_rms, weights)]
            if self._is_stepping:
                modules = [watch.layers[n] for n in self._weights]
                after = [statistics.thin(statistics.local(module.weight)) for module in modules]  # type: ignore[arg-type]
                moved = [now.float() - before.float() for now, before in zip(after, weights, strict=True)]
                blocks += [statistics.in_rows(statistics.row_rms, moved)]
        if parts := [*weights, *gradients, *watch.forward.values()]:
            blocks += [statistics.log_histograms(parts)]
        return [*blocks, self._stale] if self._stale is not None else blocks

    def _keep_steps(self, numbers: list[list[float]]) -> None:
        for (loss, norm, ratio), (_, has_norm, facts) in zip(numbers, self._pending, strict=True):
            self._steps.append(
                StepRecord(
                    loss=loss,
                    gradient_norm=norm if has_norm else None,
                    clip_ratio=min(ratio, 1.0) if math.isfinite(ratio) else None,
                    **facts,
                )
            )
        self._pending.clear()
        if len(self._steps) > _FIRST_STEPS + 2 * _RECENT_STEPS:
            del self._steps[_FIRST_STEPS:-_RECENT_STEPS]
        if len(self._samples) > 2 * _RECENT_SAMPLES:
            del self._samples[1:-_RECENT_SAMPLES]

    def _keep_sample(self, numbers: Iterator[list[Any]]) -> None:
        watch = self._watch
        rows: dict[str, dict[str, Any]] = {name: {} for name in (*watch.order, *self._weights)}
        following = self._following()
        if watch.order:
            for name, values, dead in zip(watch.order, next(numbers), next(numbers), strict=True):
                rows[name] |= activation_fields(values, dead, following.get(name))
        for name, rms in zip(watch.backward, next(numbers) if watch.backward else (), strict=True):
            rows[name]["output_gradient_rms"] = rms
        for name, values in zip(self._gradients, next(numbers) if self._gradients else (), strict=True):
            row = dict(zip(statistics.GRADIENT_FIELDS, values, strict=True))
            rows[name] |= {
                "gradient_rms": row["rms"],
                "gradient_min": row["min"],
                "gradient_max": row["max"],
                "gradient_nonfinite": not (math.isfinite(row["min"]) and math.isfinite(row["max"])),
            }
        for name, rms in zip(self._weights, next(numbers) if self._weights else (), strict=True):
            rows[name]["weight_rms"] = rms
        if self._weights and self._is_stepping:
            for name, moved in zip(self._weights, next(numbers), strict=True):
                size = rows[name]["weight_rms"]
                rows[name]["update_ratio"] = moved / size if size > 0 else None
        keys = [("weight", n) for n in self._weights] + [("gradient", n) for n in self._gradients]
        keys += [("activation", n) for n in watch.forward]
        for (kind, name), shares in zip(keys, next(numbers) if keys else (), strict=True):
            rows[name][f"{kind}_histogram"] = statistics.as_histogram(shares)
        stale = float(next(numbers)) if self._stale is not None else None  # type: ignore[arg-type]
        is_blind = not watch.order
        self._samples.append(
            Sample(
                step=self._pending_step(),
                layers=tuple(self._layer(name, fields, following) for name, fields in rows.items()),
                batch_size=self._input[0][0] if self._input is not None else None,
                training=self._training,
                gradient_norm_before_backward=stale,
                blind=is_blind,
            )
        )
        if is_blind:
            message = "the monitor saw no layer run: does the loop call the module that was given to Monitor?"
            if message not in self._problems:
                warnings.warn(message, RuntimeWarning, stacklevel=2)
                self._problems.append(message)

    def _pending_step(self) -> int:
        return self._steps[-1].step

    def _following(self) -> dict[str, str | None]:
        if self._trace is None and self._input is not None and not self._untraceable:
            try:
                self._trace = trace(self._plain, *self._input)
            except ValueError:
                self._untraceable = True  # the order of modules has to do
        if self._activations is None:
            self._activations = activations_by_layer(self._trace, self._plain)
        return self._activations

    def _layer(self, name: str, fields: dict[str, Any], following: dict[str, str | None]) -> LayerStats:
        module = self._watch.layers[name]
        kind = str(signal.layer_kind(module))
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and kind in ("conv", "linear", "conv_transpose"):
            fields["fan_in"] = moments.fan_in(kind, weight.shape)
            fields["fan_out"] = moments.fan_out(kind, weight.shape)
            fields["num_units"] = weight.shape[1] if kind == "conv_transpose" else weight.shape[0]
        return LayerStats(name=name, kind=kind, activation=following.get(name), **fields)

    def _record_evaluation(
        self,
        split: str,
        loss: float | None,
        top1_error: float | None,
        predictions: Tensor | None,
        labels: Tensor | None,
        model_training: bool | None,
    ) -> None:
        fields: dict[str, Any] = {}
        if predictions is not None and labels is not None and len(predictions):
            width = int(max(predictions.max(), labels.max())) + 1
            share = torch.bincount(predictions.flatten(), minlength=width).double() / predictions.numel()
            true = torch.bincount(labels.flatten(), minlength=width).double() / labels.numel()
            fields = {
                "predicted_class_entropy": float(-torch.special.xlogy(share, share).sum()),
                "label_entropy": float(-torch.special.xlogy(true, true).sum()),
                "most_predicted_class": int(share.argmax()),
                "most_predicted_fraction": float(share.max()),
            }
        self._evaluations.append(
            Evaluation(step=self._step, split=split, loss=loss, top1_error=top1_error, model_training=model_training, **fields)
        )


def _plain(model: nn.Module) -> nn.Module:
    """The module whose layers do the work: inside torch.compile, inside DistributedDataParallel."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            inner = model.module
        if inner is None:
            return model
        model = inner
