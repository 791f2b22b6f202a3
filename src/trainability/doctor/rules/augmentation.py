"""Training examples that are to be drawn otherwise each time, and are not."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule


@rule(severities=("warning",))
def augmentation_missing(evidence: Evidence) -> list[Finding]:
    """Training images that are to be augmented at random come out the same every time.

    Fires: more than 75 % of the training images are equal, value for value, when they are drawn a second time. Only where the
        caller has the audit draw twice. Or the data set holds a transform that is random by its name, and six examples come out
        the same in each of four draws (code `declared`). Code `views`: a loss of pairs wants two rows of each example nearer,
        and in train mode these are equal, value for value, in all examples; silent where dropout, which is off then, would
        tell them apart.
    Why: random mirroring alone repeats half of the images, crops with a margin of a few pixels one in tens; a share above
        three quarters means that nearly nothing is drawn at random.
    What fools it: augmentation that is rare on purpose (probability below 0.25), or done inside the model.
    Fix: make one data set object per split, each with its own transform; apply it in __getitem__, not once before.
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
            seen=f"a random transform is there, and {drawn.num_examples} examples come out the same in {drawn.num_draws} draws"
            if declared and drawn is not None
            else f"{share:.0%} of the training images come out the same when they are drawn again",
            measurements=(
                Measurement(name="images without augmentation", value=1.0 if declared else share or 0.0, threshold=0.75),
            ),
            cause="the transform is not applied when an example is drawn, or its result is kept"
            if declared
            else "training and validation share one data set object, and validation's transform, set last, holds for both",
            remedy="apply it in __getitem__, for every draw anew"
            if declared
            else "make one data set per split, each with its own transform",
            source="own; the log's Caltech-256",
        )
    ]


def _of_views(examples: int) -> Finding:
    """Two views of an example that are one."""
    return Finding(
        rule="augmentation_missing",
        code="augmentation_missing.views",
        severity="warning",
        seen=f"the loss pulls two views of each example together, and of all {examples} examples the model returns the same "
        "row for both, so that nothing is left to learn from them",
        measurements=(Measurement(name="pairs of equal views", value=float(examples), threshold=0.0),),
        cause="both views are drawn with the same random numbers, as after a seed that is set in every call, or are one tensor",
        remedy="draw the second view anew: seed once, outside of the augmentation, and call that twice on the images",
        source="Chen et al., A Simple Framework for Contrastive Learning, ICML 2020, section 2.1; rows compared",
    )


@rule(severities=("warning",), explains=("overfit",))
def repeated_draws(evidence: Evidence) -> list[Finding]:
    """Random augmentation draws the same numbers in every worker process, or in every epoch.

    Fires: six examples are drawn four times by each of two worker processes, twice. Within a worker draws differ; the two
        workers draw the same, one by one (code `workers`), or the second pass does (code `epochs`).
    Why: worker processes are copies. A generator that the data set holds is copied with its state, and a seed that
        worker_init_fn sets is set anew in every epoch: the net sees fewer variants than it seems to. Values are compared, and
        each worker's own draws differ, so that chance makes them alike once in 2^24 for mirroring alone.
    What fools it: augmentation that is meant to be the same in every epoch.
    Fix: draw from the global generators, which PyTorch seeds anew in every worker and epoch; or in worker_init_fn seed the
        own one with torch.initial_seed().
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
            else "the augmentation of one epoch is that of the one before, draw by draw",
            measurements=(
                Measurement(name="draws compared", value=float(drawn.num_examples * drawn.num_draws)),
                Measurement(name="workers alike", value=float(bool(drawn.workers_alike)), threshold=0.0),
                Measurement(name="epochs alike", value=float(bool(drawn.epochs_alike)), threshold=0.0),
            ),
            cause="a generator inside the data set is copied into every worker, or worker_init_fn sets a fixed seed",
            remedy="draw from the global generators, or seed the own one in worker_init_fn with torch.initial_seed()",
            source="PyTorch, torch.utils.data, Randomness in multi-process data loading",
        )
    ]
