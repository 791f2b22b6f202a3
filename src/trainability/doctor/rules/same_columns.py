"""Columns of a table that say nothing. No rule."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement

_MOST_NAMED = 4


def same_columns(evidence: Evidence) -> list[Finding]:
    """One number in every row: a warning where several columns hold another number than 0, and the loss stays high."""
    train = evidence.data.train if evidence.data is not None else None
    found = train.same_columns if train is not None else ()
    told = [(place, value) for place, value in found if value]  # zeros may be words or categories that nothing has
    if train is None or not found or (len(found) == 1 and found[0][1] == 1):  # one column of ones is a bias
        return []
    is_odd = len(told) > 1 or any(abs(value) != 1 for _, value in told)
    named = ", ".join(f"{place} is {value:.4g}" for place, value in found[:_MOST_NAMED])
    return [
        Finding(
            rule="constant_input",
            code="constant_input.columns",
            severity="warning" if is_odd and reading.stays_above_half(evidence) else "hint",
            seen=f"{len(found)} of the inputs' columns hold one number in all {train.num_images:,} examples looked at: column "
            f"{named}{' and more' if len(found) > _MOST_NAMED else ''}",
            measurements=(
                Measurement(name="columns with one value", value=float(len(found)), threshold=0.0),
                Measurement(name="of them, other than zero", value=float(len(told))),
            ),
            cause="what these columns are computed from was lost before: cut off, overwritten, or read from another field",
            remedy="print these columns at each step that makes them, and find where their values become equal; if they are "
            "meant to be so, leave them out",
            source="own",
        )
    ]


def says_nothing(evidence: Evidence) -> list[Finding]:
    """One row for all examples of a batch, or a channel of one number: a warning where the loss stays high."""
    found = reading.facts(evidence).readings.same_within
    if found is None:
        return []
    place, channel = found.place, found.channel
    if channel is None:
        seen = f"tensor {place} holds one row for all examples of each of {found.batches} batches, and another in others"
        cause = "the row of one example is used for the whole batch, as by batch[0] in a collate function or an expand"
        remedy = f"stack each example's own row where tensor {place} is made; if it belongs to the batch, leave it"
    else:
        seen = f"channel {channel} of tensor {place} is {found.value:.4g} at every step of all {found.examples} examples read"
        cause = "what is to be in this channel was lost before, as by an assignment to a copy: x[rows][:, n] = ..."
        remedy = f"look at where channel {channel} is filled: one index for an assignment, x[i, :n, channel] = ...; if it is "
        remedy += "meant to be so, leave it out"
    return [
        Finding(
            rule="constant_input",
            code="constant_input.batch" if found.channel is None else "constant_input.columns",
            severity="warning" if reading.stays_above_half(evidence) else "hint",
            seen=seen,
            measurements=(Measurement(name="examples read", value=float(found.examples)),),
            cause=cause,
            remedy=remedy,
            source="own",
        )
    ]
