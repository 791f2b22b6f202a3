"""A loss that is zero if every output is the same number. No rule."""

from trainability.doctor.finding import Finding, Measurement


def solved_by_constant(number: float, *, differentiates: bool) -> Finding:
    """The finding of `constant_as_good` for a loss computed from the model's own outputs.

    Args:
        number: the output that makes the loss zero.
        differentiates: whether the loss is computed from derivatives of the
            outputs, or else from targets that the model makes.
    """
    return Finding(
        rule="constant_as_good",
        code="constant_as_good.solved",
        severity="warning",
        seen=f"if every output is {number:.4g}, whatever the input, the loss is zero for every example",
        measurements=(Measurement(name="output that makes the loss zero", value=number),),
        cause="the equation has other solutions than the intended one, and a constant is one of them: no initial condition "
        "excludes it"
        if differentiates
        else "the targets that the model makes for itself are the same for every example: every reward is the same, and no "
        "episode ends",
        remedy="add the initial or boundary condition to the loss: (model(start) - value).square().mean()"
        if differentiates
        else "add nothing after the end of an episode: target = reward + gamma * (1 - done) * value",
        source="Raissi, Perdikaris and Karniadakis, Physics-informed neural networks, 2019, eq. (4)"
        if differentiates
        else "Sutton and Barto, Reinforcement Learning, 2018, section 3.3 (the value of a terminal state is zero)",
    )
