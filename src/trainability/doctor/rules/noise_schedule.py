"""How much noise a diffusion ends with"""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule

_MUCH, _LEAST, _SHARE = 0.2, 0.1, 0.1
_NEARLY_ALL = 0.8


@rule(severities=("warning", "hint"))
def noise_schedule(evidence: Evidence) -> list[Finding]:
    """The last step of a diffusion still shows the data.

    Fires: the model is called with a * data + b * noise and a time step for each row, in up to 120 passes with other random
        numbers; the noise is normal and drawn anew, a * a + b * b = 1 at all steps, and a falls towards one end. Even there
        a * a (alpha_bar) is above 0.2 with the data a tenth or more of the model's input, in squares; a hint where it is above
        0.1 and the data a twentieth. Two standard errors are in the model's favour. If the variance of the noise is 0.2 or
        less at all times: only over 20 steps or more, and where a is surely less than 1.
    Why: a sampler starts from noise alone, which the model has never seen at this step: what it takes for the data's mean and
        coarse shape is chance, and its input has another variance. Betas from 1e-4 to 0.02 are meant for 1000 steps: after 100
        of them, alpha_bar is still 0.36.
    What fools it: a sampler that starts from noised data, as in restoration or editing; a range of steps that grows during
        training. Silent of continuous times and noise levels, of blur, masks and tokens, of data that the model does not get
        in the batch's own shape, and of models that do not answer in it, such as critics.
    Fix: make alpha_bar of the last step less than about 0.01: 1000 steps with betas from 1e-4 to 0.02; the same betas times
        1000 / steps for fewer steps; or a cosine schedule. Print torch.cumprod(1 - betas, 0)[-1]. Or start sampling from
        data to which the noise of the last step was added.
    Source: Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, WACV 2024.
    """
    found = reading.facts(evidence).readings.last_noise
    if found is None:
        return []
    cause = (
        "too few time steps for these betas, or too small betas: the noise never covers the data, while sampling starts from "
        "noise alone, so that the mean and the coarse shape of samples are off"
    )
    if found.kept > _NEARLY_ALL:
        cause = (
            "the noise of one step, as where alphas = 1 - betas (or 1 - betas[t]) stands in the place of alpha_bar, their "
            "product over all steps so far; sampling starts from noise alone, which the model has never seen"
        )
    return [
        Finding(
            rule="noise_schedule",
            severity="warning" if found.least > _MUCH and found.share > _SHARE else "hint",
            seen=f"at the noisiest of {found.steps} time steps (about step {found.step:g}), the model's input is still "
            f"{found.kept**0.5:.2f} times the data, plus {(1 - found.kept) ** 0.5:.2f} times the noise",
            measurements=(
                Measurement(name="alpha_bar at the noisiest steps", value=found.kept, threshold=_LEAST),
                Measurement(name="share of the data in the input, in squares", value=found.share, threshold=0.05),
            ),
            cause=cause,
            remedy="take alpha_bar = torch.cumprod(1 - betas, 0), and make that of the last step less than about 0.01: 1000 "
            "steps with betas from 1e-4 to 0.02, the same betas times 1000 / steps for fewer steps, or a cosine schedule; or "
            "start sampling from noised data",
            source="Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, WACV 2024; own: regression of "
            f"the model's input on the data, over {found.rows} rows",
        )
    ]
