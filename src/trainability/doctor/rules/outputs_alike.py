"""The model's outputs on one batch: whether they differ between examples."""

import math

from trainability.doctor import reading
from trainability.doctor.as_code import as_code
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.pair_facts import PairForces
from trainability.doctor.rules.drawing import drawn_for_signal
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.start import constant_for_good, outputs_stay_alike
from trainability.doctor.rules.unmoved import attends_to_nothing, inverted_mask

COLLAPSED = 0.1


@rule(severities=("warning",))
def cannot_overfit(evidence: Evidence) -> list[Finding]:
    """One batch cannot be memorised.

    Fires: after 50 or more steps on one batch the loss is above half of its first value; or, where the loss is plain
        cross-entropy, at least 0.9 of the entropy of the batch's labels.
    Why: a net with more parameters than the batch has labels can memorise it. The entropy of the labels is what a net reaches
        that ignores the image and only learns the class frequencies.
    What fools it: equal images with different labels, a net that starts far below chance, and too few steps at too small a rate
        to learn anything.
    Fix: look at the other findings; if there is none, check that loss_fn uses the model's output and the labels.
    Source: Karpathy, A Recipe for Training Neural Networks, 2019; TheDeepChecker, TOSEM 2022; own thresholds.
    """
    probe = evidence.probe
    if probe is None or probe.overfit_loss is None or (probe.overfit_steps or 0) < 50:
        return []
    # A loss other than cross-entropy (halved, summed) has another floor.
    is_plain = probe.cross_entropy is not None and math.isclose(probe.loss, probe.cross_entropy, rel_tol=0.01)
    blind = 0.9 * probe.label_entropy if is_plain and probe.label_entropy else 0.0
    if probe.overfit_loss <= 0.5 * probe.loss and not (blind and probe.overfit_loss >= blind):
        return []
    return [
        Finding(
            rule="cannot_overfit",
            severity="warning",
            seen=f"after {probe.overfit_steps} steps on one batch the loss is {probe.overfit_loss:.3f}, from {probe.loss:.3f}",
            measurements=(
                Measurement(name="loss after overfitting", value=probe.overfit_loss, unit="nats", threshold=0.5 * probe.loss),
                Measurement(name="loss of a net that ignores the image", value=probe.label_entropy or math.nan, unit="nats"),
            ),
            cause="no learnable path from input to loss, or labels that contradict each other",
            remedy="look at the findings above; if there are none, check that loss_fn uses the model's output and the labels",
            source="TheDeepChecker, TOSEM 2022",
        )
    ]


@rule(
    severities=("warning", "hint"),
    explains=("activation_scale", "plateau", "prediction_collapse", "constant_as_good", "cannot_overfit", "update_ratio"),
    predicts=True,
)
def constant_output(evidence: Evidence) -> list[Finding]:
    """Every example gets the same logits: the output does not depend on the input.

    Fires: the standard deviation of a logit over the batch is below 1e-3 of the logits' rms. A hint under an optimizer that
        divides by the gradient's own size, such as Adam, unless outputs differ by less than 1e-5 of their size throughout a
        rehearsal of 50 steps and a tenth of the plan, and hidden biases start at zero or a run of 100 steps has not learned
        either. Code `mask`: such a rehearsal, where an attention's output is zero at the start. Code `norm`: at the first step
        a normalisation's output is below 1e-3 of its scale, because its input is constant over what it normalises; or a layer's
        input is a mean taken directly of a normalisation's output, the same for every example to 1e-5, and so is the model's
        output.
    Why: healthy deep ReLU nets show 0.1 or more. Below 1e-3 the gradient is almost the same for every example, and all that SGD
        can learn is the class frequencies. A single number minus its own mean is zero, and so is a constant.
    What fools it: a batch of almost equal inputs, and a last bias that is large on purpose.
    Fix: start biases at zero and weights with std sqrt(2 / fan_in); check that the input is not constant; normalise over
        several numbers (fewer groups, another place, LayerNorm).
    Source: Wardat et al., DeepDiagnosis, ICSE 2022; own threshold.
    """
    if (pooled := reading.facts(evidence).pooled_norm) is not None and not reading.has_learned(evidence):
        return [_pooled(*pooled)]
    if emptied := reading.emptied_norms(evidence):
        return [_emptied(emptied)]
    probe = evidence.probe
    if probe is None or probe.logit_spread is None or not probe.logit_rms or probe.batch_size < 2:
        return []
    share = probe.logit_spread / probe.logit_rms
    if not share < 1e-3:
        return []
    masked = [s for s in probe.layers if attends_to_nothing(evidence, s)] if outputs_stay_alike(evidence) else []
    stays = bool(masked) or constant_for_good(evidence)
    return [
        Finding(
            rule="constant_output",
            code="constant_output.mask" if masked else "constant_output",
            severity="hint" if reading.is_adaptive(evidence) and not stays else "warning",
            seen=f"logits differ between examples by {share:.1e} of their size"
            + (", before and after the rehearsed steps" if stays else ""),
            measurements=(Measurement(name="spread over examples / rms", value=share, threshold=1e-3),),
            cause=f"{reading.called(masked[0])} outputs zeros: it may attend to padding only"
            if masked
            else "biases drown a signal that the layers have shrunk, or the input is constant",
            remedy=inverted_mask(masked[0].name) if masked else drawn_for_signal(evidence, probe.layers),
            source="DeepDiagnosis, ICSE 2022; own threshold",
            layers=reading.names(masked),
            explains=("untrained_parameter",) if stays else (),
        )
    ]


def _pooled(layer: str, norm: str) -> Finding:
    """InstanceNorm before a global average pool."""
    called = as_code(norm) if norm else "a normalisation"
    return Finding(
        rule="constant_output",
        code="constant_output.norm",
        severity="warning",
        seen=f"the input of {as_code(layer)} is a mean over the output of {called}: it is the same for every example, and so "
        "is the model's output",
        measurements=(Measurement(name="spread over examples", value=0.0, threshold=0.0),),
        cause=f"{called} normalises each example to mean zero over the same places that the mean is taken over",
        remedy="normalise over the features of each place (LayerNorm; dim=-1 where it is written by hand), or over the batch "
        f"or several channels (BatchNorm, GroupNorm), and not with {called}; or torch.nn.ReLU() between it and the pooling",
        source="own; Ulyanov, Vedaldi and Lempitsky, Instance Normalization, arXiv 1607.08022, eq. (3)",
        layers=(layer,),
        explains=("vanishing_gradient", "untrained_parameter"),
    )


def _emptied(norms: list[LayerStats]) -> Finding:
    share = (norms[0].activation_rms or 0.0) / (norms[0].weight_rms or 1.0)
    return Finding(
        rule="constant_output",
        code="constant_output.norm",
        severity="warning",
        seen=f"the output of {reading.called(norms[0])} is {share:.1g} of its scale: its input is constant, or a single number",
        measurements=(Measurement(name="output over scale", value=share, threshold=reading.EMPTIED),),
        cause="a normalisation subtracts the mean from a single number, or from equal ones, and nothing is left",
        remedy=f"let {as_code(norms[0].name)} normalise over several numbers: fewer groups, LayerNorm, or place it before the "
        "pooling",
        source="own; Wu and He, Group Normalization, ECCV 2018, eq. (1)-(2)",
        layers=reading.names(norms),
    )


@rule(severities=("warning",))
def collapsed_output(evidence: Evidence) -> list[Finding]:
    """Training makes the outputs of all examples equal.

    Fires: in 50 rehearsed steps or more, under an unknown loss, the standard deviation of the outputs over the examples of a
        fixed batch falls below a tenth of its initial value and below a fifth of the outputs' rms, and the loss falls below a
        tenth. Code `pulled`: the loss is a function of the products of all pairs, pulls some pairs together from both sides and
        pushes none apart, whether near each other or not, and is as low with one output for all as with any other; also for the
        outputs of a step's parts, where an encoder and a predictor are called separately.
    Why: a loss whose minimum is reached when all outputs are the same falls to it without learning anything: pairs that are
        only pulled together, or a target that the model makes itself. Of 66 sound programs, none had a spread below three
        tenths.
    What fools it: targets that hardly differ between examples, under a loss that is not recognised.
    Fix: a smaller weight for a penalty that a constant minimises; or a term that keeps unlike examples apart (negative pairs, a
        margin, a variance term), or a target that the model does not make itself (detach it).
    Source: Hadsell, Chopra and LeCun, Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006, section 2; own
        limits.
    """
    forces = reading.facts(evidence).pair_forces
    pulls_only = forces is not None and not forces.num_pushed and forces.same_is_lowest
    if forces is not None and pulls_only and forces.num_mutual >= forces.num_examples / 4:
        return [_pulled_only(forces)]
    rehearsal = evidence.rehearsal
    seen = rehearsal.reference if rehearsal is not None else ()
    if rehearsal is None or rehearsal.opposed or rehearsal.task.kind != "unknown" or len(rehearsal.steps) < 50 or len(seen) < 2:
        return []
    first, last = seen[0], seen[-1]
    if not first.output_spread or last.output_spread is None or not last.output_rms:
        return []
    share = last.output_spread / first.output_spread
    # Outputs under another loss separate again: a codebook is first used at one entry only.
    if share >= COLLAPSED or last.output_spread >= 0.2 * last.output_rms or not 0 <= last.loss < COLLAPSED * first.loss:
        return []
    return [
        Finding(
            rule="collapsed_output",
            severity="warning",
            seen=f"after {last.step} steps outputs differ between examples by {share:.1g} of their initial spread; the loss "
            f"went from {first.loss:.3g} to {last.loss:.3g}",
            measurements=(Measurement(name="spread of the outputs now over at the start", value=share, threshold=COLLAPSED),),
            cause="the loss is lowest where all outputs are the same",
            remedy="a smaller weight for the term that a constant output minimises (a penalty on codes or weights: its mean, "
            "not its sum); for pairs, keep unlike examples apart (negative pairs, a margin), or detach a target that the "
            "model makes itself",
            source="Hadsell, Chopra and LeCun, CVPR 2006, section 2; own limits",
        )
    ]


def _pulled_only(forces: PairForces) -> Finding:
    return Finding(
        rule="collapsed_output",
        code="collapsed_output.pulled",
        severity="warning",
        seen=f"the loss pulls {forces.num_mutual} pairs of outputs together from both sides, and pushes none apart",
        measurements=(
            Measurement(name="pairs pulled together", value=float(forces.num_pulled)),
            Measurement(name="pairs pushed apart", value=float(forces.num_pushed), threshold=1.0),
        ),
        cause="the loss is lowest where all outputs are the same",
        remedy="with labels, push unlike examples apart: if the loss takes their least distance, dist.masked_fill(same, "
        "float('inf')).min(dim=1), not dist * ~same, whose least value is always 0; without labels, detach() the side that is "
        "the target, as SimSiam and BYOL do",
        source="Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021, section 4.1",
    )
