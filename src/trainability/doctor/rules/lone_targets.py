"""Data with little variety: targets that are all one value, and one example or batch again and again. No rule."""

import math

from trainability.doctor import reading
from trainability.doctor.audit_results import BatchOrder, SplitAudit
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement

_FEWEST_EXAMPLES = 64
_FEWEST_OF_ALL, _HALF, _MOSTLY = 200, 0.5, 0.85  # examples, and shares of them that are identical
_DISTANCES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
_NEAR = 1e-5


def lone_targets(evidence: Evidence) -> list[Finding]:
    """Masks, marks or numbers that hold a single value; for one label per example, `class_order` reports it."""
    train = evidence.data.train if evidence.data is not None else None
    if train is None or train.lone_target is None or train.num_images < _FEWEST_EXAMPLES:
        return []
    places = math.prod(reading.facts(evidence).target_shape[1:])
    task = evidence.rehearsal.task if evidence.rehearsal is not None else None
    graph = reading.facts(evidence).graph
    is_asked = places > 1 and task is not None and task.target and "cross_entropy" in (task.loss or "")
    # Of a watched loop, whose pairs are those of model and loss, the graph tells; labels are counted for one per example.
    is_watched = task is None and train.label_min is None and graph is not None and graph.takes in ("log_softmax", "nll")
    if is_asked or is_watched:
        return [
            _finding(
                train,
                places if is_asked else 0,
                cause="classes are lost before the loss: a mask was divided by 255 (ToTensor does), cast or thresholded too "
                "early",
                remedy="read masks as integers: torch.as_tensor(numpy.array(mask)).long() instead of ToTensor",
                source="own; torchvision.transforms.ToTensor divides images of bytes by 255",
            )
        ]
    if _are_set_against(evidence, train.lone_target):
        return [
            _finding(
                train,
                places,
                cause="targets are lost before the loss: fractions were cast to integers, or written into an integer array; "
                "or the wrong column or key was read",
                remedy="keep targets in floating point from the file to the loss (dtype=numpy.float32), and look at "
                "target.unique() of one batch",
                source="own; all targets read",
            )
        ]
    return []


def _are_set_against(evidence: Evidence, value: float) -> bool:
    """Whether the loss compares outputs with these targets, rather than a residual that should be zero."""
    facts = reading.facts(evidence)
    if not facts.compares_returned:
        return False
    if facts.task_loss not in _DISTANCES or facts.differentiates or facts.target_rms is None or facts.target_mean is None:
        return False
    near = _NEAR * max(abs(value), 1.0)
    return abs(facts.target_mean - value) <= near and abs(facts.target_rms - abs(value)) <= near


def _finding(train: SplitAudit, places: int, *, cause: str, remedy: str, source: str) -> Finding:
    """The finding; `places` is their number per example, or 0 for several if it is unknown."""
    value = train.lone_target or 0.0
    what = f"all {places} places of the targets" if places > 1 else "all places of the targets" if not places else "the targets"
    return Finding(
        rule="class_imbalance",
        code="class_imbalance.one_class",
        severity="warning",
        seen=f"{what} of all {train.num_images} examples read are {value:g}",
        measurements=(
            Measurement(name="examples read", value=float(train.num_images), threshold=float(_FEWEST_EXAMPLES)),
            Measurement(name="their only value", value=value),
        ),
        cause=cause,
        remedy=remedy,
        source=source,
    )


def one_example(train: SplitAudit) -> list[Finding]:
    """Training data that is mostly one example, input and target; if it is all of the data, `repeated_batch` reports it."""
    share = train.most_copied
    if share is None or not _HALF <= share < 1 or train.num_images < _FEWEST_OF_ALL:
        return []
    return [
        Finding(
            rule="repeated_batch",
            code="repeated_batch.example",
            severity="warning" if share >= _MOSTLY else "hint",
            seen=f"{100 * share:.1f} % of the {train.num_images} training examples read are identical, input and target",
            measurements=(Measurement(name="share of the most frequent example", value=share, threshold=_MOSTLY),),
            cause="the data was collected or joined so that it is mostly one example, again and again",
            remedy="keep one of each: numpy.unique(inputs, axis=0) before the split; then check how much data is left",
            source="Lee et al., Deduplicating Training Data Makes Language Models Better, ACL 2022; values compared",
        )
    ]


def repeated_in_turn(order: BatchOrder, measured: Measurement) -> Finding:
    """Batches that come several times in a row: worker processes repeat them by mistake, a loader perhaps on purpose."""
    by_workers = order.stream_workers is not None
    return Finding(
        rule="repeated_batch",
        code="repeated_batch.copies",
        severity="warning" if by_workers else "hint",
        seen=f"{order.repeated_batches} of {order.num_batches} batches repeat the one before"
        + (f", and {order.stream_workers} worker processes read one IterableDataset" if by_workers else ""),
        measurements=(measured,),
        cause="each worker process reads the whole of an IterableDataset"
        if by_workers
        else "the loader yields each batch several times in a row",
        remedy="in __iter__, take every num_workers-th example (torch.utils.data.get_worker_info())"
        if by_workers
        else "if that is not meant (data echoing), yield each batch once",
        source="own",
    )


def sliding_slices(evidence: Evidence) -> list[Finding]:
    """Batches that are cut out of the data one or a few rows further each, and not a batch further."""
    found = reading.facts(evidence).readings.sliding
    if found is None:
        return []
    return [
        Finding(
            rule="repeated_batch",
            code="repeated_batch.sliding",
            severity="warning",
            seen=f"the {found.batches:,} batches of a pass overlap: they show {found.shown:,} of {found.held:,} examples, and "
            "these again and again",
            measurements=(
                Measurement(name="examples that a pass shows", value=float(found.shown), threshold=found.held / 2),
                Measurement(name="examples that there are", value=float(found.held)),
                Measurement(name="batches in a pass", value=float(found.batches)),
            ),
            cause="slices begin at the number of the batch, i, and not at i * batch_size, so that they begin a row or a few "
            "apart, and no pass reaches the rest of the data",
            remedy="start = i * batch_size; yield x[start:start + batch_size], y[start:start + batch_size]; or leave "
            "batches to a DataLoader(TensorDataset(x, y), batch_size, shuffle=True)",
            source="own; all batches of a pass compared, row by row",
        )
    ]
