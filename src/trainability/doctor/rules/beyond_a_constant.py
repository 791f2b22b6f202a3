"""What to change in a run that costs as much as one answer for every example. No rule."""

import math

from trainability.doctor import reading
from trainability.doctor.best_constant import standing
from trainability.doctor.evidence import Evidence
from trainability.doctor.rules.where_to_look import ONE_BATCH, ONE_BATCH_ALONE, SMALLER_TERMS

_MOSTLY_ONE = 0.4  # of chance level: the cost of the class frequencies where one class of four has nine tenths


def beyond_a_constant(evidence: Evidence) -> str:
    """What to change; without targets, under an unknown loss, the weight of its other terms."""
    facts, tried = evidence.facts, evidence.rehearsal
    alone = facts is not None and facts.num_gradients and not facts.target_shape
    if alone and tried is not None and tried.constant_loss is not None and not tried.opposed:
        return SMALLER_TERMS
    at = standing(evidence)
    if at is not None and at.name == "the mean of the inputs":  # which are their own targets
        return f"{SMALLER_TERMS}; where there are none, {ONE_BATCH_ALONE}; then learning rate and initialisation"
    return f"{ONE_BATCH}; then learning rate and initialisation"


def rare_classes(evidence: Evidence) -> str | None:
    """How to weight the rare classes of a run at the cost of the class frequencies, where almost all examples are of one."""
    at, graph = standing(evidence), reading.facts(evidence).graph
    classes = evidence.num_classes or (graph.num_outputs if graph is not None else None)
    if at is not None and at.is_of_marks:
        classes, weighted = 2, "torch.nn.BCEWithLogitsLoss(pos_weight=negatives / positives)"
    else:
        weighted = "torch.nn.CrossEntropyLoss(weight=1 / share of each class)"
    if at is None or at.code != "frequencies" or not classes or at.cost >= _MOSTLY_ONE * math.log(max(classes, 2)):
        return None
    return f"weight the rare ones more, {weighted}, and look at errors per class"
