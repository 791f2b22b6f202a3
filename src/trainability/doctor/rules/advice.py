"""Remedies after experiments: the confirmed change, with its figures, and nothing that was refuted. No rule."""

from dataclasses import replace

from trainability.doctor.evidence import Evidence
from trainability.doctor.experimented import JOINT, Arm, Experiments, written
from trainability.doctor.finding import Finding
from trainability.doctor.rate_choice import own_rate, settings_of
from trainability.doctor.tested import arms_of

# Learning rates that are tried, as factors of the loop's own.
_RATES = {"rate_tenth": 0.1, "rate_hundredth": 0.01, "rate_ten": 10.0, "rate_hundred": 100.0, "rate_thousand": 1000.0}
# Changes as a line of code, where the words do not say how to write it.
_CODE = {
    "odd_weights": "torch.nn.init.kaiming_normal_(layer.weight) in the layers whose weights start far from it",
    "he": "torch.nn.init.kaiming_normal_(layer.weight) in every layer",
    "xavier": "torch.nn.init.xavier_normal_(layer.weight) in every layer",
    "default_weights": "layer.reset_parameters() in every layer, instead of your own initialisation",
    "biases_zero": "torch.nn.init.zeros_(layer.bias) in every layer",
    "clip_on": "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1) between backward and step",
    "clip_off": "leave out the clipping of gradients",
    "zero_grad": "optimizer.zero_grad() before each loss.backward()",
    "train_mode": "model.train() at the start of each epoch",
    "relu": "torch.nn.ReLU() in place of the saturating activations",
    "rate_held": "leave out the scheduler, or stretch it to the length of the run",
    "shuffled": "DataLoader(..., shuffle=True)",
}
# Changes that show the cause, where a rule advises less than that, or something else: a usual weight decay instead of none.
_SHOW_THE_CAUSE = ("decay_off", "dropout_off", "leaky_relu")


def advised(findings: list[Finding], evidence: Evidence) -> list[Finding]:
    """Put the confirmed change into the remedy of a confirmed finding, and take the advice out of a refuted one.

    Args:
        findings: with their outcomes.
        evidence: with the experiments.
    """
    experiments = evidence.experiments
    return findings if experiments is None else [replace(f, remedy=_remedy(f, evidence, experiments)) for f in findings]


def _remedy(finding: Finding, evidence: Evidence, experiments: Experiments) -> str:
    outcome = finding.tested.outcome if finding.tested is not None else "not tested"
    fixing = next((arm for arm in arms_of(finding, experiments) if arm.outcome == "trains"), None)
    if outcome == "confirmed" and fixing is not None:
        unchanged = experiments.unchanged
        ends = f"loss {written(fixing.first_loss)} to {written(fixing.loss)} in {fixing.steps:,} steps"
        as_it_is = f", as it is to {written(unchanged.loss_at(fixing.steps))}" if unchanged is not None else ""
        said = _said(fixing, finding, evidence)
        if fixing.name in _SHOW_THE_CAUSE and said != fixing.change:
            return f"{fixing.change} ({ends}{as_it_is}); or, not tested: {said}"
        return f"{said} (with {fixing.change}: {ends}{as_it_is})"
    if outcome == "refuted" and experiments.confirmed:
        return f"nothing: this change was tried and does not help; {experiments.confirmed[0].change} does"
    return finding.remedy


def _said(arm: Arm, finding: Finding, evidence: Evidence) -> str:
    """The change as code: for rates, the number to set; where the rule is more exact, the rule's own remedy."""
    parts = arm.name.split(JOINT)
    if parts == ["recommended_weights"]:
        return f'trainability.init_(model, "{arm.change.rpartition(" ")[2]}", seed=0)'
    if parts == ["rate_measured"]:
        return _rate(evidence, float(arm.change.removeprefix("learning rate times ").partition(", as")[0].replace(",", "")))
    if len(parts) == 1 and parts[0] not in _RATES and parts[0] not in _CODE and finding.remedy != arm.change:
        return finding.remedy
    if all(part in _RATES or part in _CODE for part in parts):
        return " and ".join(_rate(evidence, _RATES[part]) if part in _RATES else _CODE[part] for part in parts)
    return arm.change


def _rate(evidence: Evidence, scale: float) -> str:
    own, settings = own_rate(evidence), settings_of(evidence)
    if own is None or settings is None:
        return f"the learning rate times {scale:g}"
    return f"{settings.name}(..., lr={own * scale:.3g}) in place of {own:g}"
