"""Input that a model scales down before its first layer, until little is left of what tells examples apart."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from trainability.doctor.readings import ShrunkInput

_FAINT, _USUAL = 0.02, 0.05  # standard deviations: of what the layer is given, and of what the loader yields
_SCALED, _DIVIDED = 1.5, 1 / 200  # standard deviation that the loader yields at most; factor, as of bytes: 1 / 255
_FIT = 1e-2  # of the former: from a multiple of the input with a constant
_FEWEST = 16  # numbers


def shrunk_input(layer: str, given: Tensor, batch: Iterable[tuple[str, Tensor]]) -> ShrunkInput | None:
    """Compare what the first layer is given with the tensors of the batch.

    Args:
        layer: its name.
        given: its input, which no layer has made.
        batch: tensors by their place.

    Returns:
        The factor between the two, where the layer's input is a multiple of one of them, with a constant added or none, and
        its standard deviation is below 0.02, the other's 0.05 to 1.5, and the factor 1 / 200 or less; None else.
    """
    y = given.detach().double().flatten()
    if len(y) < _FEWEST or not float(y.std()) < _FAINT:
        return None
    for _, tensor in batch:
        if tensor.numel() != len(y) or tensor.dtype.is_complex or tensor.device != given.device:
            continue
        x = tensor.detach().double().flatten()
        spread = float(x.std())
        if not _USUAL <= spread <= _SCALED:
            continue
        centred, other = x - x.mean(), y - y.mean()
        factor = float(centred @ other) / float(centred @ centred)
        if float((other - factor * centred).std()) <= _FIT * float(other.std()) and 0 < factor <= _DIVIDED:
            return ShrunkInput(layer=layer, factor=factor, given=float(y.std()), loaded=spread)
    return None
