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
