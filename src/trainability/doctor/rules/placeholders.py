"""Inputs that hold a constant where data should be: what each is, and what to pass in its place."""

from trainability.doctor import reading
from trainability.doctor.best_constant import standing
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement

HALF = 0.5  # of what the best constant answer costs, below which a loss is on its way


def in_place_of_a_constant(name: str) -> str:
    """What a layer whose input is one constant should be given."""
    if "decoder" in name.lower():
        return (
            f"give {name} the target shifted by one, torch.cat([start, target[:, :-1]], dim=1), where start is one step of "
            "zeros or the last known one, embedded and with positions as the encoder's input is; and predict step by step, "
            "with each prediction appended to that input. Or, to predict all steps at once, give it an embedding of the "
            "positions that are asked for, in training and in prediction"
        )
    return (
        f"pass the data of the batch to {name or 'the model'} instead of that constant; for positions in a sequence, "
        "torch.arange(length); for a decoder, the target shifted by one, torch.cat([start, target[:, :-1]], dim=1); for words, "
        "check their indices and the vocabulary; for a graph whose nodes have no features, their degrees, or a sum over "
        "neighbours instead of a mean"
    )


def counted(condition: tuple[str, float] | None) -> list[Finding]:
    """The batch size instead of a stage, a time or a class of each example."""
    if condition is None:
        return []
    name, number = condition
    return [
        Finding(
            rule="constant_input",
            code="constant_input.counted",
            severity="warning",
            seen=f"input {name} of the model is {number:.4g} for every example, and is proportional to the batch size",
            measurements=(Measurement(name="different numbers", value=1.0, threshold=1.0),),
            cause="the number of examples is passed instead of a number for each example, and says nothing about any of them",
            remedy="a number for each example: torch.randint(stages, (len(x),)) instead of torch.full((len(x),), len(x))",
            source="own; tested with fewer examples",
        )
    ]


def one_class(asked: tuple[str, int] | None) -> list[Finding]:
    """A generator that is given one class, whatever the batch holds."""
    if asked is None:
        return []
    name, number = asked
    return [
        Finding(
            rule="constant_input",
            code="constant_input.class",
            severity="warning",
            seen=f"{name} gets class {number} for every example, while another model gets the batch's classes, which differ",
            measurements=(Measurement(name="different classes", value=1.0, threshold=1.0),),
            cause="the requested class is constant in the loop: no other class is ever generated, or judged as generated",
            remedy=f"pass the batch's classes, or torch.randint(classes, (len(x),)), to {name}, and the same classes to the "
            "other model for the generated examples",
            source="Mirza and Osindero, Conditional Generative Adversarial Nets, 2014, section 3.1; read off the calls",
            layers=(name,),
        )
    ]


def one_row(names: tuple[str, ...]) -> list[Finding]:
    """Noise that is drawn once for a whole batch."""
    if not names:
        return []
    called = names[0] or "the model"
    return [
        Finding(
            rule="constant_input",
            code="constant_input.row",
            severity="warning",
            seen=f"all rows of the input of {called} are equal, and so are all its outputs",
            measurements=(Measurement(name="different rows", value=1.0, threshold=1.0),),
            cause="one row is drawn or computed, and repeated or expanded over the batch",
            remedy="draw a row for each example: torch.randn(batch_size, width) instead of torch.randn(1, width).expand(...)",
            source="own; rows compared",
            layers=names,
        )
    ]


def one_number(evidence: Evidence) -> list[Finding]:
    """The whole first batch of a watched loop holds one number."""
    facts = reading.facts(evidence)
    looked = evidence.data is not None or evidence.probe is not None
    if facts.input_std != 0.0 or facts.input_mean is None or looked or facts.featureless:
        return []
    return [
        Finding(
            rule="constant_input",
            severity="warning",
            seen=f"every number of the model's first input is {facts.input_mean:.3g}",
            measurements=(Measurement(name="standard deviation of the input", value=0.0, threshold=0.0),),
            cause="a placeholder, such as zeros instead of randn, is passed instead of data or noise",
            remedy="pass the data of the batch to the model, or newly drawn numbers (torch.randn)",
            source="own",
        )
    ]


def fed_zeros(evidence: Evidence) -> list[Finding]:
    """A decoder that is fed zeros beside a state, or beside other inputs: it may be intended, and then it has learned."""
    facts, at = reading.facts(evidence), standing(evidence)
    if not facts.zeros_beside_state and facts.zeros_for_answers is None:
        return []
    name = facts.zeros_beside_state[0] if facts.zeros_beside_state else None
    given = name or "the model"
    seen = f"{given} is given a state, and zeros at every position of its input"
    if name is None:
        seen = (
            f"input {(facts.zeros_for_answers or 0) + 1} of the model has the shape of its answers, and is zero at every place"
        )
    stays_above = reading.stays_above_half(evidence) or (at is not None and at.loss > HALF * at.cost)
    return [
        Finding(
            rule="constant_input",
            code="constant_input.zeros",
            severity="warning" if stays_above else "hint",
            seen=seen,
            measurements=(
                Measurement(name="inputs of zeros", value=float(max(len(facts.zeros_beside_state), 1)), threshold=0.0),
            ),
            cause="a placeholder, such as zeros_like, is passed instead of the data; or the data were written into a copy, "
            "as by x[mask][:, 1:] = values",
            remedy=f"check the input of {given}; for a decoder, pass the target shifted by one",
            source="own",
            layers=facts.zeros_beside_state,
        )
    ]
