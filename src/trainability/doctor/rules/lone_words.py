"""Tables of words in which nearly every word is the same, and of positions that tell no place from another. No rule."""

from trainability.doctor import reading
from trainability.doctor.best_constant import comes_to_nothing
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.unrelated import is_related


def lone_word(evidence: Evidence) -> list[Finding]:
    """One word at most places: a warning only where nothing is learned of them, as silence and zeros are no mistake."""
    found = reading.facts(evidence).lone_word
    if found is None:
        return []
    relation = evidence.relation
    says_nothing = comes_to_nothing(evidence) or (relation is not None and not is_related(relation))
    return [
        Finding(
            rule="constant_input",
            code="constant_input.unknown",
            severity="warning" if says_nothing else "hint",
            seen=f"{100 * found.share:.0f} % of the words looked up in {found.layer} are number {found.word}, and only "
            f"{found.num_words} different ones are looked up, of {found.num_rows}",
            measurements=(Measurement(name="share of one word", value=found.share, threshold=0.5),),
            cause="most words are looked up as unknown: the vocabulary was built from text that was split, lowercased or "
            "cleaned in another way than the text that is looked up, or from other text",
            remedy="build the vocabulary with the function that splits the text for the model, and print how many words of "
            "ten examples are in it",
            source="own; numbers of words counted",
            layers=(found.layer,),
        )
    ]


def same_places(name: str | None) -> list[Finding]:
    """Positions that are the same at every place, or that are not added."""
    if name is None:
        return []
    return [
        Finding(
            rule="constant_input",
            code="constant_input.position",
            severity="warning",
            seen=f"the model holds {name}, but its answers stay the same when the places of its input are exchanged: attention "
            "sees no order",
            measurements=(Measurement(name="change of the answers", value=0.0, threshold=1e-4),),
            cause=f"every place is given the same row of {name}, such as pe[:, length] or pe[:batch_size], or none",
            remedy=f"give each step its own row: x + {name}[:x.shape[1]].transpose(0, 1) for a table of (steps, 1, features), "
            f"x + {name}[:, :x.shape[1]] for (1, steps, features), x + {name}[:x.shape[1]] for (steps, features)",
            source="Vaswani et al., Attention Is All You Need, 2017, section 3.5; places exchanged",
            layers=(name,),
        )
    ]
