"""The processes of a data-parallel run: what must be equal in all of them, and what must differ."""

import math

from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.processes import Comparison, Processes, spread
from trainability.doctor.rules.rule import rule

# Reduced gradients are bitwise equal; their norms differ by rounding where processors differ.
_GRADIENTS = 1e-3
_WEIGHTS = 1e-4  # of the weights' norm: rounding on unlike processors, summed over a long run, stays below
_UPDATE = 1e-2  # of the update's norm
_RATIO = 2e-2  # bfloat16 rounds to 0.4 %
_LR = 1e-3
_HOOKS_THAT_DIFFER_ON_PURPOSE = ("post_localSGD_hook",)
_SOURCE = "own; PyTorch, DistributedDataParallel"


@rule(severities=("error",), explains=("unsynchronised", "unreached_parameter", "untrained_parameter"))
def unreduced_parameter(evidence: Evidence) -> list[Finding]:
    """A parameter has no gradient, and DistributedDataParallel waits for one.

    Fires: after the backward pass that reduces the gradients, a parameter that the wrapper holds has none, and the wrapper was
        created without find_unused_parameters and static_graph.
    Why: the wrapper reduces gradients in buckets, each when all of its gradients are ready. The bucket of this parameter is not
        reduced in this step, nor are later ones, and the next forward pass stops with "Expected to have finished reduction".
        Monitor reports the parameter one step earlier, also as a warning.
    What fools it: nothing known; where another process does use the parameter, that process waits and stops instead.
    Fix: use the parameter in forward, or freeze it (requires_grad_(False)) before the model is wrapped; pass
        find_unused_parameters=True where it is intended.
    Source: PyTorch, `DistributedDataParallel`, find_unused_parameters.
    """
    names = evidence.processes.unreduced if evidence.processes is not None else ()
    if not names:
        return []
    shown = ", ".join(names[:4]) + (" and more" if len(names) > 4 else "")
    return [
        Finding(
            rule="unreduced_parameter",
            severity="error",
            seen=f"{shown}: no gradient arrives, and DistributedDataParallel stops at its next forward pass",
            measurements=(Measurement(name="parameters without a gradient", value=float(len(names)), threshold=0.0),),
            cause="the loss does not depend on it",
            remedy="use it in forward, or requires_grad_(False) before wrapping; find_unused_parameters=True where it is "
            "intended",
            source="PyTorch, DistributedDataParallel",
            layers=names,
        )
    ]


@rule(severities=("error", "warning", "hint"))
def unsynchronised(evidence: Evidence) -> list[Finding]:
    """The processes of a data-parallel run do not train the same weights.

    Fires: at a sampled step, the weights of two processes differ by more than 1e-4 of their norm, the updates by 1 % of their
        norm, the gradients that the optimizer gets by 0.1 % in norm, the clip ratios by 2 %, or the learning rates by 0.1 %. A
        warning where DistributedDataParallel does not hold a parameter and no step was compared; a hint where the model is in
        no wrapper and nothing reduces gradients: separate models may then be intended. Codes, by what was seen: `start`,
        `alone`, `wrapper`, `outside`, `clipping`, `no_sync`, `reduction`, `gradients`, `optimizer`, `learning_rate`.
    Why: data-parallel training computes one step in many pieces, so every process must hold the same weights and take the same
        step. Processes that are not synchronised each train a different model, and the rank that saves decides which one is
        kept. The cause is determined in this order: parameters that the wrapper does not hold, a wrapper that was not called, a
        last backward pass under no_sync, a communication hook, clipping, learning rates, weights that differ from the start,
        and, if all of these are the same, the optimizer's state.
    What fools it: weights that are averaged every few steps on purpose (local SGD); torch's post_localSGD_hook is recognised.
        Shards of fully_shard are not compared, because they are different parts. Processes without a Monitor are not compared.
    Fix: what the finding names.
    Source: PyTorch, `DistributedDataParallel`, `fully_shard`; own check and thresholds.
    """
    processes = evidence.processes
    if processes is None or processes.hook in _HOOKS_THAT_DIFFER_ON_PURPOSE:
        return []
    if processes.outside and processes.wrapper == "DistributedDataParallel" and not processes.comparisons:
        return [_outside(processes)]
    bad = next((row for row in processes.comparisons if _is_unequal(row)), None)
    word = _cause_of(bad, processes) if bad is not None else None
    if bad is None or word is None:
        return []
    cause, remedy = _TOLD[f"outside {processes.wrapper}" if word == "outside" else word]
    severity: Severity = "hint" if word == "alone" else "error"
    is_part = word in ("start", "optimizer") and len(bad.differing) < bad.num_compared
    names = processes.outside if word == "outside" else bad.differing if is_part else ()
    return [
        Finding(
            rule="unsynchronised",
            code=f"unsynchronised.{word}",
            severity=severity,
            seen=_seen(bad, word, processes, names),
            measurements=_measured(bad),
            cause=cause.format(hook=processes.hook, ranks=_ranks(bad.not_called or bad.not_synced)),
            remedy=remedy,
            source=_SOURCE,
            layers=names,
        )
    ]


def _outside(processes: Processes) -> Finding:
    """Nothing was compared, but the wrapper cannot reduce parameters that it does not hold."""
    cause, remedy = _TOLD[f"outside {processes.wrapper}"]
    names = processes.outside
    return Finding(
        rule="unsynchronised",
        code="unsynchronised.outside",
        severity="warning",
        seen=f"{processes.wrapper} does not hold {', '.join(names[:3])}{' and more' if len(names) > 3 else ''}",
        measurements=(Measurement(name="parameters outside the wrapper", value=float(len(names)), threshold=0.0),),
        cause=cause,
        remedy=remedy,
        source=_SOURCE,
        layers=names,
    )


_TOLD = {
    "outside DistributedDataParallel": (
        "they were replaced or added after the model was wrapped; the wrapper reduces only the earlier ones",
        "build the model whole, then wrap it: DistributedDataParallel(model) after the last change of its layers",
    ),
    "outside fully_shard": (
        "fully_shard was not called on a module that holds them, so nothing reduces their gradients",
        "call fully_shard(model) on the root, after its blocks",
    ),
    "wrapper": (
        "the loop calls the module inside the wrapper ({ranks}), and only the wrapper's forward reduces gradients",
        "call the wrapper: output = ddp(inputs), not ddp.module(inputs) or model(inputs)",
    ),
    "no_sync": (
        "the last backward pass of the step is under no_sync too ({ranks}), so that nothing is ever reduced",
        "leave the last micro-batch of every step out of no_sync",
    ),
    "reduction": (
        "the communication hook {hook} does not leave the same gradient everywhere",
        "remove the hook; or use one that returns gradients reduced over all processes",
    ),
    "clipping": (
        "gradients are scaled by a factor that each process computes from its own part",
        "clip after the reduction, by torch.nn.utils.clip_grad_norm_(model.parameters(), ...), the same in all processes",
    ),
    "learning_rate": (
        "each process sets its own rate, for example by a schedule that follows its own loss",
        "reduce the number that the schedule follows over all processes, or step the schedule on one process and broadcast "
        "the rate",
    ),
    "start": (
        "each process set its own weights: with different seeds and no broadcast, or after the model was wrapped",
        "the same weights everywhere before the first step: set them before wrapping, or broadcast them from one process",
    ),
    "optimizer": (
        "gradients and rates are the same, so the optimizer's state or settings differ: restored in one process only",
        "load the optimizer's state_dict in every process",
    ),
    "gradients": (
        "not known: the wrapper was called and its gradients differ; something changes gradients after the reduction",
        "do the same arithmetic in every process between backward and step",
    ),
    "alone": (
        "the model is in no wrapper, and nothing reduces its gradients",
        "DistributedDataParallel(model), and call the result; or nothing, where separate models are intended",
    ),
}


def _gradient_norms(row: Comparison) -> tuple[float, ...]:
    """Gradient norms as the optimizer gets them, where they were seen."""
    return row.step_gradient_norms if all(map(math.isfinite, row.step_gradient_norms)) else row.gradient_norms


def _is_unequal(row: Comparison) -> bool:
    return (
        (row.weights_distance or 0.0) > _WEIGHTS
        or (row.update_distance or 0.0) > _UPDATE
        or spread(_gradient_norms(row)) > _GRADIENTS
        or spread(row.lrs) > _LR
        # Where gradients are reduced by hand after `after_backward`, ratios mean nothing and the weights decide.
        or (spread(row.clip_ratios) > _RATIO and spread(row.gradient_norms) <= _GRADIENTS)
    )


def _cause_of(row: Comparison, processes: Processes) -> str | None:
    """A word for what is not synchronised."""
    differ = spread(_gradient_norms(row)) > _GRADIENTS
    differ_before = spread(row.gradient_norms) > _GRADIENTS
    changed = differ or (row.update_distance or 0.0) > _UPDATE
    if processes.outside and (set(row.differing) <= set(processes.outside) or differ):
        return "outside"
    if changed and row.not_called:
        return "wrapper"
    if changed and row.not_synced and differ:
        return "no_sync"
    if processes.wrapper is None and not _is_reduced_by_hand(row):
        return "alone" if differ and len(row.differing) == row.num_compared else None
    if processes.hook is not None and differ_before:
        return "reduction"
    if not differ_before and (spread(row.clip_ratios) > _RATIO or differ):
        return "clipping"
    if spread(row.lrs) > _LR:
        return "learning_rate"
    if differ:
        return "gradients"
    if (row.weights_distance or 0.0) > _WEIGHTS and (row.step == 1 or not changed):
        return "start"
    return "optimizer" if changed else None


def _is_reduced_by_hand(row: Comparison) -> bool:
    """Whether gradients are the same at the step although the batches are not, with no wrapper to make them so."""
    same = spread(_gradient_norms(row)) <= _GRADIENTS
    return same and (spread(row.gradient_norms) > _GRADIENTS or (row.inputs_compared > 1 and not row.same_inputs))


def _seen(row: Comparison, word: str, processes: Processes, names: tuple[str, ...]) -> str:
    what = {"clipping": "clipped gradients", "learning_rate": "learning rates", "start": "weights"}.get(word, "gradients")
    if word == "optimizer":
        what = "updates"
    shown = f" of {', '.join(names[:3])}{' and more' if len(names) > 3 else ''}" if names else ""
    where = f" under {processes.wrapper}" if processes.wrapper is not None else ""
    when = "before" if word == "start" else "at"
    return f"{what}{shown} differ between {len(row.ranks)} processes{where} {when} step {row.step}"


def _measured(row: Comparison) -> tuple[Measurement, ...]:
    numbers = [
        ("spread of the gradient norms", spread(_gradient_norms(row)), _GRADIENTS),
        ("distance of the weights, of their norm", row.weights_distance, _WEIGHTS),
        ("distance of the updates, of their norm", row.update_distance, _UPDATE),
        ("spread of the clip ratios", spread(row.clip_ratios), _RATIO),
        ("spread of the learning rates", spread(row.lrs), _LR),
    ]
    found = [Measurement(name=name, value=value, threshold=limit) for name, value, limit in numbers if value]
    return tuple(found) or (Measurement(name="processes", value=float(len(row.ranks))),)


def _ranks(ranks: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, ranks[:4])) + (" and more" if len(ranks) > 4 else "")
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {shown}"


@rule(severities=("warning",))
def local_clipping(evidence: Evidence) -> list[Finding]:
    """Gradients are clipped before they are reduced, by a different factor in each process.

    Fires: between two backward passes of a step with accumulation, gradients shrink, by factors that differ by more than 2 %
        between two processes.
    Why: under no_sync, what is accumulated so far belongs to the process alone. Clipping it there weights the parts of the
        batch by the size of their gradients, and the sum is no longer the gradient of the batch. The weights stay the same in
        all processes.
    What fools it: clipping per example or per process on purpose (differential privacy).
    Fix: clip once, after the last backward pass of the step and before optimizer.step().
    Source: own; PyTorch, `DistributedDataParallel.no_sync`.
    """
    rows = evidence.processes.comparisons if evidence.processes is not None else ()
    found = [row for row in rows if spread(row.between_ratios) > _RATIO and min(row.between_ratios) < 1 - _RATIO]
    if not found:
        return []
    low, high = min(found[0].between_ratios), max(found[0].between_ratios)
    return [
        Finding(
            rule="local_clipping",
            severity="warning",
            seen=f"between the backward passes of step {found[0].step} gradients shrink, to {low:.2g} in one process and to "
            f"{high:.2g} in another",
            measurements=(
                Measurement(name="spread of the factors", value=spread(found[0].between_ratios), threshold=_RATIO),
                Measurement(name="smallest factor", value=low, threshold=1.0),
            ),
            cause="clip_grad_norm_ is inside the accumulation, and clips gradients before they are reduced",
            remedy="clip once per step, after its last backward pass and before optimizer.step()",
            source="own; PyTorch, DistributedDataParallel.no_sync",
        )
    ]


@rule(severities=("warning", "hint"))
def same_batches(evidence: Evidence) -> list[Finding]:
    """Several processes read the same batches.

    Fires: at every compared step, the model's inputs are the same in two processes. A hint where only one step was compared.
        Only under DistributedDataParallel and fully_shard: separate models may read the same.
    Why: a step of N processes then sees the examples of fewer, and costs N times as much as necessary. Usually there is no
        DistributedSampler, or it was given the local rank on several machines, or data is generated with the same seed
        everywhere.
    What fools it: inputs that are the same on purpose, such as fixed coordinates. Inputs without a tensor, or with constant
        values, are not compared.
    Fix: DistributedSampler(dataset, num_replicas=world_size, rank=rank) as the loader's sampler, with set_epoch in every epoch;
        for generated data, another seed in each process.
    Source: PyTorch, `torch.utils.data.distributed.DistributedSampler`; own check.
    """
    processes = evidence.processes
    if processes is None or processes.wrapper is None:  # separate models may read the same
        return []
    rows = [row for row in processes.comparisons if row.inputs_compared > 1]
    if not rows or not all(row.same_inputs for row in rows):
        return []
    always = [group for group in rows[0].same_inputs if all(any(set(group) <= set(g) for g in r.same_inputs) for r in rows)]
    if not always:
        return []
    largest = max(always, key=len)
    losses = dict(zip(rows[0].ranks, rows[0].losses, strict=False))
    return [
        Finding(
            rule="same_batches",
            severity="warning" if len(rows) > 1 else "hint",
            seen=f"{_ranks(largest)} read the same batch at every compared step ({len(rows)})",
            measurements=(
                Measurement(name="processes with one batch", value=float(len(largest)), threshold=1.0),
                Measurement(name="compared steps", value=float(len(rows)), unit="steps"),
                Measurement(name="spread of their losses", value=spread([losses[rank] for rank in largest])),
            ),
            cause="the loader has no DistributedSampler, or several processes give it the same rank",
            remedy="sampler=DistributedSampler(dataset, num_replicas=world_size, rank=rank); for generated data, another "
            "seed in each process",
            source="PyTorch, DistributedSampler",
        )
    ]
