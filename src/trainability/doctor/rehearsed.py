"""What a rehearsal found. Data only; no torch."""

from dataclasses import dataclass, field

from trainability.doctor.audit_results import LabelsCompared


@dataclass(frozen=True, kw_only=True)
class CriticalStep:
    """One update, and how its loss changes along it.

    Attributes:
        multiple: smallest multiple of the update at which the loss on its batch is higher than before it; None where that
            has no meaning: no update, or a loss or an update that is not finite.
        at_limit: the loss rises at no multiple up to 1e7 (`multiple` is 1e7), or still does at 1e-7 (`multiple` is 1e-7).
        loss_before: loss on the batch before the update.
        loss_after: loss on the same batch, with the same random numbers, after it.
        lowest_loss: lowest finite loss at any multiple that was tried.
        resolution: changes of the loss below this are rounding.
        update_norm: norm over all parameters.
        update_ratios: per weight of two or more dimensions, rms of the update over rms of the weight; None for a weight that
            is zero.
        sizes: of the same weights, by name: rms before the update, and inputs per unit.
        unmoved_fraction: of the typical weight in float16 or bfloat16, share of its elements with a gradient that the update
            left as they were; None without such weights, or where the loop has cleared their gradients.
        num_evaluations: forward passes.
    """

    multiple: float | None
    at_limit: bool = False
    loss_before: float
    loss_after: float
    lowest_loss: float
    resolution: float
    update_norm: float
    update_ratios: tuple[tuple[str, float | None], ...] = ()
    sizes: tuple[tuple[str, float, int], ...] = ()
    unmoved_fraction: float | None = None
    num_evaluations: int

    @property
    def is_uphill(self) -> bool:
        """Whether the loss falls at no multiple of the update, and rises at one: its length is not what is wrong with it."""
        return self.lowest_loss >= self.loss_before - self.resolution and self.loss_after > self.loss_before + self.resolution


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the program is asked to learn.

    Attributes:
        kind: an entry of `tasks.KINDS` or a finer name of it ("pixel_classification", "multilabel", "pixel_binary"), or
            "unknown".
        loss: the loss in PyTorch's words, "cross_entropy"; None if unknown.
        form: what the outputs are by the last operation that made them: "values" (anything), "probabilities",
            "log_probabilities", "tanh", "nonnegative".
        target: where in the batch the target was found, "[1]"; "" if it was handed over.
        num_classes: width of the output; None for a kind without classes.
        chance: loss of the best constant output, in the units of the loss; None if unknown.
        floor: lowest loss that outputs of this form can reach on these targets; None if unknown.
    """

    kind: str = "unknown"
    loss: str | None = None
    form: str = "values"
    target: str = ""
    num_classes: int | None = None
    chance: float | None = None
    floor: float | None = None


@dataclass(frozen=True, kw_only=True)
class RehearsedStep:
    """One pass through the body of the loop.

    Attributes:
        step: counts from 1.
        loss: that the body returned; the sum where it returned several; None where it returned none.
        gradient_norm: over all parameters, as the optimizer finds it (after clipping); None if no optimizer stepped.
        lr: largest learning rate of the optimizers' groups, when they step.
        optimizer_steps: calls of `optimizer.step` in the body.
    """

    step: int
    loss: float | None = None
    gradient_norm: float | None = None
    lr: float | None = None
    optimizer_steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The model on the reference batch, with the same random numbers every time.

    Attributes:
        step: steps taken before it.
        loss: on that batch.
        output_rms: of the first tensor that the model returns; None if it was not seen.
        output_spread: rms over its units of their standard deviation across examples: 0 where the output does not depend
            on the input.
    """

    step: int
    loss: float
    output_rms: float | None = None
    output_spread: float | None = None


@dataclass(frozen=True, kw_only=True)
class OtherRate:
    """The rehearsal anew at another learning rate: same start, same batches, same random numbers.

    Far below the rate at which steps overshoot, n steps at c times the rate go where c n steps at the rate itself go: a look at
    the later plan.

    Attributes:
        scale: its learning rate over the loop's own.
        schedule_steps: steps of the scheduler for each of the loop's, so that the plan's schedule is run through.
        reference: the model on the same fixed batch, before the first step, after some, and after the last.
        ended_by: as of a rehearsal.
    """

    scale: float
    schedule_steps: int = 1
    reference: tuple[Observation, ...] = ()
    ended_by: str = "steps"


@dataclass(frozen=True, kw_only=True)
class UnwrittenStatistics:
    """Tensors that modules of the user's read in evaluation mode alone, and that no pass in training mode wrote.

    Attributes:
        module: the first of them, by name.
        kind: its class.
        count: how many there are.
        training: mean loss on batches of the loop with these modules in training mode, with the weights that the steps left.
        evaluation: the same with these modules alone in evaluation mode; infinite where it is not finite.
    """

    module: str
    kind: str
    count: int
    training: float
    evaluation: float


@dataclass(frozen=True, kw_only=True)
class SlowAverage:
    """An average of the weights that the loop moves by the same small share of the way to the trained ones at each step.

    Attributes:
        name: of the module, dict or list that holds it, as Python reaches it.
        twin: of the trained module, likewise.
        rate: that share; 1 less the decay.
        is_used: the loss depends on it, as on a target network or a teacher, or that is not known.
        batches: of a pass over the loader; None where it has no length, or is not known.
    """

    name: str
    twin: str
    rate: float
    is_used: bool
    batches: int | None = None


@dataclass(frozen=True, kw_only=True)
class LeftStatistics:
    """An average of the weights whose batch norms have a mean of 0 and a variance of 1 in evaluation, as at their start.

    Attributes:
        name: of the module, as Python reaches it.
        twin: of the trained module, likewise.
        count: how many batch norms there are.
        mean_square: of what these leave as it is, by the statistics of the trained module; of the one farthest from 1.
        in_loss: the loss asks the average; else the model does where it evaluates.
    """

    name: str
    twin: str
    count: int
    mean_square: float
    in_loss: bool


@dataclass(frozen=True, kw_only=True)
class LatePeak:
    """The largest learning rate of a schedule, where it is far above all that were rehearsed.

    Attributes:
        step: of the run at which it comes.
        rate: the largest of all groups.
        schedule: class of the scheduler, "OneCycleLR".
        length: steps of the run or of the schedule, as far as either is known; at least `step`.
        trials: rehearsals of the whole schedule with all rates scaled, passed through in so many steps that the warm-up is a
            third of them; () where none was made.
    """

    step: int
    rate: float
    schedule: str
    length: int
    trials: tuple[OtherRate, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NonFinite:
    """The first function that made NaN or infinity of finite numbers.

    Attributes:
        step: of the loop, from 1.
        function: its name, "sqrt".
        place: file, line and code in the program; "" if it is called from none of its lines.
        backward: on the way back: the function itself gave a finite number, its gradient is none.
        given: place of the batch's tensor at whose zeros the function is not finite; None if it was given another.
    """

    step: int
    function: str
    place: str = ""
    backward: bool = False
    given: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """Weights that something puts back after their optimizer's step, at some steps in a row.

    Attributes:
        num_watched: trainable parameters that an optimizer moved at three steps and more.
        undone: those of which less than a hundredth of each update is left when the next step begins.
        pulled: those that something else moves back towards their values before the first step, by one share of the way.
        pull: that share; 0 where this happens to half of those that began at other values than zero, or fewer.
    """

    num_watched: int
    undone: tuple[str, ...] = ()
    pulled: tuple[str, ...] = ()
    pull: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AddedInClosure:
    """Evaluations of a closure, behind the first of its step and at other weights than the last, that add to its gradients.

    Attributes:
        later: such evaluations that were followed.
        added: those that returned the very gradients that the last one had left, with more added; of another optimizer than
            LBFGS, only where the weights had moved down the former.
        is_lbfgs: the optimizer is PyTorch's LBFGS or made from it, which takes each gradient for that of one point.
    """

    later: int
    added: int
    is_lbfgs: bool


@dataclass(frozen=True, kw_only=True)
class Clipped:
    """Gradients whose norm every body of the loop clips, once.

    Attributes:
        limit: the threshold.
        norm: median norm before clipping.
        tried: the model on the fixed batch, in a rehearsal whose threshold is that median; () where that was not tried.
    """

    limit: float
    norm: float
    tried: tuple[Observation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DecayTried:
    """A loop with its weight decay, and without, on examples that it does not train on.

    Attributes:
        share: of a weight, that decay takes away at each step.
        steps: that each rehearsal made.
        loss: with it.
        without: without it.
        constant_loss: of the best answer that is the same for every example; None where it is not known.
    """

    share: float
    steps: int
    loss: float
    without: float
    constant_loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Speed of the weights along the gradient and against its noise, per unit of learning rate; docs/theory.md, section 7.

    Sums over the weights of s(.) / s(weight), s() the largest singular value; dropout is on as in the loop.

    Attributes:
        signal: of what the examples of the reference agree on.
        noise: of what a batch of the loop has besides.
        norm: expected gradient norm of a batch of the loop.
        batches: of the loop that make up the reference; its own noise is less by their root.
    """

    signal: float
    noise: float
    norm: float
    batches: float


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Some steps of the loop's own body on a copy.

    Attributes:
        steps: in order.
        reference: the model on a fixed batch, before the first step, after some, and after the last.
        critical: number of the step, and its update along which the loss was followed.
        other_rates: the same at other learning rates, in the order in which they were tried.
        remedy_rates: the same at rates that a remedy may propose; the verdict does not read them.
        nonfinite: where a loss or gradient that is not finite came from; None where all are, or it was not found.
        growth: of the weights after the last step; None where it was not measured.
        task: recognised on the reference batch before the first step.
        constant_loss: of a task of an unknown kind, what the best answer costs that is the same for every example, on the
            batches of the reference, each by itself; of a model that returns more than answers, at least, before the first
            step or after the last; None where the kind is known (`task.chance`), where it could not be found,
            and where parameters that no optimizer has moved, as a slow copy does that makes targets.
        lowest_loss: then, what answers of their own for each example cost, as low as a short search got; None with it.
        planned_steps: length of the run; None if unknown.
        ended_by: "steps" (as many as were asked for), "enough" (more would tell no more), "time", "not finite" (loss) or
            "data" (no more batches).
        unmoved: trainable parameters that hold, bit for bit, what they held before the first step.
        not_written: of these, those that the gradient alone, times the learning rate, would have changed at one of the first
            steps: they do not round to nothing.
        without_gradient: trainable parameters that had no gradient at any step of an optimizer.
        frozen: of the unmoved ones, those that the loop itself froze: requires_grad is False after the last step.
        idle: trainable parameters that got a gradient, and whose optimizer never stepped while another did.
        zero_rate: trainable parameters in an optimizer's group whose learning rate was 0 at every step.
        num_parameters: trainable parameters, as tensors.
        parted: those whose elements were nearly one number before the first step, and differ by more after the last.
        stale_fraction: share of an optimizer's steps after its first at which some gradient had not been empty or zero at
            any backward pass since the step before, the largest of several optimizers'; None with fewer than two steps.
        divided_again: see `Facts`.
        mean_again: likewise.
        undivided: likewise.
        stale_holder: of several optimizers, the first parameter, by name, of that one.
        added_in_closure: of the optimizer whose closure adds most often to what its last evaluation left; None where none does.
        stale_gradient: largest norm that such a gradient had when backward began; 0 where gradients are cleared.
        mixed_gradient: the first parameter, by name, of an optimizer that steps on gradients which hold what a loss left there
            on which another optimizer had stepped; None without one.
        training: `model.training` in the loop's forward passes; None if the model did not run as a whole.
        idle_norms: of `in_evaluation_mode`, batch norms whose statistics are still the initial ones, mean 0 and variance 1.
        in_evaluation_mode: modules that act differently in training (dropout, batch norm), and ran in evaluation mode.
        rewritten: what else writes to the weights; None where the body is not the caller's own, or too few steps were made.
        vain_clip: where every body clips the gradient norm and no step is changed by it: "before", when there is no gradient,
            or "after", when all steps are made; and the threshold. None elsewhere.
        clipped: where every body clips the gradient norm, and each time makes it smaller; None elsewhere.
        left_statistics: of an average of the weights, batch norms that keep the statistics of their start; None without one.
        decay_tried: where decay takes a hundredth of each weight at every step, or more, what the loop comes to without it;
            None elsewhere.
        dropped_result: a function that is not in place, called on a weight or its gradient by a statement that drops the
            result; the weight, and whether it is the gradient. None if there is none.
        opposed: several optimizers step on losses that pull at each other's parts, as in a GAN; there is no one update then,
            and whether the returned loss falls says nothing.
        moves_others: weights that require a gradient, and that no optimizer of the program holds, have moved: the body has an
            optimizer of its own, and what each step changes follows several losses.
        distances: where opposed, how far what each optimizer holds went from its start, over its size there; in their order.
        redrawn: weights of which at least three optimizer steps found others than the step before had left: of no likeness to
            them, by a cosine below 0.5.
        cut_off: weights of which the body sets a quarter or more to one limit and its negative between two steps, half of the
            matrices or more; the limit; and the least share at it. None if there are none.
        repeated_steps: of steps that an optimizer makes again on the very gradients of its last one, how many of how many, and
            whether a loss scaler steps it, too; None where there are hardly any.
        remade: of optimizers that the body makes anew for the same parameters, each for one step, how many, and whether they
            keep numbers from step to step; None without any.
        rounds_steps: every optimizer is of PyTorch's own, which rounds what it adds to the nearest number of a weight's format,
            and no wider copy of weights is trained.
        rate_spent: of a scheduler that was stepped on to the planned end, the first step from which all rates are a thousandth
            of the largest and less (a hundredth, where the last is not, and all rates together come to a twentieth of as many
            at the largest), the last rate and the largest; None where there is none, or the schedule is unknown.
        rates_of_pass: where the length of the run is not known, the steps of one pass over the loader, all rates to its end (or
            to the last step that was made) over the largest, added up, and the last of them; None where they are not known.
        schedule_ends: the steps of a scheduler that fails behind its last one, and before the planned end; None of others.
        late_peak: the largest rate of the schedule, where it comes later than the last rehearsed step and is three times those
            that were rehearsed or more; None where there is none, or the schedule cannot be read.
        schedule_held: the scheduler, which no body of the program steps, was not stepped: the loop steps it after each epoch,
            or may do so, as after each update it would be spent in a pass, or before half of the plan.
        scheduler_interval: "step" or "epoch", as the caller said; None where nobody said.
        batch_statistics: with the weights that the steps left, the mean loss where batch norm takes each batch's statistics,
            that where it takes the running ones, which were brought up to date, and the examples of a batch; None without
            batch norm, or where that was not asked.
        unwritten: statistics of modules of the user's that nothing writes; None without them, or where that was not asked.
        slow_average: an average that began at random weights and follows the trained ones by half a percent of the way at each
            step, or less; None without one.
        labels_compared: what outputs after the last step, fitted to training's classes, say of validation's; None where that
            was not asked, and of no classes.
        in_place: the loop's own objects were stepped and put back, since no copy could be made or the body uses them itself.
        seconds: that it took.
        notes: what was not measured, and why.
    """

    steps: tuple[RehearsedStep, ...]
    reference: tuple[Observation, ...] = ()
    critical: tuple[tuple[int, CriticalStep], ...] = ()
    other_rates: tuple[OtherRate, ...] = ()
    remedy_rates: tuple[OtherRate, ...] = ()
    nonfinite: NonFinite | None = None
    growth: Growth | None = None
    task: Task = Task()
    constant_loss: float | None = None
    lowest_loss: float | None = None
    planned_steps: int | None = None
    ended_by: str = "steps"
    unmoved: tuple[str, ...] = ()
    not_written: tuple[str, ...] = ()
    without_gradient: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    zero_rate: tuple[str, ...] = ()
    num_parameters: int = 0
    parted: tuple[str, ...] = ()
    stale_fraction: float | None = None
    stale_gradient: float | None = None
    stale_holder: str | None = None
    added_in_closure: AddedInClosure | None = None
    divided_again: int | None = None
    mean_again: int | None = None
    undivided: int | None = None
    mixed_gradient: str | None = None
    training: bool | None = None
    in_evaluation_mode: tuple[str, ...] = ()
    idle_norms: tuple[str, ...] = ()
    rewritten: Rewritten | None = None
    vain_clip: tuple[str, float] | None = None
    clipped: Clipped | None = None
    left_statistics: LeftStatistics | None = None
    decay_tried: DecayTried | None = None
    dropped_result: tuple[str, str, bool] | None = None
    opposed: bool = False
    moves_others: bool = False
    distances: tuple[float, ...] = ()
    redrawn: tuple[str, ...] = ()
    cut_off: tuple[tuple[str, ...], float, float] | None = None
    repeated_steps: tuple[int, int, bool] | None = None
    remade: tuple[int, bool] | None = None
    rounds_steps: bool = False
    rate_spent: tuple[int, float, float] | None = None
    rates_of_pass: tuple[int, float, float] | None = None
    schedule_ends: int | None = None
    late_peak: LatePeak | None = None
    schedule_held: bool = False
    scheduler_interval: str | None = None
    batch_statistics: tuple[float, float, int] | None = None
    unwritten: UnwrittenStatistics | None = None
    slow_average: SlowAverage | None = None
    labels_compared: LabelsCompared | None = None
    in_place: bool = False
    seconds: float = field(default=0.0, compare=False)
    notes: tuple[str, ...] = ()
