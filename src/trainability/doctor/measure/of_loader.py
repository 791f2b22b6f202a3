"""What a loader shows by itself, without the model: asked behind the last step of a loop that is somebody else's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from trainability.doctor.audit_results import DataAudit
from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.measure import stance
from trainability.doctor.measure.audits import audit_data
from trainability.doctor.measure.collated import separated
from trainability.doctor.measure.mirrored import mirrored_alone, with_mirrored
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.relation import read_relation
from trainability.doctor.measure.scale_blind import with_scale
from trainability.doctor.measure.short_length import short_length
from trainability.doctor.measure.sizes import MAX_AUDIT_IMAGES, audit_size
from trainability.doctor.measure.written_data import Stored, overwritten

_SECONDS = 20.0  # for reading, of all that is asked
_FEW, _SOME, _ALL = 100, 1000, 4000  # examples that are read for each kind of question, in round numbers
_MOST_SHARED = 0.5  # of what is evaluated: more, and training's own accuracy is evaluated on purpose


@dataclass(frozen=True, kw_only=True)
class OfLoader:
    """What was found.

    Attributes:
        facts: with what is certain; of all else, nothing.
        data: the audit; None where batches are not (inputs, targets).
        categories: see `Relation`; of a table whose columns go into a linear layer as they are.
        problems: what could not be looked at.
    """

    facts: Facts
    data: DataAudit | None = None
    categories: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()


def of_loader(
    model: nn.Module, loader: DataLoader[Any], held_out: DataLoader[Any] | None, *, before: Stored | None, is_paired: bool
) -> OfLoader | None:
    """Read examples of a loop's data once more, in this process.

    Args:
        model: that was trained.
        loader: of training.
        held_out: read without gradients, and not trained on; None if there is none.
        before: what the data set stored of some examples when the loop began; it is put back.
        is_paired: whether the model is given the first part of a batch, and the loss the second.

    Returns:
        What they show; None of data without indices. What would take much longer than half a minute to read is not asked.
    """
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return None
    problems: list[str] = []

    def asked(topic: str, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except Exception as error:
            problems.append(f"{topic}: {error_line(error)}")
            return None

    has_changed = before is not None and before.put_back()
    facts, data, categories = Facts(), None, ()
    with randomness_restored(), generators_restored(loader), generators_restored(held_out):
        most = _num_affordable(loader)
        if before is not None:
            before.put_back()
        written = asked("data that are written to", lambda: overwritten(loader)) if most >= _FEW else None
        short = asked("the length of the data", lambda: short_length(loader)) if most >= _FEW else None
        if most >= _SOME:
            facts = Facts(
                separated=asked("rows that the loader joins", lambda: separated(loader)),
                mirrored_alone=asked("images that the loader mirrors", lambda: mirrored_alone(loader)),
            )
            facts = asked("images that data sets mirror", lambda: with_mirrored(facts, loader, held_out)) or facts
        if is_paired and not has_changed and most >= _ALL:
            data = asked("data", lambda: _audited(loader, held_out))
            categories = asked("columns of categories", lambda: _categories(model, without_workers(loader))) or ()
            if data is not None and not stance.has_compiled():
                facts = with_scale(facts, model, next(iter(without_workers(loader))), data) or facts
    facts = replace(facts, readings=replace(facts.readings, overwritten=written, short=short))
    return OfLoader(facts=facts, data=data, categories=categories, problems=tuple(problems))


def _num_affordable(loader: DataLoader[Any]) -> float:
    """How many examples can be read in the time that there is, by the first of them; 0 of data that cannot be read so."""
    began = time.perf_counter()
    try:
        loader.dataset[0]
    except Exception:
        return 0.0
    return _SECONDS / max(time.perf_counter() - began, 1e-9)


def with_loader(evidence: Evidence, found: OfLoader) -> Evidence:
    """Add it to what was seen of the loop."""
    known, own = evidence.facts or Facts(), found.facts
    written, short = own.readings.overwritten or known.readings.overwritten, own.readings.short
    facts = replace(
        known,
        separated=own.separated,
        mirrored_alone=own.mirrored_alone,
        readings=replace(
            known.readings,
            overwritten=written,
            exchanged=own.readings.exchanged,
            short=short,
            same_at_scale=own.readings.same_at_scale,
        ),
    )
    return replace(
        evidence,
        facts=facts if facts != Facts() else None,
        data=evidence.data or found.data,
        relation=replace(evidence.relation, categories=found.categories) if evidence.relation is not None else None,
        problems=(*evidence.problems, *found.problems),
    )


def _audited(loader: DataLoader[Any], held_out: DataLoader[Any] | None) -> DataAudit | None:
    train, validation = without_workers(loader), without_workers(held_out) if held_out is not None else None
    first = next(iter(train), None)
    if not isinstance(first, tuple | list) or len(first) != 2 or not all(isinstance(part, Tensor) for part in first):
        return None
    size = min(MAX_AUDIT_IMAGES, audit_size(tuple(first[0].shape[1:])))
    found = audit_data(train, validation, max_images=size, redraw=True)
    shared = found.overlap_fraction or 0.0
    return found if shared <= _MOST_SHARED else replace(found, overlap_fraction=None, shared_dataset=False)


def _categories(model: nn.Module, loader: DataLoader[Any]) -> tuple[int, ...]:
    """Columns of categories, where a linear layer takes as many columns as there are and nothing is looked up in a table."""
    inputs = next(iter(loader))[0]
    layers = list(model.modules())
    takes_all = any(isinstance(layer, nn.Linear) and layer.in_features == inputs.shape[-1] for layer in layers)
    if inputs.dim() != 2 or not takes_all or any(isinstance(layer, nn.Embedding | nn.EmbeddingBag) for layer in layers):
        return ()
    found = read_relation(loader, "[1]")
    return found.categories if found is not None else ()


def without_workers(loader: DataLoader[Any]) -> DataLoader[Any]:
    """The same batches, read in this process: others may not be able to import what a script has defined."""
    if loader.batch_sampler is None:
        return DataLoader(loader.dataset, batch_size=None, sampler=loader.sampler, collate_fn=loader.collate_fn)
    return DataLoader(loader.dataset, batch_sampler=loader.batch_sampler, collate_fn=loader.collate_fn)
