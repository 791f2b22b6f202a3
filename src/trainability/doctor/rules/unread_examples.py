"""Examples that no pass over the training data reads."""

from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import ShortLength


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


def cut_short(facts: Facts) -> list[Finding]:
    """Passes that end before half of what the loader's length says."""
    if facts.short_pass is None:
        return []
    read, declared, is_left = facts.short_pass
    seen = (
        f"every pass of the loop leaves its DataLoader after {read:,} of {declared:,} batches"
        if is_left
        else f"a pass over the training loader ends after {read:,} batches, and its len is {declared:,}"
    )
    return [
        Finding(
            rule="short_length",
            code="short_length.pass",
            severity="hint" if is_left else "warning",
            seen=seen,
            measurements=(Measurement(name="batches in a pass", value=float(read), threshold=declared / 2),),
            cause="a limit for a quick check is left in the loop or in the loader, or the loader counts its batches wrongly",
            remedy="let a pass go over all batches: remove the limit or the break; or leave it, if it is meant",
            source="own; batches counted",
        )
    ]
