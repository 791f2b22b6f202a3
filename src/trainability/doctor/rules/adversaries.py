"""Models that play against each other: what limits the critic, and what the generator is given."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule


@rule(severities=("warning",), explains=("exploding_gradient", "loss_cliff", "oscillation", "saturation", "update_ratio"))
def unlimited_critic(evidence: Evidence) -> list[Finding]:
    """The critic of a Wasserstein GAN has no limit to its slope.

    Fires: in eight steps on copies, the loss of one model is linear in its outputs for what another makes, whose own loss is
        linear with the opposite slope; and nothing limits the outputs: no gradient goes through a derivative (gradient
        penalty), nothing but its optimizer writes to the critic's weights (clipping), which have no decay, none of its layers
        is parametrised (spectral norm), and its last function is not bounded.
    Why: the difference of a critic's answers is a distance of distributions only where the critic's slope is limited. Without a
        limit its loss falls without end as its weights grow, and the generator is pulled further with each step.
    What fools it: a limit that acts otherwise, for example in the critic's own forward or after many steps.
    Fix: add a gradient penalty to the critic's loss, clip its weights after each of its steps, or apply
        torch.nn.utils.parametrizations.spectral_norm to its layers.
    Source: Arjovsky, Chintala and Bottou, Wasserstein GAN, ICML 2017, algorithm 1; Gulrajani et al., NeurIPS 2017.
    """
    found = reading.facts(evidence).opponents.unlimited_critic
    if not found:
        return []
    critic, generator = found
    return [
        Finding(
            rule="unlimited_critic",
            severity="warning",
            seen=f"the loss of {critic} is linear in its outputs for what {generator} makes, and nothing limits their slope",
            measurements=(Measurement(name="limits to the critic's slope", value=0.0, threshold=1.0),),
            cause="the weight clipping, gradient penalty or spectral norm of a Wasserstein critic is missing, or has no effect",
            remedy=f"after each step of {critic}: with torch.no_grad(): for p in {critic}.parameters(): p.clamp_(-0.01, 0.01); "
            "or add 10 * ((gradient norm at points between real and generated ones) - 1) ** 2 to its loss; or use "
            "binary_cross_entropy_with_logits of its answers",
            source="Wasserstein GAN, 2017, algorithm 1; own: slopes of the losses, and weights between steps",
        )
    ]


@rule(severities=("warning",), explains=("plateau", "saturation", "prediction_collapse"))
def fixed_noise(evidence: Evidence) -> list[Finding]:
    """A generator, or a denoiser, is given the same noise at every step.

    Fires: in eight steps on copies, a model whose outputs another model judges is given the same rows of numbers in five of
        them or more, and they are none of the batch's. Code `target`: in a check, what a module returns is held against numbers
        that are the same for another batch and for other random numbers, with rows that differ, and the module's input is a
        times the batch's data plus b times these numbers, which are a twentieth of it or more, in squares.
    Why: the generator learns the outputs for these few rows alone, and what it makes of other noise was never judged. Values
        are compared, so this is certain.
    What fools it: a generator that is meant to make a fixed number of things.
    Fix: draw the noise inside the loop, anew for each step: torch.randn(batch_size, size).
    Source: Goodfellow et al., Generative Adversarial Nets, 2014, algorithm 1; own: inputs compared.
    """
    facts = reading.facts(evidence)
    found = facts.opponents.fixed_noise
    if not found:
        return [_fixed_target(facts.readings.kept_noise)] if facts.readings.kept_noise is not None else []
    critic, generator = found
    return [
        Finding(
            rule="fixed_noise",
            severity="warning",
            seen=f"{generator}, whose outputs {critic} judges, is given the same numbers at every step, none of the batch's",
            measurements=(Measurement(name="different inputs in the calls that were seen", value=1.0, threshold=2.0),),
            cause="the noise is drawn once, before the loop",
            remedy=f"draw it in the loop, for each step anew: {generator}(torch.randn(len(batch), size))",
            source="Generative Adversarial Nets, 2014, algorithm 1; own: inputs compared",
        )
    ]


def _fixed_target(share: float) -> Finding:
    """A denoiser that is asked for the same numbers at every step."""
    return Finding(
        rule="fixed_noise",
        code="fixed_noise.target",
        severity="warning",
        seen="the noise that the model is to predict is the same at every step, whatever the batch and the random numbers are",
        measurements=(Measurement(name="share of this noise in the input, in squares", value=share, threshold=0.05),),
        cause="the noise is drawn once, before the loop, or the generator is seeded at each step: the model learns these rows "
        "by their numbers, and removes no other noise",
        remedy="draw it in the step, for each batch anew: noise = torch.randn_like(x)",
        source="Ho et al., Denoising Diffusion Probabilistic Models, 2020, algorithm 1; own: other batches and other seeds",
    )


@rule(severities=("hint",), explains=("plateau",))
def saturating_generator(evidence: Evidence) -> list[Finding]:
    """The generator's loss has no slope where the critic is sure that its examples are made.

    Fires: in eight steps on copies, the slope of the generator's loss in the critic's logit is, where the critic is sure, less
        than a tenth of what it is where the critic is deceived; and at all answers the critic's loss wants the opposite.
    Why: log(1 - D) has the slope -D in the logit of D. Early in training a critic tells what is made from what is real, D is
        near 0, and the generator hardly moves; -log D wants the same and has the slope -(1 - D).
    What fools it: a critic that is never sure, for which both losses train; Adam, which divides the size of the slope out.
    Fix: let the generator minimise the cross-entropy of the critic's answers with the label of real examples.
    Source: Goodfellow et al., Generative Adversarial Nets, 2014, section 3; Arjovsky and Bottou, Towards Principled Methods for
        Training Generative Adversarial Networks, ICLR 2017, theorem 2.4.
    """
    found = reading.facts(evidence).opponents.flat_where_sure
    if not found:
        return []
    critic, generator = found
    return [
        Finding(
            rule="saturating_generator",
            severity="hint",
            seen=f"the loss of {generator} is almost flat where {critic} is sure that an example is made, as log(1 - D) is",
            measurements=(Measurement(name="slope there over that where the critic is deceived, at most", value=0.1),),
            cause=f"{generator} minimises the chance that {critic} is right (the minimax loss), which gives it next to no "
            f"gradient once {critic} is ahead",
            remedy=f"let {generator} minimise -log D: binary_cross_entropy_with_logits(logits, torch.ones_like(logits)) of the "
            f"answers of {critic} to what it makes",
            source="Generative Adversarial Nets, 2014, section 3; own: slopes of both losses",
        )
    ]
