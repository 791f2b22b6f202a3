"""One forward and backward pass on one batch: predicted against measured, layer by layer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.arguments import check_clip, check_function, check_known_counts, check_model, check_optimizer
from trainability.doctor.batches import batch_size, call_model, first_tensor, map_parts, tensors
from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import OptimizerSettings, ProbeResult
from trainability.doctor.measure import statistics
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.dropout import dropout_noise
from trainability.doctor.measure.hooks import Watch
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.loss_number import scalar
from trainability.doctor.measure.nested import optimizers
from trainability.doctor.measure.optimizer_settings import settings_if_any
from trainability.doctor.measure.probe_answers import Answers, answers, loss_facts
from trainability.doctor.measure.probe_layers import growth_facts, layer_rows
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.workspace import Workspace, set_training, workspace
from trainability.doctor.theory import signal
from trainability.doctor.theory.propagation import Prediction, input_moments, predict
from trainability.doctor.theory.trace import Trace, trace
from trainability.doctor.told import told

Loss = Callable[[Any, Any], Tensor]

_NO_WAY_BACK = (
    "the loss does not depend on any trainable parameter; is the model frozen or under no_grad(), or does a detach(), argmax, "
    "rounding or comparison stand between its outputs and the loss (requires_grad_(True) behind it brings no gradient back)?"
)


class NoWayBackError(ValueError):
    """No gradient of the loss reaches a parameter, so there are no layers to look at."""


def probe(
    model: nn.Module,
    loss_fn: Loss,
    images: Any,
    labels: Any,
    *,
    optimizer: torch.optim.Optimizer | OptimizerSettings | None = None,
    clip: float | None = None,
    planned_steps: int | None = None,
    precision: torch.dtype = torch.float32,
    at_start: bool = True,
    overfit_steps: int | None = None,
) -> ProbeResult:
    """Measure one training step from the inside and put the closed form beside it.

    The model runs in train mode with dropout off, so that the same batch gives the same numbers and the predicted
    plateau is the one that was fitted. What runs is a copy of model, loss function and batch: nothing that they hold or count
    is changed, and random state is put back. A model that cannot be copied, or that `loss_fn` reaches by itself, is run and
    put back; the notes of the result say so.

    Args:
        model: takes `images`. A compiled or DistributedDataParallel model is run plain.
        loss_fn: loss_fn(model(images), labels) -> one number.
        images: on the model's device, exactly as the loop would feed them: a tensor (batch, ...), or a tuple or dict of what
            the model takes. 64 or more examples make dead units and the predicted plateau sharper.
        labels: what loss_fn wants, of any shape or structure; integers, one per example, pixel or token, for everything about
            classes.
        optimizer: or its settings; for update ratios and the predicted plateau.
        clip: gradient-norm threshold that the loop will use; None for none.
        planned_steps: length of the run in optimizer steps; None if unknown.
        precision: number format that gradients will be kept in, for underflow.
        at_start: whether the weights are as initialised. If not, rules compare nothing with the closed form.
        overfit_steps: Adam steps (lr 1e-3) on this one batch, on a copy; None to leave that out.

    Returns:
        The measurements; `diagnose(Evidence(probe=...))` reads them.

    Raises:
        ValueError: images or labels on another device than the model, an empty batch, a loss that is not one number or reaches
            no parameter, a loss function that cannot take what the model returns, or lazy layers in a model that cannot be
            copied.
    """
    check_model(model)
    check_function("loss_fn", loss_fn, "output, labels")
    if not isinstance(optimizer, OptimizerSettings):
        check_optimizer(optimizer)
    check_clip(clip)
    check_known_counts(planned_steps=planned_steps, overfit_steps=overfit_steps or None)
    _check_batch(model, images, labels)
    with workspace(model, loss_fn, (images, labels)) as place:
        settings = _settings(model, optimizer, clip, planned_steps)
        plain, (images, labels) = place.model, place.batch
        _start(plain)
        _materialise(plain, images)

        def run() -> tuple[Any, Tensor]:
            output = call_model(plain, images)
            return output, _scalar_loss(place.loss_fn, output, labels)

        found = _measured(place, images, run, lambda output, loss: answers(output, labels, loss), labels, settings, precision)
        more = _overfit(place, overfit_steps) if overfit_steps else {}
        return replace(found, at_start=at_start, **more)


def probe_step(
    model: nn.Module,
    training_step: Callable[[Any, Any], Any],
    batch: Any,
    *,
    optimizer: torch.optim.Optimizer | OptimizerSettings | None = None,
    clip: float | None = None,
    planned_steps: int | None = None,
    precision: torch.dtype = torch.float32,
    at_start: bool = True,
) -> ProbeResult:
    """As `probe`, for a loss that a training step computes: what the model takes and returns is read off its first call.

    Args:
        model: that the step calls as a whole, `model(...)`.
        training_step: of (model, batch): the loss.
        batch: on the model's device, as the loop draws it. Its labels are found where their cross-entropy is the loss.
        optimizer: see `probe`.
        clip: see `probe`.
        planned_steps: see `probe`.
        precision: see `probe`.
        at_start: see `probe`.

    Returns:
        The measurements. Model, gradients, buffers, modes and random state are as before.

    Raises:
        ValueError: the step does not call the model as a whole, or its loss reaches no parameter.
    """
    with workspace(model, training_step, batch) as place:
        settings = _settings(model, optimizer, clip, planned_steps)
        plain, batch = place.model, place.batch
        _start(plain)

        def run() -> tuple[Any, Tensor]:
            with call:
                loss = scalar(place.loss_fn(plain, batch))
            _check_reached(loss)
            output, call.output = call.output, None  # nothing keeps the graph
            return output, loss

        with _FirstCall(plain) as call, randomness_restored():
            place.loss_fn(plain, batch)  # gives lazy layers their weights, too
        if call.inputs is None:
            raise ValueError("training_step does not call the model itself, as model(...); its layers are not followed")
        # In a tuple, an output is believed to be logits only where a cross-entropy of them is the loss.
        known = lambda output, loss: answers((output,), batch, loss)  # noqa: E731
        return replace(_measured(place, call.inputs, run, known, None, settings, precision), at_start=at_start)


class _FirstCall:
    """What a model takes and returns when it is called first, inside the `with` block."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.inputs, self.output = model, None, None

    def __enter__(self) -> "_FirstCall":
        self.was_called = False
        self.handle = self.model.register_forward_hook(LeftBehind(self._seen), with_kwargs=True)
        return self

    def __exit__(self, *details: Any) -> None:
        self.handle.remove()

    def _seen(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self.was_called:
            return
        self.was_called, self.output = True, output
        self.inputs = (args[0] if len(args) == 1 else args) if args else kwargs


def _start(model: nn.Module) -> None:
    set_training(model, True)
    _dropout_off(model)


def _measured(
    place: Workspace,
    images: Any,
    run: Callable[[], tuple[Any, Tensor]],
    known: Callable[[Any, float], Answers],
    labels: Any,
    settings: OptimizerSettings | None,
    precision: torch.dtype,
) -> ProbeResult:
    plain = place.model
    structure, notes = _follow(plain, images)
    prediction = predict(structure, signal.weight_moments(plain), _moments(images)) if structure else None
    watch = Watch(plain, output=lambda z: statistics.activation_stats(z.reshape(1, -1))[0], gradient=statistics.rms)
    watch.attach()
    try:
        output, loss = run()
        loss.backward()
    finally:
        watch.detach()
    if not any(parameter.grad is not None for parameter in plain.parameters()):
        raise NoWayBackError(_NO_WAY_BACK)
    found = known(output, float(loss.detach()))
    facts = {**_input_facts(images), **loss_facts(loss, found, labels)}
    rows = found.logits.shape[1] if found.logits is not None else 10
    norm, growth, plateau = growth_facts(plain, prediction, settings, facts["batch_size"], rows)
    del output, loss
    layers = layer_rows(watch, structure, prediction, settings, precision, norm, growth, facts)
    for parameter in plain.parameters():
        parameter.grad = None  # frees what the next passes need
    leakage, leakage_notes = _leakage(plain, images)
    unseen = tuple(f"outputs of {name}: {reason}" for name, reason in watch.failed.items())
    return ProbeResult(
        layers=layers,
        structure=prediction.structure if prediction else "unknown",
        log10_gain=prediction.log10_gain if prediction else None,
        biased=prediction.biased if prediction else False,
        hidden_biased=prediction.hidden_biased if prediction else None,
        notes=(*place.notes, *notes, *(prediction.notes if prediction else ()), *unseen, *leakage_notes),
        predicted_logit_rms=prediction.logit_rms if prediction and found.logits is not None else None,
        precision=str(precision).removeprefix("torch."),
        optimizer=settings,
        predicted_loss=_predicted_loss(prediction, found),
        leakage=leakage,
        gradient_norm=norm,
        plateau_steps=plateau,
        dropout_noise=dropout_noise(plain),
        **facts,
    )


def _check_batch(model: nn.Module, images: Any, labels: Any) -> None:
    first = first_tensor(images)
    if first is None:
        raise ValueError(f"images is {told(images)} without a tensor; expected what the model takes")
    if first.dim() == 0 or len(first) == 0:
        raise ValueError(f"images are empty: shape {tuple(first.shape)}; expected (batch, ...) with at least one example")
    parameter = next(model.parameters(), None)
    for name, value in (("images", images), ("labels", labels)):
        for _, tensor in tensors(value):
            if parameter is not None and tensor.device != parameter.device:
                raise ValueError(f"{name} are on {tensor.device} and the model on {parameter.device}; move one to the other")


def _dropout_off(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.training = False


def _materialise(model: nn.Module, images: Any) -> None:
    """Give lazy layers of a copy their weights: those that the loop's first pass would draw."""
    if any(nn.parameter.is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        with randomness_restored(), torch.no_grad():
            call_model(model, images)


def _moments(images: Any) -> Any:
    return input_moments(images) if isinstance(images, Tensor) and images.is_floating_point() else None


def _follow(model: nn.Module, images: Any) -> tuple[Trace | None, tuple[str, ...]]:
    if not isinstance(images, Tensor):
        return None, ("signal sizes are not predicted: the model has more than one input",)
    try:
        return trace(model, tuple(images.shape), images.dtype), ()
    except ValueError as error:
        return None, (str(error),)


def _settings(model: nn.Module, optimizer: Any, clip: float | None, planned_steps: int | None) -> OptimizerSettings | None:
    if optimizer is None or isinstance(optimizer, OptimizerSettings):
        return optimizer
    inner = next(iter(optimizers(optimizer)), optimizer)
    return settings_if_any(inner, model, clip=clip, planned_steps=planned_steps, steps_alone=True)


def _scalar_loss(loss_fn: Loss, output: Any, labels: Any) -> Tensor:
    try:
        loss = loss_fn(output, labels)
    except Exception as error:
        kind = type(output).__name__ + (f" of {len(output)}" if isinstance(output, (tuple, list)) else "")
        if isinstance(output, Tensor):
            kind = f"tensor of shape {tuple(output.shape)}"
        reason = error_line(error)
        raise ValueError(f"loss_fn(model(inputs), labels) failed: {reason} (the model returned a {kind})") from error
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        shape = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        ways = {"float": "the loss itself, without .item() or float()", "tuple": "return the loss alone"}
        way = "take its mean" if isinstance(loss, Tensor) else ways.get(type(loss).__name__, "return the loss alone")
        raise ValueError(f"loss_fn returned {shape}; expected a tensor with one number ({way})")
    _check_reached(loss)
    return loss.reshape(())


def _check_reached(loss: Tensor) -> None:
    if not loss.requires_grad:
        raise NoWayBackError(_NO_WAY_BACK)


def _input_facts(images: Any) -> dict[str, Any]:
    first = first_tensor(images)
    assert first is not None  # _check_batch
    x = statistics.local(first).float()
    others = [d for d in range(x.dim()) if d != 1]
    return {
        "batch_size": batch_size(images) or len(first),
        "input_shape": tuple(first.shape),
        "input_mean": float(x.mean()),
        "input_mean_square": float(statistics.rms(x)) ** 2,
        "input_is_whole": not first.is_floating_point() and x.dim() < 4,
        "input_channel_means": tuple(x.mean(dim=others).tolist()) if x.dim() == 4 else (),
    }


def _predicted_loss(prediction: Prediction | None, found: Answers) -> float | None:
    if prediction is None or prediction.logit_rms is None or found.logits is None:
        return None
    return signal.expected_cross_entropy(prediction.logit_rms, found.logits.shape[1])


def _leakage(model: nn.Module, images: Any) -> tuple[float | None, tuple[str, ...]]:
    """Change of the first example's output with another neighbour, in eval mode, over the output's rms."""
    untracked = any(isinstance(m, nn.modules.batchnorm._BatchNorm) and not m.track_running_stats for m in model.modules())
    size = batch_size(images)
    if size is None or size < 3 or untracked:  # batch norm without running statistics mixes examples by intention
        return None, ()
    set_training(model, False)
    outputs = []
    try:
        for neighbour in (1, 2):
            # Two pairs, not one example alone: kernels may round differently for another batch size.
            with torch.no_grad(), randomness_restored():
                outputs.append(first_tensor(call_model(model, _picked(images, [0, neighbour]))))
    except Exception as error:
        return None, (f"leakage across the batch: two examples do not run ({type(error).__name__})",)
    one, other = outputs
    if one is None or other is None or one.dim() == 0 or len(one) != 2 or not one.is_floating_point():
        return None, ()
    difference = (one[0] - other[0]).abs().max()
    return float(difference / statistics.rms(one).clamp(min=1e-30)), ()


def _picked(part: Any, rows: list[int]) -> Any:
    return part[rows] if isinstance(part, Tensor) else map_parts(part, lambda inner: _picked(inner, rows))


def _overfit(place: Workspace, steps: int) -> dict[str, Any]:
    """Train a copy on the one batch; a net that cannot memorise sixteen images will learn nothing."""
    images, labels = place.batch
    pupil, loss_fn = copied(place.model, place.loss_fn)
    set_training(pupil, True)
    _dropout_off(pupil)
    optimizer = torch.optim.Adam([p for p in pupil.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_fn(call_model(pupil, images), labels).backward()
        optimizer.step()
    with torch.no_grad():
        output = call_model(pupil, images)
        loss = float(loss_fn(output, labels))
        found = answers(output, labels, loss)
        hits = None
        if found.logits is not None and found.classes is not None:
            hits = float((found.logits.argmax(dim=1) == found.classes).float().mean())
        return {"overfit_loss": loss, "overfit_accuracy": hits, "overfit_steps": steps}
