"""Frozen layers into which no weights were loaded. No rule."""

from trainability.doctor import reading
from trainability.doctor.as_code import as_code
from trainability.doctor.best_constant import standing
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.outlook import judge_rehearsal
from trainability.doctor.outlook_limits import HAS_LEARNED, WILL_TRAIN
from trainability.doctor.rate_choice import settings_of
from trainability.doctor.rules.cut_off import frozen_is_needed

FEW_DRAWN, MANY_DRAWN = 3, 8  # layers: random features have one or two, and no net that is random on purpose has eight
_FEWEST_STEPS, _LITTLE = 100, 0.8  # of the best constant answer's cost, that the loss still has


def frozen_as_drawn(evidence: Evidence, frozen: tuple[str, ...]) -> list[Finding]:
    """Frozen layers that still have PyTorch's initial weights: a hint if few, unless the trained part does not learn."""
    settings = settings_of(evidence)
    names = settings.frozen_as_drawn if settings is not None else ()
    if (head := reading.facts(evidence).readings.frozen_head) is not None:
        return [_head(head)]
    if settings is not None and settings.frozen_noise:
        return [_noise(settings.frozen_noise, is_needed=_learns_little(evidence) or frozen_is_needed(evidence, frozen))]
    if len(names) < 2:
        return []
    is_deep = len(names) >= MANY_DRAWN or (len(names) >= FEW_DRAWN and _learns_little(evidence))
    severity: Severity = "warning" if is_deep or frozen_is_needed(evidence, frozen) else "hint"
    return [
        Finding(
            rule="untrained_parameter",
            code="untrained_parameter.as_drawn",
            severity=severity,
            seen=f"{len(names)} layers, {names[0]} to {names[-1]}, are frozen with PyTorch's random initial weights: no "
            "weights were loaded into them",
            measurements=(
                Measurement(name="frozen layers with initial weights", value=float(len(names)), threshold=float(FEW_DRAWN)),
            ),
            cause="load_state_dict(strict=False) found none of their names (a prefix such as 'module.'), or was not called",
            remedy="load_state_dict(state) without strict=False, with the model's own names: {k.removeprefix('module.'): v "
            "for k, v in state.items()}; leave it where random features are intended",
            source="PyTorch, torch.nn.Module.load_state_dict; weights compared with the default distribution",
            layers=names,
        )
    ]


def _head(name: str) -> Finding:
    """A new last layer that is frozen with the old ones."""
    return Finding(
        rule="untrained_parameter",
        code="untrained_parameter.frozen",
        severity="warning",
        seen=f"{name}, the last layer, will not be trained: it is frozen with PyTorch's random initial weights, behind frozen "
        "layers that were trained before",
        measurements=(Measurement(name="new layers that are frozen", value=1.0, threshold=0.0),),
        cause="the layer that replaced the last one of a trained network is frozen with the others (requires_grad=False)",
        remedy=f"{as_code(name)}.requires_grad_(True), before the optimizer is created from the parameters that require a "
        "gradient",
        source="PyTorch, Transfer Learning for Computer Vision; weights compared with the default distribution",
        layers=(name,),
        explains=("dead_units",),
    )


def drawn_teacher(found: tuple[str, int] | None) -> list[Finding]:
    """A teacher that never learned anything."""
    if found is None:
        return []
    kind, layers = found
    return [
        Finding(
            rule="untrained_parameter",
            code="untrained_parameter.teacher",
            severity="warning",
            seen=f"{kind}, a network outside the model whose outputs are targets, has PyTorch's random initial weights in all "
            f"of its {layers} layers",
            measurements=(Measurement(name="layers with initial weights", value=float(layers), threshold=float(layers)),),
            cause="the model learns the outputs of a network into which no trained weights were loaded",
            remedy=f"load them before the first step: load_state_dict(state), called on the {kind}",
            source="PyTorch, torch.nn.Module.load_state_dict; weights compared with the default distribution",
        )
    ]


def idle_norms(names: tuple[str, ...]) -> list[Finding]:
    """Frozen norms into which no statistics were loaded."""
    if not names:
        return []
    return [
        Finding(
            rule="untrained_parameter",
            code="untrained_parameter.norm",
            severity="warning",
            seen=f"{names[0]} and {len(names) - 1} more normalisations keep a mean of 0 and a variance of 1 in training, in a "
            "network with random initial weights: they do nothing",
            measurements=(Measurement(name="normalisations that do nothing", value=float(len(names)), threshold=1.0),),
            cause="frozen batch norm is for networks that were trained before, with their statistics; none were loaded",
            remedy="use PyTorch's own batch norm, such as torch.nn.BatchNorm2d, to train from scratch, or load the weights and "
            "statistics of a trained network",
            source="torchvision.ops.FrozenBatchNorm2d",
            layers=names,
            explains=("vanishing_gradient", "gain_budget_low"),
        )
    ]


def _noise(names: tuple[str, ...], *, is_needed: bool) -> Finding:
    """Tables of random numbers; a hint where what is trained learns beside them."""
    return Finding(
        rule="untrained_parameter",
        code="untrained_parameter.as_drawn",
        severity="warning" if is_needed else "hint",
        seen=f"{', '.join(names)} will not be trained, and hold{'s' if len(names) == 1 else ''} nothing but random numbers: no "
        "vectors were loaded",
        measurements=(Measurement(name="frozen tables of random numbers", value=float(len(names)), threshold=0.0),),
        cause="nn.Embedding.from_pretrained freezes its table (freeze=True is its default), or requires_grad is False",
        remedy="nn.Embedding.from_pretrained(table, freeze=False), or nn.Embedding(rows, width), to train it; or load trained "
        "vectors into it",
        source="PyTorch, torch.nn.Embedding.from_pretrained; numbers compared with independent draws",
        layers=names,
    )


def _learns_little(evidence: Evidence) -> bool:
    """Whether 100 steps or more leave most of the best constant answer's cost, or the rehearsal predicts no training."""
    if evidence.steps:
        at, recent = standing(evidence), reading.recent_loss(evidence)
        cost = at.cost if at is not None else reading.chance_as_summed(evidence)
        little = not reading.has_learned(evidence) if cost is None or recent is None else recent > _LITTLE * cost
        return reading.num_steps(evidence) >= _FEWEST_STEPS and little
    rehearsal = evidence.rehearsal
    return (
        rehearsal is not None and bool(rehearsal.steps) and judge_rehearsal(rehearsal).verdict not in (WILL_TRAIN, HAS_LEARNED)
    )
