"""What tokens are asked for, and what a model sees of that: findings of `sees_future`. No rule."""

from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement

AHEAD = (
    1e-5  # of the gradient on earlier tokens; behind a mask it is exactly zero, and a convolution by FFT leaves its rounding
)


def shifted(shift: int) -> Finding:
    """Targets that are shifted in the wrong direction, or by the data and by the loss."""
    backward = shift < 0
    return Finding(
        rule="sees_future",
        code="sees_future.backward" if backward else "sees_future.twice",
        severity="error",
        seen="the model is causal, and the target at each position is "
        + ("the token before it, which the model has read" if backward else "the token after the next one"),
        measurements=(Measurement(name="tokens by which the targets are ahead", value=float(shift), threshold=1.0),),
        cause="inputs and targets are exchanged in the shift" if backward else "both the data and the loss shift the targets",
        remedy="inputs = tokens[:, :-1], targets = tokens[:, 1:]"
        if backward
        else "shift once: labels = input_ids where the loss shifts, or a loss that does not shift",
        source="own; read off the gradient of the logits",
    )


def copy() -> Finding:
    """An autoencoder without anything that it has to leave out."""
    return Finding(
        rule="sees_future",
        code="sees_future.copy",
        severity="hint",
        seen="the targets are the inputs themselves, and no layer is narrower than they are: to copy is all that is asked",
        measurements=(Measurement(name="layers narrower than the input", value=0.0, threshold=1.0),),
        cause="what is to be taken away from the input, such as noise, is in the target as well; or a narrow layer is missing",
        remedy="model(x + noise) against x, without the noise; or a layer narrower than the input between encoder and decoder",
        source="Vincent et al., Stacked Denoising Autoencoders, JMLR 2010, section 3",
    )


def unshifted(facts: Facts) -> Finding:
    """Each token is asked for itself; a watched loop tells less of the model than one that is asked."""
    is_causal = facts.unshifted or facts.own_tokens == "causal"
    return Finding(
        rule="sees_future",
        code="sees_future.unshifted",
        severity="error" if facts.unshifted else "warning" if is_causal else "hint",
        seen="the targets are the input tokens themselves"
        + (", and the model is causal: each position is to predict the token that it is given" if is_causal else ""),
        measurements=(Measurement(name="tokens by which the targets are shifted", value=0.0, threshold=1.0),),
        cause="the targets are not shifted by one"
        if is_causal
        else "the targets are not shifted by one; or the model is an autoencoder, which is to rebuild its input",
        remedy="inputs = tokens[:, :-1], targets = tokens[:, 1:]"
        + ("; those of a decoder have a begin token in front" if is_causal else "")
        + ("" if is_causal else "; leave it in an autoencoder"),
        source="own; compared value for value" if facts.unshifted else "own; the gradient of the logits, by place",
    )


def fed() -> Finding:
    """A decoder that is handed at each step what it is to tell at that step."""
    return Finding(
        rule="sees_future",
        code="sees_future.fed",
        severity="error",
        seen="the model is given its targets, and the output for each step depends on the target of that very step",
        measurements=(Measurement(name="steps by which the targets are shifted", value=0.0, threshold=1.0),),
        cause="a decoder is fed the answer of the step that it is to tell, in place of the one before",
        remedy="feed the target of the step before: torch.cat([last, target[:, :-1]], dim=1), where last ends the input",
        source="Williams and Zipser, 1989 (teacher forcing); exchanged and compared",
    )


def held(kind: str, place: str, count: int) -> Finding:
    """A number that is asked for and given: the present in place of the future, or the target's own column."""
    of_series = kind == "windows"
    return Finding(
        rule="sees_future",
        code="sees_future.present" if of_series else "sees_future.given",
        severity="warning",
        seen=f"each target is a number that its input holds: input{place}, value for value in all of {count:,} examples",
        measurements=(Measurement(name="share of the targets that stand there", value=1.0, threshold=1.0),),
        cause="the target is a value of the window itself, in place of one behind its end: the index is off, often by one"
        if of_series
        else "the column of the targets was left among the inputs",
        remedy="target = series[i + window] for the window series[i : i + window]"
        if of_series
        else f"leave column {place[4:-1]} out of the inputs, and what was computed from it",
        source="own; compared value for value",
    )


def reached(share: float) -> Finding:
    """A watched loop: the gradient of what earlier tokens are asked comes back to later ones."""
    return Finding(
        rule="sees_future",
        severity="error",
        seen="each position is to predict the next token, and the loss at earlier positions has a gradient on later tokens: "
        "the model sees the token that it is to predict",
        measurements=(Measurement(name="gradient on later tokens over that on earlier ones", value=share, threshold=AHEAD),),
        cause="attention without a causal mask, or another operation over all positions",
        remedy="a causal mask (is_causal=True), and no bidirectional layers",
        source="Attention Is All You Need, 2017, section 3.2.3; read off the loop's own graph",
    )
