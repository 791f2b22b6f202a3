"""A tensor of the batch that stands in two places, and another that stands in none. No rule."""

from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import GivenTwice

_HOW = {
    "joined": "{layer} is given batch{given} joined to itself",
    "arguments": "{layer} is given batch{given} as two arguments",
    "calls": "{layer} is called twice with batch{given}, and the loss compares the two outputs",
    "tables": "{layer} and another table are both looked up by batch{given}",
}


def given_twice(found: GivenTwice | None, *, is_flat: bool) -> list[Finding]:
    """A pair that consists of one of its two parts; where no weight has a gradient for that, it is an error."""
    if found is None:
        return []
    seen = _HOW[found.how].format(layer=found.layer or "the model", given=found.given)
    return [
        Finding(
            rule="constant_input",
            code="constant_input.twice",
            severity="error" if is_flat else "warning",
            seen=f"{seen}; batch{found.unread}, which is of the same kind, is not used: with other values in it the loss is "
            "the same",
            measurements=(
                Measurement(name="difference between the two inputs", value=0.0, threshold=0.0),
                Measurement(name=f"change of the loss with other values in batch{found.unread}", value=0.0, threshold=0.0),
            ),
            cause=f"batch{found.given} is passed a second time where batch{found.unread} belongs: two equal inputs say nothing "
            "about how the two differ",
            remedy=f"pass batch{found.unread} in place of the second batch{found.given}",
            source="own; values replaced, inputs and losses compared",
            layers=(found.layer,) if found.layer else (),
            explains=("flat_loss", "zero_gradient") if is_flat else (),
        )
    ]
