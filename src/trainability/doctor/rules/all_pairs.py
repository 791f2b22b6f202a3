"""Answers for all pairs of examples, compared with one target for each example. No rule."""

from trainability.doctor.finding import Finding, Measurement

_CENTRED = 1e-3  # mean over rms, of centred factors


def inside(size: int, of_rows: bool, crossed: bool) -> Finding:
    """A model that returns a number for each pair of examples, where the loss takes it for the answer to one."""
    if crossed:
        remedy = (
            f"unsqueeze(1) the tensor of shape ({size},) in forward, or keepdim=True in the sum that makes it, so that both "
            f"have the shape ({size}, 1)"
            if of_rows
            else f"squeeze(1) the tensor of shape ({size}, 1) in forward, so that both have the shape ({size},), as the targets"
        )
    else:
        row = "(a * b).sum(dim=1, keepdim=True)" if of_rows else "(a * b).sum(dim=1)"
        remedy = f"combine in forward each example with itself alone, in the shape of the targets: {row} instead of a @ b.T"
    return Finding(
        rule="target_broadcast",
        code="target_broadcast.inside",
        severity="error",
        seen=f"for {size} examples the model returns ({size}, {size}) answers, one for each pair of them, and the loss "
        f"compares every answer of a {'row' if of_rows else 'column'} with the target of one example",
        measurements=(Measurement(name="terms of the loss", value=float(size * size), threshold=float(size)),),
        cause=f"in forward, ({size},) and ({size}, 1) are broadcast against each other, so that an answer is made of parts of "
        "two examples"
        if crossed
        else "forward combines each example with every other, so that an answer is made of parts of two examples",
        remedy=remedy,
        source="PyTorch, Broadcasting semantics; the loss asked with the same number in place of all outputs",
    )


def all_apart(size: int) -> Finding:
    """A residual that is taken between every number of the model and every known one."""
    return Finding(
        rule="target_broadcast",
        severity="error",
        seen=f"({size}, 1) less ({size},) is ({size}, {size}): what the model gives for every example is compared with what is "
        "known of every example",
        measurements=(Measurement(name="terms of the loss", value=float(size * size), threshold=float(size)),),
        cause="two shapes with the same number of elements are broadcast: the best answer is the same for all",
        remedy="unsqueeze(1) the tensor of shape (n,), or squeeze(1) the other, so that both have the same shape",
        source="PyTorch, Broadcasting semantics",
    )


def picked(size: int) -> Finding:
    """One output of each example, picked by its number, where the numbers of all examples are applied to each row."""
    return Finding(
        rule="target_broadcast",
        code="target_broadcast.picked",
        severity="error",
        seen=f"outputs[:, numbers] is ({size}, {size}) for {size} examples: each row has the outputs that all of the examples "
        "pick, and they are compared with one number for each example",
        measurements=(Measurement(name="terms of the loss", value=float(size * size), threshold=float(size)),),
        cause="a colon takes all rows, and not each row with its own number",
        remedy="outputs.gather(1, numbers.unsqueeze(1)).squeeze(1), or outputs[torch.arange(len(outputs)), numbers]",
        source="PyTorch, torch.gather; NumPy, Advanced indexing; followed in one pass",
    )


def outer(size: int, balance: float) -> Finding:
    """A weight, reward or advantage per example that multiplies every example's term."""
    centred = balance < _CENTRED
    return Finding(
        rule="target_broadcast",
        code="target_broadcast.outer",
        severity="error" if centred else "warning",
        seen=f"({size},) times ({size}, 1) is ({size}, {size}): every example's term is multiplied by every example's factor "
        "before the mean"
        + (f"; the factors' mean is {balance:.1g} of their size, so almost nothing is left" if centred else ""),
        measurements=(
            Measurement(name="terms of the loss", value=float(size * size), threshold=float(size)),
            Measurement(name="mean of the factors over their rms", value=balance, threshold=_CENTRED),
        ),
        cause="two shapes with the same number of elements are broadcast: the result is the mean term times the mean factor, "
        "so no term gets its own factor",
        remedy="squeeze(1) the tensor of shape (n, 1), so that both are (n,)",
        source="PyTorch, Broadcasting semantics",
        explains=("flat_loss", "zero_gradient", "unmoved_parameter") if centred else (),
    )
