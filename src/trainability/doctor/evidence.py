"""What the doctor sees: probe, steps, samples, evaluations, audits, and how parts of it are joined. Data only; no torch."""

from __future__ import annotations

import functools
import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from trainability.doctor import joining
from trainability.doctor.audit_results import DataAudit, MetricAudit, Relation
from trainability.doctor.experimented import Experiments
from trainability.doctor.facts import Facts
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.opponents import with_opponents
from trainability.doctor.plateau_calls import PlateauCalls
from trainability.doctor.processes import Processes
from trainability.doctor.rehearsed import Rehearsal
from trainability.doctor.serial import from_plain, to_plain
from trainability.doctor.told import told

# What `Evidence.to_dict` writes. 1, without the field: steps and samples counted from 0.
VERSION = 2


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How weights will be moved.

    Attributes:
        name: class name of the optimizer, "SGD".
        lr: largest learning rate of its groups.
        base_lr: rate that a scheduler starts from in that group (`initial_lr`); None without a scheduler.
        largest_factor: that a `LambdaLR` will multiply it with; None without one, or where it is not known.
        schedule: class of its scheduler, "OneCycleLR"; None without one, or of several.
        max_lr: largest rate that this sets by itself, whatever the optimizer was given; None where it multiplies the latter.
        num_rates: different learning rates among its groups.
        momentum: of the group with that rate; None if the optimizer has none.
        dampening: of the same, share of each gradient that does not enter the momentum; None if it has none.
        betas: of the same, of Adam and its kin; None of others.
        weight_decay: largest of its groups; None if it has none.
        clip: gradient-norm threshold, where the caller said so; None for no clipping or unknown.
        planned_steps: length of the run in optimizer steps, where known.
        unmanaged: trainable parameters in no group of this optimizer, nor of any other of the process.
        unmanaged_share: of the trainable numbers, those in `unmanaged`; None if unknown.
        unmanaged_trained: whether the layers of these parameters, two or more, have been trained before, as those of a loaded
            network have whose new head alone is trained.
        managed: how many of the model's trainable parameters are in its groups; None if the model is unknown.
        holds: what the program calls the network whose parameters it holds in their place; None if none was found.
        frozen: parameters that do not require a gradient.
        frozen_as_drawn: frozen layers in front of what is trained whose weights are PyTorch's own draw.
        frozen_noise: frozen tables of embeddings that hold nothing but random numbers.
        plateau: what its `ReduceLROnPlateau` was given, of a script; None elsewhere.
        unusable: a number of its groups that is NaN or infinite, or a negative rate, "learning rate is nan"; None without one.
    """

    name: str
    lr: float
    base_lr: float | None = None
    largest_factor: float | None = None
    schedule: str | None = None
    max_lr: float | None = None
    num_rates: int = 1
    momentum: float | None = None
    dampening: float | None = None
    betas: tuple[float, float] | None = None
    weight_decay: float | None = None
    clip: float | None = None
    planned_steps: int | None = None
    unmanaged: tuple[str, ...] = ()
    unmanaged_share: float | None = None
    unmanaged_trained: bool = False
    managed: int | None = None
    holds: str | None = None
    frozen: tuple[str, ...] = ()
    frozen_as_drawn: tuple[str, ...] = ()
    frozen_noise: tuple[str, ...] = ()
    plateau: PlateauCalls | None = None
    unusable: str | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """One forward and backward pass on one batch.

    Attributes:
        layers: weight layers in forward order.
        batch_size: examples in the batch.
        input_shape: shape of the batch.
        input_mean: mean over the batch.
        input_mean_square: mean square over the batch.
        input_channel_means: mean per channel (dimension 1) of the batch.
        input_is_whole: the input is integers and not an image: indices of rows, words or nodes, which have no scale.
        num_logits: width of the output; None if the output is not (batch, classes).
        log10_gain: the gain budget P, sum of log10 gain over weight layers; None where gains do not multiply
            (normalisation or residual sums), or where a layer could not be followed.
        structure: what the net is made of: "plain", "normalised", "residual" (a value is added to, or stands beside, what was
            made of it), "branched" (branches meet again otherwise), or "unknown" (could not be traced).
        biased: whether biases carry a signal of their own, more than 1 % of some layer's mean square; the budget and the
            plateau formula are those of zero biases.
        hidden_biased: the same of the layers before the last; None if they could not be followed.
        notes: what could not be predicted, and why.
        loss: value of the loss function.
        cross_entropy: mean cross-entropy of the logits against the labels, computed anew; None if not a classifier.
        predicted_loss: expected cross-entropy at the predicted logit scale.
        predicted_logit_rms: rms of the logits by the closed form.
        logit_rms: measured.
        logit_spread: rms over classes of the logits' standard deviation across examples.
        outputs_are_probabilities: whether every output row lies in [0, 1] and sums to 1.
        label_min: smallest label.
        label_max: largest label.
        predicted_class_entropy: entropy in nats of the arg-max classes over the batch.
        label_entropy: entropy in nats of the labels of the batch.
        gradient_norm: norm over all parameters.
        precision: name of the number format gradients will have, "float32".
        plateau_steps: predicted steps at chance, with the optimizer settings given; infinite if weight decay wins;
            None where the formula does not apply.
        leakage: largest change of one example's output in eval mode when its neighbours change, over the rms of
            the output; None if not checked.
        overfit_loss: loss after overfitting this batch on a copy; None if not asked for.
        overfit_accuracy: accuracy on this batch after that.
        overfit_steps: steps taken for it.
        at_start: whether the weights are as initialised, as the caller says.
        dropout_noise: sum of p / (1 - p) over dropout modules: what they add to the logits' mean square, over it.
    """

    layers: tuple[LayerStats, ...]
    batch_size: int
    input_shape: tuple[int, ...]
    input_mean: float
    input_mean_square: float
    input_channel_means: tuple[float, ...] = ()
    input_is_whole: bool = False
    num_logits: int | None = None
    log10_gain: float | None = None
    structure: str = "unknown"
    biased: bool = False
    hidden_biased: bool | None = None
    notes: tuple[str, ...] = ()
    loss: float
    cross_entropy: float | None = None
    predicted_loss: float | None = None
    predicted_logit_rms: float | None = None
    logit_rms: float | None = None
    logit_spread: float | None = None
    outputs_are_probabilities: bool = False
    label_min: int | None = None
    label_max: int | None = None
    predicted_class_entropy: float | None = None
    label_entropy: float | None = None
    gradient_norm: float
    precision: str = "float32"
    plateau_steps: float | None = None
    leakage: float | None = None
    overfit_loss: float | None = None
    overfit_accuracy: float | None = None
    overfit_steps: int | None = None
    at_start: bool = True
    dropout_noise: float = 0.0
    optimizer: OptimizerSettings | None = None


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One optimizer step as the loop saw it.

    Attributes:
        step: counts from 1.
        loss: mean over the step's micro-batches of what the loop handed over.
        gradient_norm: over all parameters, before clipping; None where it was not measured.
        clip_ratio: gradient after clipping over before, in [0, 1]; None where it was not, or the optimizer was not watched.
        lr: largest learning rate of the optimizer's groups at this step.
        expected_lr: what the schedule gives for this step, where the loop says so (after a resume).
        micro_batches: backward passes that fed this step.
        skipped: the optimizer did not step (a loss scaler found an overflow).
    """

    step: int
    loss: float
    gradient_norm: float | None = None
    clip_ratio: float | None = None
    lr: float | None = None
    expected_lr: float | None = None
    micro_batches: int = 1
    skipped: bool = False


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one sampled step showed inside the net.

    Attributes:
        step: counts from 1.
        layers: watched layers in forward order.
        batch_size: examples in the (micro-)batch that was seen; None if it was not.
        training: `model.training` during the forward pass; None if it was not seen.
        gradient_norm_before_backward: norm of a parameter's gradient when backward began; 0 if there was none.
        blind: neither the model nor a layer of it was called; statistics of activations are missing and nothing may be
            concluded from that.
        num_classes: different classes among the batch's targets, read off the gradient of the logits; None where that is not
            the gradient of a cross-entropy with one class an example, or fewer than 8 examples tell.
        first_class: the class of the first example that tells; None as before.
        task_loss: the loss in PyTorch's words, where the gradient of the outputs tells the targets, or "reconstruction" of the
            model's own input; None elsewhere.
        constant_loss: what the best answer costs that is the same for every example, on this batch; None where targets are not
            told.
        target_rms: of the targets of a squared error that are told so; None of other losses.
        target_below_zero: share of these targets.
        target_outside_unit: share of these targets outside [0, 1].
        cut_at_zero: what clipping these targets to 0 and above costs, over their variance, as `beyond_range.cut` says.
        cut_to_unit: the same of clipping them to [0, 1].
        output_rms: of the first tensor that the model returns, where targets are told.
        asks_itself: whether the model, or another of its kind, was given as many rows without gradients, as to make goals.
    """

    step: int
    layers: tuple[LayerStats, ...]
    batch_size: int | None = None
    training: bool | None = None
    gradient_norm_before_backward: float | None = None
    blind: bool = False
    num_classes: int | None = None
    first_class: int | None = None
    task_loss: str | None = None
    constant_loss: float | None = None
    target_rms: float | None = None
    target_below_zero: float | None = None
    target_outside_unit: float | None = None
    cut_at_zero: float | None = None
    cut_to_unit: float | None = None
    output_rms: float | None = None
    asks_itself: bool = False


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One evaluation on a split.

    Attributes:
        step: the last step before it, counted from 1; 0 before the first.
        split: "train" or "validation".
        loss: mean cross-entropy; None if not measured.
        top1_error: in [0, 1].
        model_training: `model.training` while evaluating; None if unknown.
        predicted_class_entropy: nats, over the split's arg-max classes.
        label_entropy: nats, over the split's labels.
        most_predicted_class: the class predicted most often.
        most_predicted_fraction: the share of examples predicted as that class.
        counted_error: share of the predictions that differ from the labels; None where these were not handed over.
        largest_label: the most frequent class of the labels.
        largest_label_fraction: its share, which is the accuracy of always naming it.
        num_examples: predictions that were handed over.
        r_squared: of predicted values: 1 - squared error over the variance of the targets, 0 for always naming their mean.
        target_variance: of the targets: the squared error of always naming their mean.
    """

    step: int
    split: str
    loss: float | None = None
    top1_error: float | None = None
    model_training: bool | None = None
    predicted_class_entropy: float | None = None
    label_entropy: float | None = None
    most_predicted_class: int | None = None
    most_predicted_fraction: float | None = None
    counted_error: float | None = None
    largest_label: int | None = None
    largest_label_fraction: float | None = None
    num_examples: int | None = None
    r_squared: float | None = None
    target_variance: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything a rule may look at. Absent parts are None or empty; a rule that needs them stays silent.

    Attributes:
        probe: one pass on one batch.
        steps: every step of the watched loop.
        samples: the sampled ones.
        evaluations: in order of step.
        data: the data audit.
        metric: the metric audit.
        relation: whether training targets have to do with their inputs; of a Monitor, those of its sampled steps.
        facts: what is certain of the program, from one pass on one batch; of a Monitor, from its first step.
        num_classes: classes of the task.
        optimizer: settings of the optimizer.
        problems: what the doctor could not watch and what went wrong inside it, each named once.
        rehearsal: some steps of the loop's own body on a copy.
        experiments: what one change at a time did to copies of the program.
        steps_of_others: of a script's optimizer that has not stepped although what it holds gets gradients, the most steps that
            another one has made; None of any other.
        unheard_steps: of the watched optimizer, where the loop told Monitor of no backward pass, so that none was watched.
        processes: sampled steps side by side, where several processes train one model.
        has_ended: whether the watched loop is over, in whatever way.
        is_complete: whether it came to its end, and was not stopped.
    """

    probe: ProbeResult | None = None
    steps: tuple[StepRecord, ...] = ()
    samples: tuple[Sample, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    data: DataAudit | None = None
    metric: MetricAudit | None = None
    relation: Relation | None = None
    facts: Facts | None = None
    num_classes: int | None = None
    optimizer: OptimizerSettings | None = None
    problems: tuple[str, ...] = ()
    rehearsal: Rehearsal | None = None
    experiments: Experiments | None = None
    steps_of_others: int | None = None
    unheard_steps: int | None = None
    processes: Processes | None = None
    has_ended: bool = False
    is_complete: bool = False

    @functools.cached_property
    def finite_steps(self) -> tuple[StepRecord, ...]:
        """Steps with a finite loss, in order."""
        return tuple(step for step in self.steps if math.isfinite(step.loss))

    @functools.cached_property
    def micro_batches(self) -> int:
        """Backward passes of most steps with a finite loss; 1 where there is none."""
        counts = Counter(step.micro_batches for step in self.finite_steps)
        return counts.most_common(1)[0][0] if counts else 1

    @classmethod
    def of(cls, *parts: Part) -> Evidence:
        """Join what was measured, the later part last.

        Args:
            parts: at least one, in any mixture; of two of the same kind the later one counts, as in `merge`.

        Raises:
            ValueError: no part, or one of another type.
        """
        if not parts:
            raise ValueError(f"there is nothing to diagnose; expected {_PARTS}")
        joined = cls()
        for part in parts:
            joined = joined.merge(_as_evidence(part))
        return joined

    def merge(self, other: Evidence) -> Evidence:
        """Join two looks at the same training, `other` being the later one. Neither is changed.

        Steps, samples, evaluations and problems of both are kept, in order of step; a record that both have is kept once.
        Of what there is once (probe, audits, rehearsal, experiments, classes), that of `other`, where it has it; so of the
        optimizer's settings, but what `other` does not know of them (`clip`, `planned_steps`) is filled in from this one.

        Raises:
            ValueError: both have the same step with different numbers, so that these are two trainings.
        """
        if not isinstance(other, Evidence):
            raise ValueError(f"merge takes an Evidence, got {told(other)}")
        return Evidence(
            probe=other.probe or self.probe,
            steps=joining.joined_steps(self.steps, other.steps),
            samples=joining.joined_samples(self.samples, other.samples),
            evaluations=joining.joined_evaluations(self.evaluations, other.evaluations),
            data=other.data or self.data,
            metric=other.metric or self.metric,
            relation=other.relation or self.relation,
            facts=joining.joined_facts(self.facts, other.facts),
            num_classes=self.num_classes if other.num_classes is None else other.num_classes,
            optimizer=joining.joined_settings(self._settings, other.optimizer),
            problems=tuple(dict.fromkeys((*self.problems, *other.problems))),
            rehearsal=other.rehearsal or self.rehearsal,
            experiments=other.experiments or self.experiments,
            processes=joining.joined_processes(self.processes, other.processes),
            steps_of_others=self.steps_of_others if other.steps_of_others is None else other.steps_of_others,
            unheard_steps=self.unheard_steps if other.unheard_steps is None and not other.steps else other.unheard_steps,
            has_ended=other.has_ended if other.steps else self.has_ended or other.has_ended,
            is_complete=other.is_complete if other.steps else self.is_complete or other.is_complete,
        )

    @property
    def _settings(self) -> OptimizerSettings | None:
        return self.optimizer or (self.probe.optimizer if self.probe is not None else None)

    def to_dict(self) -> dict[str, Any]:
        """Strict-JSON form with its `version`; `from_dict` reads it back to an equal object (NaN equals nothing)."""
        return {"version": VERSION, **to_plain(self)}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Evidence:
        """Read what `to_dict` wrote, now or in an older version of this package.

        Raises:
            ValueError: naming the field that does not fit, or a version that is not known.
        """
        if not isinstance(value, dict):
            return from_plain(cls, value)
        version = value.get("version", 1)
        if version not in (1, VERSION):
            raise ValueError(f"evidence of version {version!r}; this version of trainability reads 1 and {VERSION}")
        plain = {name: with_opponents(item) if name == "facts" else item for name, item in value.items() if name != "version"}
        read = from_plain(cls, plain)
        if version == VERSION:
            return read
        return replace(
            read,
            steps=tuple(replace(record, step=record.step + 1) for record in read.steps),
            samples=tuple(replace(sample, step=sample.step + 1) for sample in read.samples),
        )


Part = Evidence | ProbeResult | DataAudit | MetricAudit | Rehearsal | Experiments
_FIELDS = {ProbeResult: "probe", DataAudit: "data", MetricAudit: "metric", Rehearsal: "rehearsal", Experiments: "experiments"}
_PARTS = f"{', '.join(kind.__name__ for kind in _FIELDS)}, Evidence (monitor.evidence(), diagnosis.evidence)"


def _as_evidence(part: Any) -> Evidence:
    if isinstance(part, Evidence):
        return part
    if type(part) not in _FIELDS:
        raise ValueError(f"cannot diagnose {told(part)}; expected {_PARTS}")
    return Evidence(**{_FIELDS[type(part)]: part})
