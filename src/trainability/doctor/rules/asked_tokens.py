"""Which tokens are the targets, and whether the model sees them: findings of `sees_future`. No rule."""

from trainability.doctor.as_code import as_code
from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import OwnPlaces, SeriesAhead

AHEAD = (
    1e-5  # of the gradient on earlier tokens; with a mask it is exactly zero, and a convolution by FFT leaves rounding errors
)


def shifted(shift: int) -> Finding:
    """Targets shifted in the wrong direction, or twice: by the data and by the loss."""
    backward = shift < 0
    return Finding(
        rule="sees_future",
        code="sees_future.backward" if backward else "sees_future.twice",
        severity="error",
        seen="the model is causal, and the target at each position is "
        + ("the previous token, which the model has read" if backward else "the token after the next one"),
        measurements=(Measurement(name="tokens by which the targets are ahead", value=float(shift), threshold=1.0),),
        cause="inputs and targets are swapped in the shift" if backward else "both the data and the loss shift the targets",
        remedy="inputs = tokens[:, :-1], targets = tokens[:, 1:]"
        if backward
        else "shift once: labels = input_ids if the loss shifts, or use a loss that does not",
        source="own; read off the gradient of the logits",
    )


def copy() -> Finding:
    """An autoencoder that can copy its input."""
    return Finding(
        rule="sees_future",
        code="sees_future.copy",
        severity="hint",
        seen="the targets are the inputs themselves, and no layer is narrower than they are: copying them is enough",
        measurements=(Measurement(name="layers narrower than the input", value=0.0, threshold=1.0),),
        cause="what the model should remove from the input, such as noise, is in the target as well; or a narrow layer is "
        "missing",
        remedy="compare model(x + noise) with x, without the noise; or put a layer narrower than the input between encoder "
        "and decoder",
        source="Vincent et al., Stacked Denoising Autoencoders, JMLR 2010, section 3",
    )


def unshifted(facts: Facts) -> Finding:
    """Each token is its own target; watching a loop shows less of the model than a check does."""
    is_causal = facts.unshifted or facts.own_tokens == "causal"
    return Finding(
        rule="sees_future",
        code="sees_future.unshifted",
        severity="error" if facts.unshifted else "warning" if is_causal else "hint",
        seen="the targets are the input tokens themselves"
        + (", and the model is causal: each position predicts the token that it is given" if is_causal else ""),
        measurements=(Measurement(name="tokens by which the targets are shifted", value=0.0, threshold=1.0),),
        cause="the targets are not shifted by one"
        if is_causal
        else "the targets are not shifted by one; or the model is an autoencoder, which reconstructs its input",
        remedy="inputs = tokens[:, :-1], targets = tokens[:, 1:]"
        + ("; a decoder's inputs start with a begin token" if is_causal else "")
        + ("" if is_causal else "; leave it for an autoencoder"),
        source="own; compared value for value" if facts.unshifted else "own; the gradient of the logits at each position",
    )


def fed() -> Finding:
    """A decoder that receives, at each step, the target of that step."""
    return Finding(
        rule="sees_future",
        code="sees_future.fed",
        severity="error",
        seen="the model is given its targets, and the output for each step depends on the target of the same step",
        measurements=(Measurement(name="steps by which the targets are shifted", value=0.0, threshold=1.0),),
        cause="the decoder is fed the target of the step that it predicts, instead of the previous one",
        remedy="feed the previous target: torch.cat([last, target[:, :-1]], dim=1), where last is the end of the input",
        source="Williams and Zipser, 1989 (teacher forcing); replaced and compared",
    )


def held(kind: str, place: str, count: int) -> Finding:
    """A target that is in the input: the present instead of the future, or the target's own column."""
    of_series = kind == "windows"
    return Finding(
        rule="sees_future",
        code="sees_future.present" if of_series else "sees_future.given",
        severity="warning",
        seen=f"each target is a number of its own input: it equals input{place} in all of {count:,} examples",
        measurements=(Measurement(name="share of targets found there", value=1.0, threshold=1.0),),
        cause="the target is a value inside the window, not one after its end: the index is off, often by one"
        if of_series
        else "the column of the targets is still among the inputs",
        remedy="target = series[i + window] for the window series[i : i + window]"
        if of_series
        else f"remove column {place[4:-1]} from the inputs, and everything computed from it",
        source="own; compared value for value",
    )


def reached(share: float) -> Finding:
    """Of a watched loop: the loss at earlier tokens has a gradient on later ones."""
    return Finding(
        rule="sees_future",
        severity="error",
        seen="each position predicts the next token, but the loss at earlier positions has a gradient on later tokens: the "
        "model sees the token that it has to predict",
        measurements=(
            Measurement(name="gradient on later tokens over gradient on earlier ones", value=share, threshold=AHEAD),
        ),
        cause="attention without a causal mask, or another operation over all positions",
        remedy="a causal mask (is_causal=True), and no bidirectional layers",
        source="Attention Is All You Need, 2017, section 3.2.3; read off the loop's own graph",
    )


def series(ahead: SeriesAhead) -> Finding:
    """Of a series of numbers: the model is given most of the values that it has to predict."""
    steps = "one step" if ahead.by == 1 else f"{ahead.by} steps"
    most = ahead.share > 0.5
    return Finding(
        rule="sees_future",
        code="sees_future.series",
        severity="error" if most else "hint",
        seen=f"the target at each place is the input {steps} later, and the output there depends on that value of the "
        f"input: at {100 * ahead.share:.0f} % of the places the answer is in the input",
        measurements=(Measurement(name="share of the targets that are in the input", value=ahead.share, threshold=0.5),),
        cause='padding on both sides of a convolution (padding="same"), attention without a causal mask, a bidirectional '
        "layer, or another operation over all steps"
        if most
        else "the window of the targets begins before the end of the inputs' window",
        remedy="let the output at step t depend on inputs up to t only: pad convolutions on the left alone, "
        "torch.nn.functional.pad(x, (dilation * (kernel_size - 1), 0)), and padding=0; is_causal=True in attention; "
        "bidirectional=False in recurrent layers; or, if a model is to read its whole window, targets that begin behind it"
        if most
        else "inputs = series[i : i + window], targets = series[i + window : i + window + horizon]",
        source="own; values compared, and exchanged with later ones, or a gradient sent back to them",
    )


def own(found: OwnPlaces) -> Finding:
    """A model that is to predict each number of its input from earlier ones, and that sees the number itself."""
    names = ", ".join(as_code(name) for name in found.masks[:3]) + (" and more" if len(found.masks) > 3 else "")
    its_own = "each target is a number of the input itself, and the output for it depends on that number"
    if found.kind == "mask":
        it = "it" if len(found.masks) == 1 else "them"
        seen = f"{its_own}; the loss does not depend on {names}, zeros and ones in the shape of weights, which would hide the "
        seen += f"number if weights were multiplied by {it}"
        cause = "the mask is created and not applied in forward; if it was applied once, before training, the first update "
        cause += "fills the weights again"
        remedy = "multiply the weight by its mask in each forward: torch.nn.functional.conv2d(x, self.weight * self.mask, "
        remedy += "self.bias, self.stride, self.padding), and likewise torch.nn.functional.linear"
    elif found.kind == "itself":
        seen = f"{its_own}, and on no later pixel: the model predicts the pixel that it is given"
        cause = "the first masked convolution lets the pixel itself through (type B in place of A), or the input is not shifted"
        remedy = "hide the centre in the first convolution, mask[..., k // 2, k // 2 :] = 0; the layers behind it keep theirs"
    else:
        seen = f"{its_own}, although the model has masks that hide later pixels: {names}"
        cause = "not every layer is masked: a plain convolution, or a path around the masks, lets the pixel through"
        remedy = "mask every convolution wider than one pixel: the first one's centre as well, and none wider than its mask"
    return Finding(
        rule="sees_future",
        code="sees_future.mask" if found.kind == "mask" else "sees_future.itself",
        severity="warning" if found.kind == "beside" else "error",
        seen=seen,
        measurements=(Measurement(name="change over rms of the output", value=found.change, threshold=1e-4),),
        cause=cause,
        remedy=remedy,
        source="Van den Oord et al., Pixel Recurrent Neural Networks, ICML 2016, section 3.4; exchanged and compared",
    )
