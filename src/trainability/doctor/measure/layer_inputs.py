"""What goes into a model's layers: one constant, one word, a column that drowns the others."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from trainability.doctor.batches import first_tensor
from trainability.doctor.graph_facts import LoneWord, MisreadHeads
from trainability.doctor.measure import statistics
from trainability.doctor.measure.backward_ends import BackwardEnds
from trainability.doctor.measure.columns import RECURRENT, is_one_word, lone_word, loud_column
from trainability.doctor.measure.empty_ends import EmptyEnds
from trainability.doctor.measure.featureless import answers_differ, has_edges
from trainability.doctor.measure.hidden_words import HiddenWords
from trainability.doctor.measure.misread_places import viewed_input, viewed_steps
from trainability.doctor.measure.pooled import PooledNorms
from trainability.doctor.measure.shrunk_input import shrunk_input
from trainability.doctor.readings import ShrunkInput

_LARGE = 10.0  # of inputs of a layer
SEGMENTS = 8  # rows of a table of kinds, of which a batch may hold one
_FEWEST_PLACES = 64  # numbers of an input that is zero everywhere
_FEWEST_STEPS = _FEWEST_LENGTHS = 3

_MOSTLY, _FADED = 0.5, 1e-4  # share of the steps; of the gradient of the recurrent weights


class LayerInputs:
    """Looks at the first argument of layers with weights, as they are called.

    Args:
        batch: tensors of the batch by their place, of which a column of a layer's input may be one.

    Attributes:
        pooled: looks for means over what a normalisation made.
        hidden: looks for attention that hides the words.
        empty: looks for padding that is taken for the end of packed sequences.
        backward: looks for the backward direction of recurrent layers, of which the first step alone is kept.
        viewed: the batch itself, as a view gives it to a layer, with its sizes swapped; None if no layer is given that.
        reads_unbatched: a recurrent layer is given (steps, features), a sequence without a dimension for examples.
        shrunk: the first layer is given data that the model has scaled down to next to nothing; None if it is not.
        columns: layers that are given one column, one number for all examples, and how many these are.
        lengths: by recurrent or attention layer without batch_first, the first two sizes of its input.
    """

    def __init__(self, batch: list[tuple[str, Tensor]]) -> None:
        self.batch = batch
        self.pooled, self.hidden, self.empty, self.backward = PooledNorms(), HiddenWords(), EmptyEnds(), BackwardEnds()
        self.lengths: dict[str, tuple[int, int]] = {}
        self.viewed: MisreadHeads | None = None
        self._steps: dict[str, int] = {}
        self._loud: tuple[str, int, float] | None = None
        self.shrunk: ShrunkInput | None = None
        self._zeros: dict[str, bool] = {}
        self._constant: dict[str, bool] = {}
        self._falling: tuple[str, float] | None = None
        self.columns: dict[str, int] = {}
        self._of_nodes: set[str] = set()
        self._are_scaled: list[bool] = []
        self._largest = 0.0
        self.reads_unbatched = False
        self._lone: dict[str, LoneWord | None] = {}
        self._places: dict[str, int] = {}
        self._padded: dict[str, float] = {}

    def see(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Look at what a layer is about to be called with."""
        self.pooled.see(name, module, args)
        self.hidden.see(module, args, kwargs, self.batch)
        if isinstance(module, RECURRENT):
            self._steps[name] = self._steps.get(name, 0) + self._num_steps(module, args)
        own = any(p.dim() > 1 for p in module.parameters(recurse=False))
        # A recurrent layer that is given a state may write from that alone, and be fed zeros on purpose.
        has_state = isinstance(module, RECURRENT) and (len(args) > 1 or bool(kwargs))
        if not args or not own:
            return
        given = args[0].data if isinstance(args[0], PackedSequence) else args[0]
        if isinstance(given, Tensor) and not statistics.has_values(given):  # inside of torch.func
            return
        if isinstance(module, nn.EmbeddingBag) and self._falling is None:
            self._falling = _falling_offsets(name, kwargs.get("offsets", args[1] if len(args) > 1 else None))
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
            is_large = module.num_embeddings > SEGMENTS and isinstance(given, Tensor)
            alone = is_large and (is_one_word(given) or self._is_one_place(name, given, module.num_embeddings))
            self._constant[name] = self._constant.get(name, True) and alone
            if is_large and isinstance(given, Tensor) and self._lone.get(name, is_large):
                self._lone[name] = lone_word(name, given.detach(), module.num_embeddings)
            return
        # A network that has weights beside its layers need not multiply its own input with them.
        is_layer = not any(p.dim() > 1 for child in module.children() for p in child.parameters())
        if is_layer and isinstance(given, Tensor) and given.is_floating_point() and given.numel() > 1:
            self._note_scale(name, given)
        self.reads_unbatched |= isinstance(module, nn.RNNBase) and isinstance(args[0], Tensor) and args[0].dim() == 2
        sequential = isinstance(module, (nn.RNNBase, nn.MultiheadAttention)) and not module.batch_first
        if sequential and isinstance(given, Tensor) and given.dim() == 3:
            self.lengths[name] = (given.shape[0], given.shape[1])
        if isinstance(module, nn.Linear) and self._loud is None and isinstance(given, Tensor):
            self._loud = loud_column(name, given, self.batch)
        is_column = isinstance(given, Tensor) and given.is_floating_point() and given.dim() == 2 and given.shape[1] == 1
        if is_column and len(given) > 1 and not given.requires_grad and bool(given.amin() == given.amax()):
            self.columns[name] = len(given)
        if isinstance(given, Tensor) and given.is_floating_point() and given.dim() > 1 and given[0].numel() > 1:
            plain = given.detach()
            whole = [t for _, t in self.batch]
            self.viewed = self.viewed or (viewed_steps(whole, plain) if sequential else viewed_input(whole, plain))
            if isinstance(module, nn.RNNBase) and plain.dim() == 3 and name not in self._padded:
                self._padded[name] = _padded_share(plain if module.batch_first else plain.transpose(0, 1))
            # What frozen layers make of the data may be one number, such as a closed gate; another frozen layer needs none.
            own_parameters = list(module.parameters())  # of a parametrisation, too; a sharded layer may have none
            is_trained = not own_parameters or any(p.requires_grad for p in own_parameters)
            constant = is_trained and not given.requires_grad and bool(plain.amin() == plain.amax())
            if has_state:
                self._zeros[name] = self._zeros.get(name, True) and constant and not bool(plain.any())
                return
            self._constant[name] = self._constant.get(name, True) and constant
            if constant and has_edges(plain, (t for _, t in self.batch)):
                self._of_nodes.add(name)

    def left(self, name: str, module: nn.Module, args: Any, output: Any, *, is_outer: bool) -> None:
        """Look at what a layer returned, or the model, or a part that the loop calls by itself."""
        with contextlib.suppress(Exception):  # one fact less
            self.backward.see(name, module, args, output)
            self.empty.see(name, module, args, output)
            if is_outer:
                self.empty.answered(output)

    def _note_scale(self, name: str, given: Tensor) -> None:
        """Note how large a layer's input is; and whether one that no layer has made is near mean 0 and deviation 1.

        What the first layer is given may still have a gradient: of frequencies that are learned, or of the input itself.
        """
        values = given.detach().float()
        mean, std = float(values.mean()), float(values.std())
        is_first = not self._largest
        if is_first:
            self.shrunk = shrunk_input(name, given, self.batch)
        self._largest = max(self._largest, math.hypot(mean, std))
        if is_first or not given.requires_grad:
            if values.dim() == 4:  # images: channels apart from each other tell no example from another
                std = float(values.transpose(0, 1).flatten(1).std(dim=1).mean())
            self._are_scaled.append(abs(mean) <= 3 and 0.05 <= std <= _LARGE)

    def reads_one_sequence(self, inputs: Iterable[Any]) -> bool:
        """Whether a recurrent layer takes the rows that the model is given for the steps of one sequence.

        Args:
            inputs: of the model. The layer is given (rows, features), or (rows, 1, features) without batch_first.
        """
        rows = next((len(x) for x in inputs if isinstance(x, Tensor) and x.dim() > 0), None)
        return self.reads_unbatched or any(lengths == (rows, 1) for lengths in self.lengths.values())

    def _is_one_place(self, name: str, given: Tensor, rows: int) -> bool:
        """Whether numbers along a sequence, the same for all examples, are one number, and the same one in every call.

        As many as the batch has examples may be a stage, a time or a class of each.
        """
        if given.dim() != 1 or given.is_floating_point() or not _FEWEST_STEPS <= len(given) <= rows:
            return False
        lengths = {length for _, t in self.batch if t.dim() > 1 for length in t.shape[1:]}
        if len(given) not in lengths or any(t.dim() > 0 and len(t) == len(given) for _, t in self.batch):
            return False
        low, high = (int(x) for x in given.aminmax())
        return low == high == self._places.setdefault(name, low)

    def _num_steps(self, module: nn.Module, args: Any) -> int:
        """Steps that a call should take: one of a cell; of packed sequences as many as the batch has."""
        if isinstance(module, nn.RNNCellBase):
            return 1
        packed = args[0] if args and isinstance(args[0], PackedSequence) else None
        examples = int(packed.batch_sizes[0]) if packed is not None else 0
        return max((t.shape[1] for _, t in self.batch if t.dim() > 1 and len(t) == examples), default=0)

    def stateless(self, zero_gradient: Iterable[str]) -> tuple[str, ...]:
        """Recurrent layers that should take three steps and more, and whose recurrent weights have no gradient but zero.

        Args:
            zero_gradient: names of parameters whose gradient is exactly zero: what a state of zeros makes of such weights.
        """
        zero = set(zero_gradient)
        several = (name for name, steps in self._steps.items() if steps >= _FEWEST_STEPS)
        return tuple(
            name
            for name in several
            if any(p.startswith(f"{name}.weight_hh") for p in zero) and not any(p.startswith(f"{name}.weight_ih") for p in zero)
        )

    def padded(self, model: nn.Module) -> tuple[str, float] | None:
        """A recurrent layer whose sequences end in padding, and to which nothing comes back at any of their words.

        Args:
            model: with its gradients. Padding of zeros adds nothing to that of a layer's first weights, so these have next to
                none where the gradient has faded before it reaches a word.

        Returns:
            The layer, and the share of the steps that are padding in half of the sequences, a half and more.
        """
        for name, share in self._padded.items():
            layer = model.get_submodule(name)
            first, recurrent = (getattr(layer, f"weight_{part}_l0").grad for part in ("ih", "hh"))
            if share >= _MOSTLY and first is not None and recurrent is not None:
                size = float(recurrent.float().abs().amax())
                if 0 < size < math.inf and float(first.float().abs().amax()) <= _FADED * size:
                    return name, share
        return None

    def facts(self, answer: Any, inputs: Iterable[Any] = ()) -> dict[str, Any]:
        """Fields of `Facts`.

        Args:
            answer: what the model returned. Nodes of a graph may all be given one number: then what differs is who is joined.
            inputs: what the model was given.
        """
        meant = self._of_nodes if answers_differ(answer) else set()
        return {
            "featureless": bool(meant),
            "scaled_inside": bool(self._are_scaled) and all(self._are_scaled) and self._largest <= _LARGE,
            "zeros_for_answers": zeros_for_answers(answer, inputs),
            "zeros_beside_state": tuple(name for name, zeros in self._zeros.items() if zeros),
            "loud_column": self._loud,
            "pooled_norm": self.pooled.found,
            "unread_words": "hidden" if self.hidden.found else None,
            "falling_offsets": self._falling,
            "lone_word": next(filter(None, self._lone.values()), None),
            "constant_inputs": tuple(name for name, constant in self._constant.items() if constant and name not in meant),
        }


def _falling_offsets(name: str, offsets: Any) -> tuple[str, float] | None:
    """The share of the places at which bags begin that lie before the place before."""
    if not isinstance(offsets, Tensor) or offsets.dim() != 1 or len(offsets) < 2:
        return None
    share = float((offsets[1:] < offsets[:-1]).float().mean())
    return (name, share) if share > 0 else None


def _padded_share(given: Tensor) -> float:
    """Share of the steps (batch, time, features) that are the zeros at a sequence's end, in the middle one of the sequences."""
    if given.shape[1] < _FEWEST_STEPS or not bool((given[:, -1] == 0).all()):
        return 0.0
    words = (given != 0).any(dim=2)
    behind = (words.flip(1).cumsum(dim=1) == 0).sum(dim=1)
    # After a silence that is as long for all, what was before is to be remembered.
    return float(behind.float().median()) / given.shape[1] if len(behind.unique()) >= _FEWEST_LENGTHS else 0.0


def zeros_for_answers(answer: Any, inputs: Iterable[Any]) -> int | None:
    """Find an input of the model that has the shape of its answers, a number for each place of a sequence, and holds zeros.

    Args:
        answer: what the model returned.
        inputs: what it was given, one of which differs from place to place.

    Returns:
        Which of the inputs it is, from 0 on; None if there is none. Answers so far are fed in this way, shifted by a step.
    """
    made = first_tensor(answer)
    given = {k: x for k, x in enumerate(inputs) if isinstance(x, Tensor) and statistics.is_readable(x)}
    shape = _without_last_one(made) if made is not None else ()
    if len(shape) < 2 or not any(bool((x != x.flatten()[:1]).any()) for x in given.values()):
        return None
    fitting = (k for k, x in given.items() if x.numel() >= _FEWEST_PLACES and _without_last_one(x) == shape)
    return next((k for k in fitting if not given[k].requires_grad and not bool(given[k].any())), None)


def _without_last_one(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape[:-1] if x.dim() > 1 and x.shape[-1] == 1 else x.shape)
