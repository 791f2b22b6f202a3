"""Bags of words that begin at places which fall. No rule."""

from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement


def falling_offsets(facts: Facts) -> list[Finding]:
    """Lengths of texts, in the place of the places at which they begin."""
    if facts.falling_offsets is None:
        return []
    name, share = facts.falling_offsets
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.bags",
            severity="warning",
            seen=f"{name or 'the model'} is given offsets of which {100 * share:.0f} % are smaller than the one before: its "
            "bags are not the texts that the labels belong to",
            measurements=(Measurement(name="offsets smaller than the one before", value=share, threshold=0.0),),
            cause="the lengths of the texts are passed in place of the places at which they begin",
            remedy="offsets = torch.tensor([0] + lengths[:-1]).cumsum(dim=0)",
            source="PyTorch, torch.nn.EmbeddingBag: offsets are the starting places of the bags",
            layers=(name,) if name else (),
        )
    ]
