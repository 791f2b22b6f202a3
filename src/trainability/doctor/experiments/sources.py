"""Where variants come from: the batches that all of them get, and a copy of the program for each."""

import contextlib
import itertools
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from trainability.doctor.batches import batch_size, cloned, empty_line, ends, first_tensor, joined, tensors, to_device
from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import Evidence
from trainability.doctor.experiments.players import judge_of
from trainability.doctor.experiments.variant import Variant, look
from trainability.doctor.facts import Facts
from trainability.doctor.measure.constants import constant_and_own
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.loss_number import scalar
from trainability.doctor.measure.nested import modules, optimizers
from trainability.doctor.measure.put_back import put_back, variables_put_back
from trainability.doctor.measure.randomness import random_state, randomness_restored, seed_torch
from trainability.doctor.measure.uninterrupted import uninterrupted
from trainability.doctor.measure.uses import reaches, used_by
from trainability.doctor.measure.workspace import set_training
from trainability.doctor.rehearsed import Task
from trainability.doctor.setup import Setup
from trainability.doctor.tasks import chance_by_search, recognise

_REFERENCE_EXAMPLES, _REFERENCE_BATCHES = 192, 16
_MOST_BYTES = 256 * 2**20
_CONSTANT_BATCHES, _CONSTANT_SECONDS, _NARROW = 7, 3.0, 19
_SAME_MEAN = 0.05  # two batches of one mean are as near, and no sum and no loss that counts its examples
_LOWER = 1.1  # times the rehearsal's constant: more than most pairs of batches differ by


def kept_batches(loader: Any, most: int, seconds: float) -> tuple[list[Any], list[str]]:
    """The loader's first batches, copied, and what was left out for want of time or memory.

    Args:
        loader: read once, no further than its end.
        most: as many at most.
        seconds: about as long at most; one batch is always read.

    Raises:
        ValueError: there is no batch.
    """
    began, size, kept, notes = time.monotonic(), 0, [], []
    try:
        for batch in itertools.islice(loader, most):
            kept.append(cloned(batch))
            size += sum(tensor.numel() * tensor.element_size() for _, tensor in tensors(batch))
            if size > _MOST_BYTES or time.monotonic() - began > seconds:
                notes.append(f"batches: {len(kept)} were kept and are used in turn (memory, or time to read them)")
                break
    except Exception as error:
        if not kept:
            raise ValueError(f"the train loader failed at its first batch: {error_line(error)}") from error
        notes.append(f"batches: {len(kept)} are used in turn; the loader failed at the next ({error_line(error)})")
    if not kept:
        raise ValueError(empty_line(loader))
    return kept, notes


def reference_of(batches: Sequence[Any]) -> Any:
    """A fixed batch: examples from both ends of batches spread over all; the first batch where they cannot be joined."""
    count = min(len(batches), _REFERENCE_BATCHES)
    spread = [batches[place * len(batches) // count] for place in range(count)]
    each = max(2, math.ceil(_REFERENCE_EXAMPLES / len(spread)))
    whole = joined([part for batch in spread for part in ends(batch, each)]) if batch_size(batches[0]) is not None else None
    return cloned(batches[0] if whole is None else whole)


class ProgramFailed(Exception):
    """The program fails without a change, in one line."""


class Source:
    """Makes variants of one program.

    Attributes:
        setup: of the program.
        batches: that every variant gets.
        reference: fixed batch of some of their examples; the first batch where the program takes no other size.
        evaluates: whether variants are looked at in evaluation mode; in training mode where the loss exists only there.
        task: recognised; its `chance` is that of the reference.
        ideal: the lowest loss that unbounded outputs can reach.
        output: of the program on the reference, before the first step; None of several models.
        plays: whether several losses move different parts, as in a GAN: what one of them costs depends on the others' parts,
            and says nothing of how well the program trains.
        judge: then, how far what one of them makes is from the reference; None where none makes such.
        notes: what the variants differ in from the program.
    """

    def __init__(
        self, setup: Setup, evidence: Evidence, batches: list[Any], *, make: Callable[[], Setup] | None = None
    ) -> None:
        """Look at the program's outputs.

        Args:
            setup: of the program.
            evidence: what is known of it.
            batches: see `kept_batches`.
            make: makes the program anew; None where only copies can be made.

        Raises:
            ProgramFailed: no fixed batch and mode was found in which the loss can be computed.
        """
        self.setup, self.evidence, self.batches, self.make = setup, evidence, batches, make
        self.task, self.ideal, self.output = Task(), 0.0, None
        opponents = (evidence.facts or Facts()).opponents
        opposed = evidence.rehearsal is not None and evidence.rehearsal.opposed
        self.plays = opposed or opponents.separate_losses > 1
        self.judge: Callable[[Any, Any], Tensor] | None = None
        self.notes: list[str] = []
        errors: list[Exception] = []
        spread, first = reference_of(batches), cloned(batches[0])
        for self.reference, self.evaluates in ((spread, True), (first, True), (spread, False), (first, False)):
            try:
                with self.variant() as variant:
                    self._recognise(variant)
            except Exception as error:
                errors.append(error)
                continue
            if errors:
                mode = "evaluation" if self.evaluates else "training"
                batch = "the first batch" if self.reference is first else "the fixed batch"
                self._note(f"experiments: looked at on {batch} in {mode} mode, as elsewhere it fails ({error_line(errors[0])})")
            return
        raise ProgramFailed(f"its loss on a fixed batch fails: {error_line(errors[0])}") from errors[0]

    @contextlib.contextmanager
    def variant(self, seed: int = 0) -> Iterator[Variant]:
        """A variant without a change, in place where nothing else is possible; random state and all objects are put back.

        Args:
            seed: 0 is the program's own weights, order of batches and random numbers; others differ in the last two, and in
                the first where the program can be made anew. Then the order of a loader that does not shuffle stays.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(randomness_restored())
            setup = self.setup
            if seed:
                _seed_everything(seed)
                setup = self._made_anew() or setup
            reached = _reached(setup)
            objects = (setup.model, setup.optimizer, setup.scheduler)
            in_place = any(reaches(function, *objects) for function in (setup.step, setup.training_step, setup.loss_fn))
            if not in_place and setup is self.setup:
                try:
                    objects = copied(*objects)
                except ValueError as error:
                    self._note(
                        f"no copy could be made ({str(error).splitlines()[0]}); the program itself is stepped and put back"
                    )
                    in_place = True
            if setup is self.setup and in_place and (fresh := self._made_anew()) is not None:
                for old, new in zip(modules(objects[0]), modules(fresh.model), strict=True):
                    new.load_state_dict(old.state_dict())
                setup, objects = fresh, (fresh.model, fresh.optimizer, fresh.scheduler)
                reached = _reached(setup)
            foreign = setup is not self.setup
            own = {id(item) for item in (*modules(objects), *optimizers(objects))}
            guarded = reached if not in_place or foreign else (*reached, *objects)
            stack.enter_context(put_back(*guarded))
            stack.enter_context(variables_put_back(setup.step, setup.training_step, setup.loss_fn))
            closing = stack.enter_context(contextlib.ExitStack())
            try:
                yield Variant(
                    model=objects[0],
                    optimizer=objects[1],
                    scheduler=None if self._holds_schedule() else objects[2],
                    loss_fn=setup.loss,
                    training_step=setup.training_step,
                    step=setup.step,
                    clip=setup.clip,
                    batches=self.batches if setup is not self.setup and _is_in_order(setup) else _reordered(self.batches, seed),
                    reference=to_device(self.reference, _device(objects[0])),
                    judge=self.judge,
                    task=self.task,
                    output=self.output,
                    evidence=self.evidence,
                    seed=seed,
                    evaluates=self.evaluates,
                    others=tuple(item for item in reached if id(item) not in own),
                    in_place=in_place and not foreign,
                    closing=closing,
                )
            finally:
                with uninterrupted():
                    stack.close()

    def _holds_schedule(self) -> bool:
        """Whether the schedule may count epochs, so that the rehearsal did not step it."""
        return self.evidence.rehearsal is not None and self.evidence.rehearsal.schedule_held

    def _made_anew(self) -> Setup | None:
        """The program made again; None where that is not possible, or gives the same objects again."""
        if self.make is None:
            return None
        try:
            fresh = self.make()
        except Exception as error:
            self._note(f"the program could not be made a second time ({type(error).__name__})")
            return None
        same = {id(model) for model in modules(self.setup.model)} & {id(model) for model in modules(fresh.model)}
        return None if same else fresh

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _recognise(self, variant: Variant) -> None:
        if self.plays:
            self.judge = judge_of(variant)
            if self.judge is not None:
                self._note("loss: energy distance between what is generated and the batch, over that of the batch's mean")
            return
        loss, output = _looked_at(variant)
        self.output = output if len(modules(variant.model)) == 1 else None
        if output is not None and not math.isfinite(loss):  # the kind of the task does not depend on the weights
            with torch.no_grad():
                for parameter in variant.parameters:
                    parameter.zero_()
            loss, output = _looked_at(variant)
        found = list(tensors(variant.reference))[::-1]
        found.sort(key=lambda item: "label" not in item[0])
        size = batch_size(self.reference) or 1
        for divisor in (1, size):
            task = recognise(output, found, loss / divisor)
            if task.chance is not None:
                floor = task.floor if task.floor is not None and math.isfinite(task.floor) else 0.0
                self.task, self.ideal = _times(task, divisor), floor * divisor
                return
        if variant.is_plain and isinstance(output, Tensor) and isinstance(variant.reference, tuple | list):
            target, loss_fn = variant.reference[-1], variant.loss_fn
            assert loss_fn is not None
            with contextlib.suppress(Exception):
                chance = chance_by_search(lambda values: loss_fn(values, target), output, "values")
                self.task = Task(target=f"[{len(self.reference) - 1}]", chance=chance)
        if self.task.chance is None:
            chance, self.ideal = self._constant_loss(variant, loss)
            self.task = replace(self.task, chance=chance)

    def _constant_loss(self, variant: Variant, first: float) -> tuple[float | None, float]:
        """What the best answer costs that is the same for every example, where a rehearsal found one, too, and the lowest loss.

        Where the rehearsal found a lower one, or this search finds none, the rehearsal's is taken of a loss that is a mean over
        examples and so costs the same on either's batch: what a model returns beside its answers, as the divergence of a code,
        had come to what it costs by then.

        Args:
            variant: the program as it is.
            first: its loss on the reference.
        """
        rehearsal, forward = self.evidence.rehearsal, variant.loop().forward_only
        if rehearsal is None or rehearsal.constant_loss is None or forward is None or len(modules(variant.model)) != 1:
            return None, 0.0
        (model,) = modules(variant.model)
        set_training(model, not self.evaluates)
        is_wide = self.output is None or self.output[:1].numel() > _NARROW
        others = self.batches[:_CONSTANT_BATCHES] if is_wide else ()  # that a row of many numbers is held against
        asked = [to_device(batch, _device(model)) for batch in (self.reference, *others)]
        found = None
        with contextlib.suppress(Exception):  # a loss may look at more than outputs
            found = constant_and_own(model, asked, lambda own, batch: scalar(forward(own, batch)), seconds=_CONSTANT_SECONDS)
        is_same = rehearsal.reference and math.isclose(first, rehearsal.reference[0].loss, rel_tol=_SAME_MEAN)
        if is_same and (found is None or found[0] > _LOWER * rehearsal.constant_loss):
            return rehearsal.constant_loss, max(rehearsal.lowest_loss or 0.0, 0.0)
        return (None, 0.0) if found is None else (found[0], max(found[1], 0.0))


def _times(task: Task, factor: int) -> Task:
    assert task.chance is not None
    return replace(task, chance=task.chance * factor)


def _looked_at(variant: Variant) -> tuple[float, Tensor | None]:
    """Loss and output on the reference; of several models that of the one which is called last."""
    seen: list[Any] = [None]
    handles = [
        model.register_forward_hook(lambda module, args, output: seen.__setitem__(0, output))
        for model in modules(variant.model)
    ]
    try:
        loss = look(variant, variant.loop(), variant.reference, random_state())
    finally:
        for handle in handles:
            handle.remove()
    output = seen[0] if isinstance(seen[0], Tensor) else first_tensor(seen[0])
    return loss, output.detach() if output is not None else None


def _device(model: Any) -> torch.device:
    parameter = next((p for part in modules(model) for p in part.parameters()), None)
    return parameter.device if parameter is not None else torch.device("cpu")


def _reached(setup: Setup) -> list[Any]:
    """Objects with state that the program's functions reach by themselves."""
    found = [*used_by(setup.step), *used_by(setup.training_step), *used_by(setup.loss_fn)]
    return list({id(item): item for item in found}.values())


def _reordered(batches: list[Any], seed: int) -> list[Any]:
    if not seed:
        return batches
    order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(seed)).tolist()
    return [batches[place] for place in order]


def _is_in_order(setup: Setup) -> bool:
    """Whether the order of the batches is part of the program: no seed changes it."""
    return isinstance(getattr(setup.train_loader, "sampler", None), SequentialSampler)


def _seed_everything(seed: int) -> None:
    seed_torch(seed)
    random.seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed)
