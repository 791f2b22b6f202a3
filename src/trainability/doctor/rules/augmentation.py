"""Training examples that should be augmented differently each time, and are not."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule


@rule(severities=("warning",))
def augmentation_missing(evidence: Evidence) -> list[Finding]:
    """Random augmentation has no effect: training images come out the same every time.

    Fires: more than 75 % of the training images are equal, value for value, when they are read a second time; only where the
        caller asks the audit to read twice. Code `declared`: the data set holds a transform with the name of a random one, and
        no example differs between reads: so many are read, four times or more, that chance makes them equal once in a million
        if every twentieth is changed, or half as many as the transform's own probability says. Silent where that takes more
        than 1,500 reads or four seconds, and where the transform is called and draws no random number. Code `views`: a
        contrastive loss pulls two rows of each example together, and in train mode these rows are equal, value for value, in
        all examples; silent where dropout, which is off during this test, would make them differ.
    Why: random mirroring alone leaves half of the images equal, a crop with a margin of a few pixels one in tens; a share above
        three quarters means that almost nothing is random.
    What fools it: augmentation that is rare on purpose (probability below 0.25), or that happens inside the model.
    Fix: make one data set object per split, each with its own transform; apply it in __getitem__, not once in advance.
    Source: own; the log's Caltech-256 trials, where validation's transform, set last, held for both splits.
    """
    forces, data = reading.facts(evidence).pair_forces, evidence.data
    if forces is not None and forces.equal_views:
        return [_of_views(forces.num_examples // 2)]
    if data is None:
        return []
    share, drawn = data.repeated_fraction, data.redrawn
    declared = drawn is not None and drawn.is_declared and not drawn.varies
    if not declared and (share is None or share <= 0.75):
        return []
    return [
        Finding(
            rule="augmentation_missing",
            code="augmentation_missing.declared" if declared else "augmentation_missing",
            severity="warning",
            seen=f"the data set has a random transform, and {drawn.num_examples} examples come out the same in each of "
            f"{drawn.num_draws} reads"
            if declared and drawn is not None
            else f"{100 * (share or 0.0):.0f} % of the training images come out the same when they are read again",
            measurements=(
                Measurement(name="images without augmentation", value=1.0 if declared else share or 0.0, threshold=0.75),
            ),
            cause="the transform is not applied in __getitem__, or its result is cached"
            if declared
            else "training and validation share one data set object, and validation's transform, set last, holds for both",
            remedy="apply it in __getitem__, every time an example is read"
            if declared
            else "make one data set per split, each with its own transform",
            source="own; the log's Caltech-256",
        )
    ]


def _of_views(examples: int) -> Finding:
    """Two views of each example that are equal."""
    return Finding(
        rule="augmentation_missing",
        code="augmentation_missing.views",
        severity="warning",
        seen=f"the loss pulls two views of each example together, and for all {examples} examples the model returns the same "
        "row for both: there is nothing to learn from them",
        measurements=(Measurement(name="pairs of equal views", value=float(examples), threshold=0.0),),
        cause="both views use the same random numbers (a seed set in every call), or are the same tensor",
        remedy="draw each view separately: seed once, outside the augmentation, and apply the augmentation twice",
        source="Chen et al., A Simple Framework for Contrastive Learning, ICML 2020, section 2.1; rows compared",
    )


@rule(severities=("warning",), explains=("overfit",))
def repeated_draws(evidence: Evidence) -> list[Finding]:
    """Random augmentation draws the same numbers in every worker process, or in every epoch.

    Fires: six examples are read four times by each of two worker processes, in two passes. Within a worker the reads differ,
        but the two workers draw the same, one by one (code `workers`), or the second pass repeats the first (code `epochs`).
    Why: worker processes are copies. A generator that the data set holds is copied with its state, and a seed set in
        worker_init_fn is set again in every epoch, so the net sees fewer variants than intended. Values are compared, and each
        worker's own reads differ: with mirroring alone, chance makes them alike once in 2^24.
    What fools it: augmentation that is the same in every epoch on purpose.
    Fix: draw from the global generators, which PyTorch seeds in every worker and epoch; or seed your own generator in
        worker_init_fn with torch.initial_seed().
    Source: PyTorch, `torch.utils.data`, Randomness in multi-process data loading.
    """
    drawn = evidence.data.redrawn if evidence.data is not None else None
    if drawn is None or not drawn.varies or not (drawn.workers_alike or drawn.epochs_alike):
        return []
    which = "workers" if drawn.workers_alike else "epochs"
    return [
        Finding(
            rule="repeated_draws",
            code=f"repeated_draws.{which}",
            severity="warning",
            seen="two worker processes draw the same augmentation, one by one"
            if drawn.workers_alike
            else "each epoch repeats the augmentation of the previous one, draw by draw",
            measurements=(
                Measurement(name="draws compared", value=float(drawn.num_examples * drawn.num_draws)),
                Measurement(name="workers alike", value=float(bool(drawn.workers_alike)), threshold=0.0),
                Measurement(name="epochs alike", value=float(bool(drawn.epochs_alike)), threshold=0.0),
            ),
            cause="a generator inside the data set is copied into every worker, or worker_init_fn sets a fixed seed",
            remedy="draw from the global generators, or seed your own generator in worker_init_fn with torch.initial_seed()",
            source="PyTorch, torch.utils.data, Randomness in multi-process data loading",
        )
    ]
