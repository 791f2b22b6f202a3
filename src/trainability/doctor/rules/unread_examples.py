"""Examples that no pass reads"""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import ShortLength
from trainability.doctor.rules.rule import rule

_FEW = 0.1  # of the loader's length


def too_few_weights(found: ShortLength) -> Finding:
    """A sampler that is given one weight per class."""
    return Finding(
        rule="short_length",
        code="short_length.weights",
        severity="warning",
        seen=f"the sampler has {found.declared} weights, and the data set {found.held} examples: only examples 0 to "
        f"{found.declared - 1} are ever drawn",
        measurements=(Measurement(name="weights of the sampler", value=float(found.declared), threshold=float(found.held)),),
        cause="WeightedRandomSampler takes one weight per example; it was given one per class, or those of other data",
        remedy="WeightedRandomSampler(class_weights[labels], num_samples=len(labels)), with labels of all training examples",
        source="PyTorch, torch.utils.data.WeightedRandomSampler",
    )


@rule(severities=("warning", "hint"))
def short_pass(evidence: Evidence) -> list[Finding]:
    """A pass over the training data ends long before the loader's length.

    Fires: a loader of the program's own ends a pass after half of the batches that its `len` gives or fewer; a hint above a
        tenth. In a watched script, a hint: each of three passes or more leaves its `DataLoader` at the same batch, the eighth
        or a later one, before half of its length.
    Why: a limit for a quick check that is left in place trains on little of the data, pass after pass; nothing fails.
    What fools it: passes that are short on purpose; a length that counts examples, or is only an upper bound, as where batches
        hold a number of tokens; a loader whose length is that of all processes.
    Fix: let a pass go over all batches: remove the limit, or the break.
    Source: own; batches counted.
    """
    found = reading.facts(evidence).short_pass
    if found is None:
        return []
    seen = (
        f"every pass of the loop leaves its DataLoader after {found.read:,} of {found.declared:,} batches"
        if found.is_left
        else f"a pass over the training loader ends after {found.read:,} batches, and its len is {found.declared:,}"
    )
    return [
        Finding(
            rule="short_pass",
            severity="warning" if not found.is_left and found.read <= _FEW * found.declared else "hint",
            seen=seen,
            measurements=(
                Measurement(name="batches in a pass", value=float(found.read), threshold=found.declared / 2),
                Measurement(name="length of the loader", value=float(found.declared)),
            ),
            cause="a limit for a quick check is left in the loop or in the loader, or the loader counts its batches wrongly",
            remedy="let a pass go over all batches: remove the limit or the break; or leave it, if it is meant",
            source="own; batches counted",
        )
    ]
