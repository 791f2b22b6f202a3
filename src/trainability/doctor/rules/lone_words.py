"""Tables in which nearly every word is one and the same, as where a vocabulary does not know them. No rule."""

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
