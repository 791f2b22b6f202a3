"""Batch norm with wrong statistics in evaluation: initial, shared, never written, or of no real batch. No rule."""

from trainability.doctor import reading
from trainability.doctor.as_code import as_code
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.layer_table import number
from trainability.doctor.rate_choice import settings_of

FAR_OFF = 1.25  # mean square of a normalised number, or 1 over it
LOST, WORSE = 0.5, 2.0  # share of what the steps took off the loss; times the loss with each batch's own statistics
LOST_BY_FEW = 0.3  # likewise, where batches are small: those of 16 and more vary little, unless early weights make them
_SMALL_BATCH = 8
_SMALLER = 4  # times: the standard error of a batch's mean is then twice as large
KERAS = 0.9  # and above, momentum is the past's share, as in other libraries
# Digits, batches of 64: behind statistics of 2 to 4 examples accuracy is 0.05 to 0.5 lower, of 8 by 0.03, of 16 by nothing.
FEWEST_BEHIND = 6.0
AVERAGE_OFF = 2.0  # as `FAR_OFF`, of an average of the weights
MOSTLY_THE_START = 0.5  # share of the initial mean 0 and variance 1


def of_other_statistics(evidence: Evidence, *, contradicts: bool) -> list[Finding]:
    """Return the first finding on batch norm's statistics in evaluation.

    Args:
        evidence: of a check or of a run.
        contradicts: whether the last evaluation is worse than the watched loss allows.
    """
    return (
        slow_statistics(evidence, contradicts=contradicts)
        or fast_statistics(evidence, contradicts=contradicts)
        or shared_by_calls(evidence, contradicts=contradicts or loses_by_running(evidence))
        or fits_no_batch(evidence)
        or left_by_average(evidence)
        or never_written(evidence)
        or without_statistics(evidence, contradicts=contradicts)
    )


def slow_statistics(evidence: Evidence, *, contradicts: bool) -> list[Finding]:
    """Test how much of the initial statistics is left after all planned steps, or at the last evaluation.

    Args:
        evidence: with the momentum of the slowest layer.
        contradicts: whether the last evaluation is worse than the watched loss allows.
    """
    slow = reading.facts(evidence).slow_statistics
    if slow is None:
        return []
    name, momentum = slow
    seen = [e.step for e in evidence.evaluations if e.model_training is False]
    seen = seen or [e.step for e in reading.facts(evidence).held_out if e.running]
    settings, rehearsal = settings_of(evidence), evidence.rehearsal
    planned = rehearsal.planned_steps if rehearsal is not None else None
    planned = planned or (settings.planned_steps if settings is not None else None)
    number = planned or (seen[-1] if seen else None)
    if number is None or not (left := (1 - momentum) ** number) > MOSTLY_THE_START:
        return []
    severity: Severity = "warning" if planned or contradicts else "hint"
    return [
        Finding(
            rule="evaluation_path",
            code="evaluation_path.statistics",
            severity=severity,
            seen=f"after {number:,} steps {100 * left:.0f} % of the running statistics of {name or 'the model'} are "
            "still the initial ones",
            measurements=(
                Measurement(name="momentum", value=momentum),
                Measurement(name="share of the initial statistics", value=left, threshold=MOSTLY_THE_START),
            ),
            cause="PyTorch's momentum is the share of the new batch, not of the past; eval mode normalises with the initial "
            "statistics",
            remedy=f"{as_code(name)}.momentum = 0.1, the default, in every batch norm that has {momentum:g}",
            source="PyTorch, torch.nn.BatchNorm2d (momentum)",
            layers=(name,),
        )
    ]


def fast_statistics(evidence: Evidence, *, contradicts: bool) -> list[Finding]:
    """Test whether evaluation uses statistics of only the few examples of the last batch, because of the momentum.

    Args:
        evidence: with the momentum of the fastest layer.
        contradicts: whether the last evaluation is worse than the watched loss allows.
    """
    facts = reading.facts(evidence)
    if facts.fast_statistics is None:
        return []
    (name, momentum), (last, behind) = facts.fast_statistics, facts.examples_behind or (None, None)
    # A momentum of 1 is not another library's convention, and is right for a batch of all examples.
    is_turned_round = KERAS <= momentum < 1
    is_few = behind is not None and behind < FEWEST_BEHIND
    if not is_few and not (is_turned_round and (behind is None or contradicts)):
        return []
    told = f"its running statistics are those of the last batch, {100 * momentum:.0f} % of them"
    if last is not None and behind is not None:
        told += f": its {last:,} examples, as precise as {number(behind)} examples"
    return [
        Finding(
            rule="evaluation_path",
            code="evaluation_path.last_batch",
            severity="warning" if is_few or contradicts else "hint",
            seen=f"{name or 'the model'} has momentum={momentum:g}: in evaluation {told}",
            measurements=(
                Measurement(name="momentum", value=momentum, threshold=KERAS),
                *(
                    (Measurement(name="effective examples of the mean", value=behind, threshold=FEWEST_BEHIND),)
                    if behind
                    else ()
                ),
            ),
            cause="PyTorch's momentum is the share of the new batch; in other libraries it is that of the past",
            remedy=f"{as_code(name)}.momentum = {max(1 - momentum, 0.01) if is_turned_round else 0.1:.2g} in every batch norm "
            f"that has {momentum:g}" + ("; or drop_last=True in the training loader" if is_few else ""),
            source="PyTorch, torch.nn.BatchNorm2d (momentum)",
            layers=(name,),
        )
    ]


def shared_by_calls(evidence: Evidence, *, contradicts: bool) -> list[Finding]:
    """Test whether one batch norm is shared by places with different statistics, so that evaluation fits none of them."""
    shared = reading.facts(evidence).shared_statistics
    if shared is None or not shared[2] >= FAR_OFF:
        return []
    name, places, off, kind = shared
    return [
        Finding(
            rule="evaluation_path",
            code="evaluation_path.shared_norm",
            severity="warning" if contradicts else "hint",
            seen=f"{name} is called at {places} places of a pass, on inputs with different means and variances: in evaluation, "
            f"its output at one of them is off by a factor {off:.3g} in mean square",
            measurements=(Measurement(name="mean square over 1, or 1 over it", value=off, threshold=FAR_OFF),),
            cause="one batch norm is used in several places: each is normalised by its own statistics in training, and by "
            "those of all places together in evaluation",
            remedy="use one batch norm per place, for example "
            f"torch.nn.ModuleList(torch.nn.{kind}(width) for _ in range({places})), and call its k-th at the k-th place",
            source=f"own; PyTorch, torch.nn.{kind} (running statistics)",
            layers=(name,),
        )
    ]


def without_statistics(evidence: Evidence, *, contradicts: bool) -> list[Finding]:
    """Report a batch norm without running statistics; a warning where validation's batches are much smaller."""
    without = reading.facts(evidence).no_statistics
    if without is None:
        return []
    name, own, asked = without
    is_smaller = own is not None and asked is not None and _SMALLER * asked <= own
    sizes = f": batches of {asked} in validation, of {own} in training" if own and asked else ""
    return [
        Finding(
            rule="evaluation_path",
            code="evaluation_path.no_statistics",
            severity="warning" if is_smaller or contradicts else "hint",
            seen=f"{name or 'the model'} keeps no running statistics, so that in evaluation each answer depends on the other "
            f"examples of its batch{sizes}",
            measurements=(
                Measurement(name="examples of a batch, training over validation", value=own / asked, threshold=_SMALLER)
                if own and asked
                else Measurement(name="batch norm without running statistics", value=1.0, threshold=0.0),
            ),
            cause="evaluation normalises each batch by its own mean and variance, and those of a few examples are inaccurate",
            remedy="track_running_stats=True, the default, in every batch norm; or torch.nn.GroupNorm",
            source="PyTorch, torch.nn.BatchNorm2d (track_running_stats)",
            layers=(name,),
        )
    ]


def fits_no_batch(evidence: Evidence) -> list[Finding]:
    """Test whether running statistics describe the batches that they come from."""
    rehearsal = evidence.rehearsal
    if not loses_by_running(evidence) or rehearsal is None or rehearsal.batch_statistics is None:
        return []
    own, running, size = rehearsal.batch_statistics
    is_small = 0 < size < _SMALL_BATCH
    what = "single examples" if size == 1 else f"batches of {size}"
    return [
        Finding(
            rule="evaluation_path",
            code="evaluation_path.batch_statistics",
            severity="warning",
            seen=f"after the rehearsed steps the loss on {what} is {own:.3g} with each batch's statistics, and {running:.3g} "
            "with batch norm's running statistics",
            measurements=(
                Measurement(name="loss with running statistics", value=running, threshold=WORSE * own),
                Measurement(name="loss with each batch's statistics", value=own),
                Measurement(name="batch size", value=float(size)),
            ),
            cause="batches are so small that their means and variances differ, and evaluation does not have them"
            if is_small
            else "batches differ in mean and variance, and evaluation only has the average",
            remedy="torch.nn.GroupNorm instead of batch norm; or batches of 16 examples or more"
            if is_small
            else "torch.nn.GroupNorm instead of batch norm; or mix the examples of batches (shuffle=True)",
            source="Wu and He, Group Normalization, ECCV 2018, figure 1; tried on a copy",
        )
    ]


def left_by_average(evidence: Evidence) -> list[Finding]:
    """Test whether an average of the weights is asked with batch norms that never saw data."""
    left = evidence.rehearsal.left_statistics if evidence.rehearsal is not None else None
    if left is None or max(left.mean_square, 1 / max(left.mean_square, 1e-30)) < AVERAGE_OFF:
        return []
    where = "the loss asks it" if left.in_loss else "the model evaluates with it"
    return [
        Finding(
            rule="evaluation_path",
            code="evaluation_path.average",
            severity="warning",
            seen=f"{left.name} follows the weights of {left.twin}, and {where}, but its {left.count} batch norms keep a mean "
            f"of 0 and a variance of 1: what they normalise has a mean square of {left.mean_square:.3g} in place of 1",
            measurements=(Measurement(name="mean square over 1", value=left.mean_square, threshold=AVERAGE_OFF),),
            cause="parameters() has no buffers: the running statistics of batch norm are not averaged, nor copied",
            remedy=f"for own, trained in zip({left.name}.buffers(), {left.twin}.buffers()): own.copy_(trained), at each step; "
            "or torch.optim.swa_utils.update_bn before each evaluation",
            source="PyTorch, torch.optim.swa_utils.AveragedModel (use_buffers); tried on a copy",
            layers=(left.name,),
        )
    ]


def never_written(evidence: Evidence) -> list[Finding]:
    """Test whether modules of the user's keep statistics for evaluation that training never writes."""
    unwritten = evidence.rehearsal.unwritten if evidence.rehearsal is not None else None
    if unwritten is None or not _is_lost(evidence, unwritten.training, unwritten.evaluation):
        return []
    others = f" and {unwritten.count - 1} more" if unwritten.count > 1 else ""
    return [
        Finding(
            rule="evaluation_path",
            code="evaluation_path.never_written",
            severity="warning",
            seen=f"after the rehearsed steps the loss is {number(unwritten.training)} in training mode, and "
            f"{number(unwritten.evaluation)} with {unwritten.module or 'the model'}, a {unwritten.kind},{others} in evaluation "
            "mode, whose statistics are still those of the start",
            measurements=(
                Measurement(name="loss in evaluation mode", value=unwritten.evaluation, threshold=WORSE * unwritten.training),
                Measurement(name="loss in training mode", value=unwritten.training),
            ),
            cause=f"{unwritten.kind} reads statistics in evaluation mode that no forward pass in training mode writes",
            remedy=f"update them in every forward pass of {unwritten.kind} in training mode, such as "
            "self.mean.lerp_(mean.detach(), 0.1); where the loop fills them after an epoch, this is as intended",
            source="Ioffe and Szegedy, Batch Normalization, ICML 2015, algorithm 2; tried on a copy",
            layers=(unwritten.module,),
        )
    ]


def loses_by_running(evidence: Evidence) -> bool:
    """Whether most of what the rehearsed steps took off the loss is lost with batch norm's running statistics."""
    rehearsal = evidence.rehearsal
    if rehearsal is None or rehearsal.batch_statistics is None or not rehearsal.reference:
        return False
    own, running, size = rehearsal.batch_statistics
    return _is_lost(evidence, own, running, LOST_BY_FEW if 0 < size < _SMALL_BATCH else LOST)


def _is_lost(evidence: Evidence, training: float, evaluation: float, lost: float = LOST) -> bool:
    """Whether in evaluation most is lost of what the rehearsed steps took off the loss."""
    if evidence.rehearsal is None or not evidence.rehearsal.reference:
        return False
    gain = evidence.rehearsal.reference[0].loss - training
    return gain > 0 and evaluation - training >= max(lost * gain, (WORSE - 1) * abs(training))
