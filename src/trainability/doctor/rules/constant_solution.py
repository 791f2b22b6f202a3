"""A loss that one number for all examples takes to zero. No rule."""

from trainability.doctor.finding import Finding, Measurement


def solved_by_constant(number: float, *, differentiates: bool) -> Finding:
    """What `constant_as_good` says of a loss that is made of the model's own answers.

    Args:
        number: the answer.
        differentiates: whether the loss is made of their derivatives, or else of goals.
    """
    return Finding(
        rule="constant_as_good",
        code="constant_as_good.solved",
        severity="warning",
        seen=f"where every answer is {number:.4g}, whatever the input, the loss is zero for every example",
        measurements=(Measurement(name="answer that takes the loss to zero", value=number),),
        cause="the equation has more solutions than the one that is meant, and a constant is one: nothing says where it starts"
        if differentiates
        else "goals that the model makes for itself are the same for every example: every reward is the same, and nothing ends",
        remedy="add to the loss what the equation leaves open: (model(start) - value).square().mean(), or the same at the ends"
        if differentiates
        else "leave out what comes after an end: goal = reward + gamma * (1 - done) * value",
        source="Raissi, Perdikaris and Karniadakis, Physics-informed neural networks, 2019, eq. (4)"
        if differentiates
        else "Sutton and Barto, Reinforcement Learning, 2018, section 3.3 (the value of what ends is zero)",
    )
