"""Weights that a loop keeps in order to put them back."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule


@rule(severities=("warning",))
def kept_state(evidence: Evidence) -> list[Finding]:
    """Kept weights are the model's own: `state_dict()` without a copy.

    Fires: in a loop followed by `run` or `follow`, where `load_state_dict` gets the model's own tensors for all of its
        parameters, an optimizer has made a step since `state_dict()` was called, and nothing has written to them since the last
        step.
    Why: the tensors of `state_dict()` share the memory of the parameters, and every step changes them. "The best weights" are
        therefore always the last ones; `dict(state)` and `state.copy()` copy the names only, and on the CPU `.cpu()` copies
        nothing.
    What fools it: weights that are kept in any other way, such as `best = model`.
    Fix: copy.deepcopy(model.state_dict()), or save it to a file.
    Source: PyTorch, tutorial "Saving and Loading Models"; own, addresses of the tensors.
    """
    steps = reading.facts(evidence).kept_state
    if steps is None:
        return []
    return [
        Finding(
            rule="kept_state",
            severity="warning",
            seen=f"load_state_dict() got the model's own tensors, {steps:,} {'step' if steps == 1 else 'steps'} after "
            "state_dict() returned them: it changed nothing",
            measurements=(Measurement(name="steps since the weights were to be kept", value=float(steps), threshold=0.0),),
            cause="state_dict() returns the parameters themselves and no copy, so what was kept has changed with every step",
            remedy="copy.deepcopy(model.state_dict()) where the weights are kept",
            source='PyTorch, "Saving and Loading Models"; own',
            explains=("evaluation_path",),
        )
    ]
