"""Sequences that go into a layer as amounts, and whose own values are what the loss asks for as classes."""

from __future__ import annotations

import torch
from torch import Tensor

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.named_values import follows_along, middle_ranks
from trainability.doctor.readings import AskedWords

_FEWEST_VALUES, _FEWEST_PAIRS, _FEWEST_PLACES = 10, 64, 4
_ALONG = 0.5  # rank correlation of neighbours: letters in alphabetical order have 0.3, pixels and sound 0.8 and more


def asked_words(seen: ForwardPass) -> AskedWords | None:
    """Compare the classes that a loss asks for with what the model is given, one place on.

    What a model is to tell as one class of many is a name, whatever its number: the letters of a text that is continued.
    Amounts may be asked for as classes as well, as grey levels or a sound are; neighbouring places then hold amounts of about
    the same size, and nothing is found.

    Args:
        seen: a pass with a batch of the loader, and its loss.

    Returns:
        Which tensor it is, and how many values it has, where each value of the next place goes with one class and each class
        with one value, ten or more of them. None else.
    """
    asked = seen.asked_as_classes()
    if asked is None:
        return None
    classes, sequences = asked
    for sequence, layer in sequences:
        given = sequence.detach().reshape(len(sequence), -1)
        count, length = given.shape
        if length < _FEWEST_PLACES:
            continue
        for wanted, own in _beside(classes, given, count, length):
            told = _names(own, wanted)
            if told is not None and not follows_along(middle_ranks(given), most=_ALONG):
                place = next(name for name, tensor in seen.batch if tensor is sequence)
                return AskedWords(num_values=told, num_pairs=own.numel(), place=place, layer=layer)
    return None


def _beside(classes: Tensor, given: Tensor, count: int, length: int) -> list[tuple[Tensor, Tensor]]:
    """The classes at each place, with the numbers at the next one; examples may lie along the second dimension of classes."""
    found = []
    for asked in (classes.reshape(count, -1), classes.reshape(-1, count).T) if classes.numel() % count == 0 else ():
        if asked.shape[1] == length:
            found.append((asked[:, :-1], given[:, 1:]))
        elif asked.shape[1] == length - 1:
            found.append((asked, given[:, 1:]))
    return found


def _names(own: Tensor, wanted: Tensor) -> int | None:
    """How many values there are, where each goes with one class only, and the other way round; None where they do not."""
    keeps = wanted >= 0  # others are left out of the loss
    own, wanted = own[keeps].double(), wanted[keeps].double()
    if own.numel() < _FEWEST_PAIRS:
        return None
    num_own, num_wanted = len(own.unique()), len(wanted.unique())
    pairs = len(torch.stack([own, wanted], dim=1).unique(dim=0))
    return num_own if num_own == num_wanted == pairs and num_own >= _FEWEST_VALUES else None
