"""What is certain of a program before its first step: counted or exact, never estimated. Data only; no torch."""

from dataclasses import dataclass, field

from trainability.doctor.audit_results import LabelsCompared
from trainability.doctor.graph_facts import LoneWord, LossGraph, Stacked, Unreached
from trainability.doctor.held_out_seen import HeldOutSeen
from trainability.doctor.opponents import Opponents
from trainability.doctor.pair_facts import (
    Company,
    Misaligned,
    Misplaced,
    PairForces,
    PairRelation,
    Pulls,
    ValuesCompared,
)
from trainability.doctor.readings import Readings, ShortPass
from trainability.doctor.rehearsed import AddedInClosure

HEAVY_DROPOUT = 0.95  # a twentieth of the units left: what a share to keep of 0.95 looks like
FORGETFUL_STATE = 1e-3  # of a unit, that is left of what a state knew once it was dropped at each step of a sequence
LARGE_DROPOUT = 0.8  # the usual share to drop is 0.5 at most; to keep, 0.8 and more
LOUD_COLUMN = 300.0  # rms of a column of inputs, beside others that are far smaller


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What one forward pass and its graph show of a program. A field that was not looked at is None or empty.

    Attributes:
        output_shape: of the first tensor that the model returns.
        target_shape: of the tensor that the loss sets against it.
        broadcast_shape: what an elementwise operation of the loss makes of the two; None where they fit.
        one_target: outputs of an example that a loss sets against one number; the place of unread integers that may name one.
        largest_output: of transitions, the same where the loss goes by the largest of the outputs alone; None elsewhere.
        same_after: of transitions, the places of two tensors that are equal in every example; None where there are none.
        picked_columns: n, of a table (n, n) whose rows each have the columns that all examples pick; None if there is none.
        outer_product: factors, (n,) by (n, 1), that the loss multiplies before one mean; mean over rms of the fixed one.
        outer_difference: n, of (n, 1) less (n,), one of them without a gradient, of which the loss takes one mean.
        summed_first: how many examples a loss of pairs adds up before the function that is to bend each; None if it does not.
        graph: of the backward pass.
        made_anew: shapes of weights that the forward pass makes by itself, others each time.
        unreached: trainable parameters that no gradient reaches, each with its reason.
        cut_paths: trainable weights that the answer depends on and hands no gradient back to, while a term of the loss that
            targets have no part in reaches them.
        cut_rows: a weight some of whose units have a gradient of exactly zero, though the loss changes smoothly with them, how
            many these are, and of how many; None if there is none.
        cut_steps: for sequences whose outputs depend smoothly on all steps, or in a watched loop pass on a state: the number of
            last steps with a gradient, if that of all others is exactly zero, and the number of steps; None if there are none.
        zero_gradient: trainable parameters whose gradient is exactly zero.
        num_gradients: trainable parameters that have a gradient.
        cleared: of a loop that is watched, that none of the parameters that the loss depends on and the optimizer holds has a
            gradient any more when the first step is made.
        no_weight_moves: every gradient of a parameter of two or more dimensions is exactly zero.
        identical_units: weights whose units have the same numbers and the same gradients, so that they stay the same.
        near_constant: linear layers and convolutions whose weight is one number other than 0
            everywhere, give or take a tenth of it; () where these are the fewer.
        parted: in a watched loop, those of them whose weights differ by more at the last look.
        identical_modules: children of one module with the same weights and the same gradients, which stay copies.
        constant_output: whether the outputs for all examples are the same, though the inputs differ.
        single_output_softmax: whether the outputs are a softmax over a dimension of size 1, which is 1 whatever goes in.
        constant_inputs: layers that get one constant from outside as input, and tables in which one word alone is looked up.
        falling_offsets: an `nn.EmbeddingBag`, and the share of its offsets that are below the one before; None if none is.
        lone_word: an embedding in which one word is looked up at half of the places or more, beside few others; or None.
        pooled_norm: a layer whose input is a mean over what a normalisation has just made, the same for every example, and that
            normalisation ("" of a function), where answers are the same, too; None if there is none.
        one_row: models ("" for a single one) whose input, in every call, is one row for all of 8 examples and more, which is
            none of the batch's, and so is their output.
        nonfinite_inputs: tensors of the batch that hold NaN or infinity, by their place; a mask may.
        counted_condition: an input of the model, by name or place, that is one number for all examples and goes with how many
            they are, and that number; None if there is none.
        one_class_asked: of several models, one that is told one class for all examples in every call, while another is told the
            batch's own, which differ, and that class; None if there is none.
        drawn_beside: of several models, one that is given the batch's examples with classes that are drawn in the step, while
            the batch's own classes go nowhere; None if there is none.
        own_scale: whether each example of the input is scaled by itself: "extremes" (from 0 to 1) or "deviation" (to mean 0 and
            standard deviation 1); None where they are not.
        zeros_for_answers: which input of the model has the shape of its answers and holds zeros; None if none does.
        zeros_beside_state: recurrent layers that get a state, and nothing but zeros as input.
        numbers_for_words: span of integers that go into a layer as they are; None if there are none.
        number_layer: the layer that gets them.
        scaled_inside: what layers with weights are given of the data is near mean 0 and standard deviation 1.
        input_mean: of the model's first input, where it is floating-point.
        input_std: of the same.
        input_columns: of a table: its largest column mean, of which column, and the least and largest standard deviation.
        output_rms: of the output, before the first step.
        target_rms: of the target, where it is floating-point.
        target_mean: of the target, where it is floating-point.
        target_below_zero: share of the target's values below 0, of those that the loss reads; rounding aside.
        target_outside_unit: share of them outside [0, 1].
        cut_at_zero: what clipping them to 0 and above costs, over their variance, as `beyond_range.cut` says; None if unknown.
        cut_to_unit: the same of clipping them to [0, 1].
        rows_off_one: share of the examples whose targets do not sum to 1, where the outputs are probabilities that do, and the
            loss is binary cross-entropy of them, or of the difference (within 0.1 then, and 0 where that costs less than a
            tenth of their variance); None elsewhere.
        leakage: largest change of an example's output in eval mode when another example of the batch is exchanged, over the
            rms of the output; None if not looked at, or where the model draws numbers that cannot be repeated.
        stacked_second: examples lie along dimension 1, as the loader's own collate function stacks them; `leakage` is theirs.
        place_leakage: the same when the example is at another place in the batch; None where the model draws numbers.
        reordered: where either changes, whether outputs are those of the examples, in another order than these.
        evaluation_noise: largest change of an output in eval mode when the same batch is asked twice, over the outputs' rms;
            None if not looked at.
        noise_source: what makes that change: "dropout" (a dropout function that runs as in training), "sample" (normal numbers
            that the model scales and shifts by what it makes of its input), "random" (others), "state" (kept between calls).
        shuffled_state: an attribute of the model that keeps a row for each of the batch from call to call, and that answers go
            by, though the training loader shuffles; None if there is none.
        future: largest change of the output for a token when a later token is exchanged, over the rms of the output; None
            unless the targets are an input shifted by one, or the loss asks each token for the next.
        reaches_ahead: of a loop that is watched and asks each token for the next: the largest gradient on later tokens over
            that on earlier ones, of what the outputs for earlier ones are asked; None of others, and where it was not asked.
        ignores_end: whether a recurrent model's answer for a sequence stays the same when its second half is exchanged.
        unread_words: of padded sequences, the words that answers do not go by: "last" of each, "all" but the one that is asked
            about, though they would without the padding, or "hidden" ones where attention shows padding; None where they do.
        padded_apart: of padded sequences with a target for each place, share of the padding that stands beside targets, where
            the targets' filler is at the other end; None where both are padded alike.
        padding_asked: of such, where the loss asks for answers at the padding: "marked" where targets hold a number below zero
            there, "class" where they hold one that words have, too; that number, and the share of padding among all that is
            asked. None where it does not.
        stateless: recurrent layers of several steps whose recurrent weights have no gradient but zero: their state is zeros.
        drowned: of a recurrent model whose sequences end in padding, how much less its answer changes with their words than
            where the padding is in front; None if not asked.
        padded_layer: of a watched loop, a recurrent layer whose sequences end in zeros, whose first weights have a gradient of
            less than 1e-4 of that of the recurrent ones, and the share of these zeros; None if there is none.
        misread_logits: whether the loss is the cross-entropy of outputs (batch, length, classes) that are viewed as (batch,
            classes, length), and not transposed; or of pixels (batch, classes, ...) that are viewed as (-1, classes).
        unshifted: whether the targets are the tokens of the input, at the same places, though the output for a token depends on
            it and on no later ones: what comes next is asked of nothing.
        own_tokens: of a loop that is watched, that each token is asked for itself, and a gradient comes back to the last of
            each sequence: "causal" where attention or recurrence is, "unknown" where the model may rebuild its input.
        fed_answer: whether the model is given its target beside its input, and the output for a step goes by the target of that
            step and of none behind it: a decoder that is fed what it is to tell.
        can_copy: whether the loss holds answers against the model's own input, and linear layers, none narrower than it, hand
            it through with nothing dropped or drawn.
        shifted_by: of a causal model, by how many tokens the targets are ahead of the last one that it reads: -1 or 2.
        mixed_sequences: under `ctc_loss`, how many of how many examples have a part in other sequences than their own.
        masked_answers: whether the next token is asked for at the beginning of each sequence, and not of words that follow.
        asks_shown: the loss asks only for what the model is given at the same place, and for nothing that was hidden: "values";
            "words", where the mask was written into the labels; "others", where masked words are ignored; "some", where those
            that are asked for are not hidden. None elsewhere.
        unread_targets: channels of the targets of which the loss reads one constant, and not the values that differ.
        filled_targets: a tensor of the batch that holds targets, a number that stands in one of its columns whatever the input
            is, between values that the input tells, and the share of the examples that have it; None if there is none.
        wanted_below: of outputs of one number that a ReLU makes, the share that the loss wants lower where all are zero.
        out_of_reach: share of the targets on the side of what answers start from that no weights lead to, where a ReLU makes
            all that is added to it; None elsewhere.
        rates_twice: what makes outputs ("exp", "softplus", "relu", "abs", "sigmoid") that `poisson_nll_loss` takes exp of.
        heavy_dropout: names of dropout modules with a probability of `LARGE_DROPOUT` or more.
        dropout: the largest probability among them.
        function_dropout: the largest share that dropout drops which the model calls as a function, from `LARGE_DROPOUT` on.
        dropped_answers: share of the model's answers that dropout puts to zero in training.
        dropped_state: a dropout module that the state of a recurrence goes through at every step, its probability, and steps.
        no_statistics: a batch norm that keeps no running statistics; and how many examples a batch of training has, and one of
            validation, as far as they are known.
        slow_statistics: a batch norm whose running statistics are those of its start, and its momentum, where that is below
            0.01; the slowest. None if there is none.
        shared_statistics: a batch norm that one pass calls at several places, their number, by what factor the mean square of
            its result in evaluation is off at one of them, and its class.
        fast_statistics: a batch norm that takes 0.3 and more of its running statistics from the last batch alone, and its
            momentum; the fastest.
        examples_behind: of it, the examples of a pass's last batch, and of how many examples the plain mean would be as
            certain as the running one is then; None where the loader does not tell.
        stacked: weight layers with nothing between them.
        has_nonlinearity: whether any operation of the model but lookups in tables is not linear in evaluation; None if it could
            not be followed.
        loss: value of the loss.
        negated_task: the loss that the program computes with the wrong sign, in PyTorch's words; None if it does not.
        maximises: the optimizer has maximize=True, so that the loss is minus what the program computes.
        turned_gradients: weights whose gradient is minus the slope of the loss: a function of the program's own turns it.
        volume_against: whether a likelihood by change of variables is computed with the wrong sign of the volume's logarithm.
        volume_missing: whether it is in all but the numbers that are counted, which are not that logarithm.
        volume_turned: whether it is in all but the sign of that logarithm, which the loss computes out of the caller's sight.
        kept_by_flow: of such a likelihood, how many numbers of a point no weight transforms, and of how many; None where it
            transforms all, or none, or the loss is no likelihood, and where one coupling or none is given these numbers alone,
            or they are standard normal as they are.
        prefers_wrong: losses of right and of wrong answers in the place of the model's, where the right ones cost more.
        sure_of_wrong: losses of answers that are sure and wrong and of undecided ones, where the loss falls from these to those
            and sure answers cost next to nothing, right or wrong.
        one_output: an output unit that takes the loss to nothing by itself, whatever the others say; None if there is none.
        floorless: a tensor that the model returns, by its place, of which the loss falls ever faster as it is moved away.
        pole: a number between -6 and 6; as the outputs pass it together, the loss goes to one infinity and comes back from the
            other. None if there is none.
        boundless: a parameter, or columns of an output, in words, that the loss makes grow without end, and behind which it
            forgets all else; None if there is none.
        boundless_rest: gradient of all else there, far away, over that at the start.
        switched_off: a parameter of the loss, or one number of it, that is only a factor of terms, and the direction (1 or -1)
            in which the loss takes it, so that the terms go to zero; None if there is none.
        censored: of a loss of times and ends, how many of how many questions show that it takes what has not ended yet for what
            ends sooner; None where it does not, or is no such loss.
        scores_of_others: labels and scores of a batch, by name, that are both targets of the same outputs and unrelated to each
            other, over how many examples, and the standard deviations between them; None if there are none.
        company: pairs of names that the loss pulls together and pushes apart; None where it does not do both.
        softmax_over_batch: where examples influence each other, or of a watched loop, the shape of what a softmax of the model
            takes, examples first, where it runs over these; None if there is none.
        along_batch: a recurrent or attention layer whose sequences run along the batch; None if there is none.
        maybe_steps_first: whether that may be meant, as nothing tells which of two dimensions is that of the examples.
        ignored_class: a class that the loss ignores, and the share of the batch's examples that are of it; None for no class.
        loud_column: a linear layer, a column of what it is given from outside, and that column's rms, where it is
            `LOUD_COLUMN` or more and half of the columns are at most 10, or a hundredth of it; None if there is none.
        pulls: which examples the loss pulls together; None where it compares none.
        pair_forces: what the loss wants of each pair; None where it is no function of the products of all pairs.
        pair_relation: of such a loss, whether the two inputs of a pair have to do with each other; None of others.
        misaligned: answers that are held against other examples' targets; None where they are not, or it could not be asked.
        separated: of a `collate_fn`, tensors of its batch whose rows are parts of other examples: `made` and `held` are places
            among those that it was given; None where it keeps them together.
        mirrored_alone: of a loader that mirrors images at random and leaves a tensor of targets as it is: what it
            exchanges, the place of the targets, and the share of the variance of one of their numbers that the difference of
            the two sides explains; None elsewhere.
        misplaced: how well places in an image go with places of its targets; None where answers look at no place.
        credited: a variable with rewards, and the discount with which sums of them up to each step weight log-probabilities.
        drawn_again: whether weights multiply log-probabilities of draws that serve for nothing else, beside draws of the same
            shape that are used and whose log-probability nobody asks for.
        lowered: a variable of the program whose name says that large is good (a reward, an advantage), and its correlation with
            the gradient of the log-probabilities that it weighs, where that is positive: good outcomes are made less likely.
        moves_critic: log-probabilities are weighted by what a critic makes, which a distance trains too, with a gradient.
        takes_better: of a clipped and an unclipped objective of a policy, the loss takes the better one.
        sinks_entropy: the loss wants less entropy of the policy whose draws it makes likelier or less likely.
        values_compared: what values fitted on training say of validation's, where inputs look alike in both.
        words_compared: what classes fitted on counts of training's words say of validation's.
        short_pass: a pass over the training loader that ends before half of its length; None if it does not.
        evaluated_in_training: of a watched script, in how many of how many evaluation passes all layers that ask for their mode
            ran in training mode; None where there was no such pass.
        held_out: of a watched loop, passes over validation: those from the first passes over the training data, and the last.
        kept_state: of a watched loop, steps between `state_dict()` and a `load_state_dict` that got the model's own tensors.
        drawn: a distribution of which a value is drawn without a gradient, though its parameters have one and the loss changes
            with the value; None where the value's log-probability is computed.
        flat_derivative: whether the loss differentiates something that is not zero, and gets zero for every example.
        constant_term: whether the loss changes with a derivative that it takes without a graph, and no gradient does.
        falls_with_slopes: whether the loss falls, without end, with the square of derivatives that it takes for a graph.
        kept_by_gates: a recurrent layer before the first step, and how much of its state the biases of its gates keep at a
            step; None without gates.
        recurrence: a recurrent layer before the first step, and the largest gain of its recurrent weights: rms times the root
            of the width.
        drawn_norms: normalisations before the first step whose weights are small numbers of both signs, where half of them are.
        made_relation: of targets that the step makes by itself, how many examples were compared with the model's inputs, and
            the strongest relation: see `audit_results.Relation.z`.
        moved_targets: whether the loss is given the targets in another order, and the answers in the batch's own.
        draws_own: whether a step draws by what the outputs say, without a gradient, as a policy acts.
        drawn_target: whether a distance holds outputs against numbers that are drawn after the model was called.
        redrawn: of a target that holds random numbers of the step of which the model is told nothing, which target it is
            ("noise", "class", "mixed" with the batch's own values), and their share of its mean square; "uniform" and the mean
            of a diffusion's noise that is uniform between 0 and 1; "noised" or "jittered" and the share of the noise in an
            input that is the target, too; None if there is none.
        unpaired: whether the loss changes with the targets, and not with which example has which.
        all_pairs: of outputs (n, n, ...), each of which is compared with one example's target: n, whether it is that of its
            row, and whether the model was seen to make them of (n,) and (n, 1); or None.
        turned_quantiles: the name of quantiles that the loss holds, their levels, those that outputs are trained for, where
            each is one minus the other, and whether no other order of the outputs explains that; None if there are none.
        judged_outside: of a model that judges data and what another makes: the bounded function that makes it ("tanh",
            "sigmoid"), and the share of the data's values that are outside its range by a tenth of its half.
        opponents: what models that play against each other want of each other.
        shared: in a watched loop, parameters that two alternating optimizers hold, and parameters that none holds.
        passed_by: in a watched loop, parameters of another network that the loss depends on and no optimizer holds.
        divided_again: backward passes for each step, where losses and gradients are both divided by it, or losses twice.
        mean_again: terms of a mean, at each of the first steps, that the loss divides by their number once more.
        undivided: backward passes for each step, two or more, whose losses are means that nothing divides by their number, and
            whose gradients are added, and reach the optimizer as they are.
        was_stopped: a script was stopped after some steps, by who follows it.
        in_vain: in a script whose own optimizer does not step, none of those that do ever had a gradient.
        refused_label: of a script that failed on it: the loss function, a label that is no class, and the number of outputs.
        opposed: whether the losses of Monitor's optimizer and of another work against each other, as in a GAN.
        remade: of a watched script, how many optimizers were made for the same parameters, and whether the first keeps numbers
            from step to step; None of one or two.
        repeated_steps: in a watched loop, as in `Rehearsal`.
        added_in_closure: likewise.
        takes_turns: in a watched loop, steps train different layers, none of which the other steps train.
        order_blind: a table of positions in a model with attention whose answers do not go by positions; or None.
        all_given: whether the model is given every tensor of the batch, of which there are several.
        featureless: all nodes of a graph are given one number, which a layer takes; its edges are given, and answers differ.
        filled_extreme: a maximum or minimum that returns a fill value of a mask in every row, and that value; or None.
        softened: the divisor of logits before cross-entropy, and their difference within an example after it, or None.
        distilled: the same before a divergence from soft targets that is the whole loss, and the mean divergence.
        cosine_scale: what cosines are multiplied by before cross-entropy, and how many of them a row has; None of other logits.
        over_examples: whether the tables whose product goes into cross-entropy have columns of unit length, and no such rows.
        temperatures: divisors of outputs and of a teacher's under a divergence, where one of them alone is divided.
        wrong_argument: a loss of `torch.nn.functional` that is given something else than it takes, and what: "probabilities" or
            "raw" outputs for their logarithms, logarithms that sum to 1 "elsewhere" than over the classes, probabilities as
            "log_target", a "negative" soft target, labels "zeros" and ones for -1 and 1, labels that are the "blank" of CTC,
            label smoothing that leaves half of the target ("smoothed"), a standard "deviation" for a variance, weights by which
            what is rare counts less ("rare_lighter"); None if there is none.
        weighs_by_share: whether these weights are the shares of the whole data set, where their inverses should stand.
        weighs_examples: whether cross-entropy weights classes, or returns a loss per example (reduction="none").
        flat_function: the last function of what is trained whose slope is zero wherever it has one: "round() in Net.forward".
        cut_by: where no gradient can come to any weight, the function at which the path to the loss ends: "> in the loss".
        solved_by: a number that takes the loss to zero where it is every answer, and no other number does, of a loss that is
            made of the model's own answers: of their derivatives, or of goals; None if there is none.
        unread_ends: marks of the batch, 0 or 1, by their place, which goals that the model makes for itself do not go by, and
            how much further what comes after is from what was before where they are 1; None if there are none.
        reversed_ends: such marks where alone these goals go by what comes after, and the share of the examples that have one;
            None if there are none.
        index_goals: number of outputs whose arg-max, added to a number of the batch, is a target; None if there is none.
        fresh_starts: at how many such marks something else comes after the same state and action than another time, and of how
            many that can be compared, where the same always comes after them elsewhere; None if there are too few.
        ends_by_state: area under the ROC curve with which the state at such a mark tells that there is one, where no example
            goes on from there, others do go on, and episodes end after numbers of steps that differ; None where that cannot be
            told.
        differentiates: whether that loss takes derivatives.
        rounded_gradient: norm of the gradient, and in float64, where that is below a thousandth of it and the loss below 1e-3.
        flat_examples: of a term of the loss, the share of the examples that have no slope, four fifths and more, and what each
            of them costs, which is the most that any does; None where there is no such term.
        all_at_limit: where no weight has a gradient, whether a clamp of the loss is at its limit in every row of the batch.
        underflow: of logarithms that the loss takes of numbers beside an epsilon, what rounded these to zero ("exp",
            "softmax", "sigmoid", "prod"), the share of the logarithms that are of the epsilon alone, four fifths and more, and
            the epsilon; None where there are none.
        unequal_terms: of a loss whose terms are sums over the batch and means, the gradient of the former over that of the
            latter, by the parameters that both reach, and the number of examples; None unless the latter reach others, too.
        code_price: of a variational autoencoder whose error is a mean, what `measure.code_price` returns.
        asks_itself: whether the model ran without gradients as well, as to make goals, which move with every step.
        looks_up: whether anything is looked up by a number (embedding, one-hot).
        takes_sine: whether the model takes the sine of what its weights made, as SIREN does.
        sine_of: rms of what a sine is taken of that a layer makes of another sine; the largest. None where there is none.
        third_sine_of: likewise of sines that two others stand behind, each with a layer between.
        task_loss: the loss that the program computes, in PyTorch's words; None if unknown.
        task_form: see `rehearsed.Task.form`.
        compares_returned: whether that loss takes what the model returned, and not a residual that is made of it.
        low_precision: the format of the parameters, where it is float16 or bfloat16.
        eps: of the optimizer; None if it has none.
        biases_dead: layers all of whose biases are so far below zero that the ReLU behind them passes nothing, at the start.
        readings: what several readings of the same data showed.
        notes: what was not looked at, and why.
    """

    output_shape: tuple[int, ...] = ()
    target_shape: tuple[int, ...] = ()
    broadcast_shape: tuple[int, ...] | None = None
    one_target: tuple[int, str] | None = None
    largest_output: tuple[int, str] | None = None
    same_after: tuple[str, str] | None = None
    outer_product: tuple[int, float] | None = None
    picked_columns: int | None = None
    outer_difference: int | None = None
    summed_first: int | None = None
    graph: LossGraph | None = None
    made_anew: tuple[tuple[int, ...], ...] = ()
    unreached: tuple[Unreached, ...] = ()
    cut_paths: tuple[str, ...] = ()
    cut_rows: tuple[str, int, int] | None = None
    cut_steps: tuple[int, int] | None = None
    zero_gradient: tuple[str, ...] = ()
    num_gradients: int | None = None
    cleared: bool = False
    no_weight_moves: bool = False
    identical_units: tuple[str, ...] = ()
    near_constant: tuple[str, ...] = ()
    parted: tuple[str, ...] = ()
    identical_modules: tuple[str, ...] = ()
    constant_output: bool = False
    single_output_softmax: bool = False
    constant_inputs: tuple[str, ...] = ()
    falling_offsets: tuple[str, float] | None = None
    lone_word: LoneWord | None = None
    pooled_norm: tuple[str, str] | None = None
    one_row: tuple[str, ...] = ()
    counted_condition: tuple[str, float] | None = None
    one_class_asked: tuple[str, int] | None = None
    drawn_beside: str | None = None
    own_scale: str | None = None
    nonfinite_inputs: tuple[str, ...] = ()
    zeros_for_answers: int | None = None
    zeros_beside_state: tuple[str, ...] = ()
    numbers_for_words: float | None = None
    number_layer: str | None = None
    scaled_inside: bool = False
    input_mean: float | None = None
    input_std: float | None = None
    input_columns: tuple[float, int, float, float] | None = None
    output_rms: float | None = None
    target_rms: float | None = None
    target_mean: float | None = None
    target_below_zero: float | None = None
    target_outside_unit: float | None = None
    cut_at_zero: float | None = None
    cut_to_unit: float | None = None
    rows_off_one: float | None = None
    leakage: float | None = None
    stacked_second: bool = False
    place_leakage: float | None = None
    reordered: bool = False
    evaluation_noise: float | None = None
    noise_source: str | None = None
    shuffled_state: str | None = None
    future: float | None = None
    reaches_ahead: float | None = None
    ignores_end: bool = False
    unread_words: str | None = None
    padded_apart: float | None = None
    padding_asked: tuple[str, int, float] | None = None
    stateless: tuple[str, ...] = ()
    drowned: float | None = None
    padded_layer: tuple[str, float] | None = None
    misread_logits: bool = False
    unshifted: bool = False
    own_tokens: str | None = None
    fed_answer: bool = False
    can_copy: bool = False
    shifted_by: int | None = None
    mixed_sequences: tuple[int, int] | None = None
    masked_answers: bool = False
    asks_shown: str | None = None
    unread_targets: tuple[int, ...] = ()
    filled_targets: tuple[str, float, float] | None = None
    wanted_below: float | None = None
    out_of_reach: float | None = None
    rates_twice: str | None = None
    heavy_dropout: tuple[str, ...] = ()
    dropout: float | None = None
    function_dropout: float | None = None
    dropped_answers: float | None = None
    dropped_state: tuple[str, float, int] | None = None
    no_statistics: tuple[str, int | None, int | None] | None = None
    slow_statistics: tuple[str, float] | None = None
    fast_statistics: tuple[str, float] | None = None
    examples_behind: tuple[int, float] | None = None
    shared_statistics: tuple[str, int, float, str] | None = None
    stacked: tuple[Stacked, ...] = ()
    has_nonlinearity: bool | None = None
    loss: float | None = None
    negated_task: str | None = None
    maximises: bool = False
    turned_gradients: tuple[str, ...] = ()
    volume_against: bool = False
    volume_missing: bool = False
    volume_turned: bool = False
    kept_by_flow: tuple[int, int] | None = None
    prefers_wrong: tuple[float, float] | None = None
    sure_of_wrong: tuple[float, float] | None = None
    one_output: int | None = None
    floorless: int | None = None
    pole: float | None = None
    boundless: str | None = None
    boundless_rest: float | None = None
    switched_off: tuple[str, int] | None = None
    censored: tuple[int, int] | None = None
    scores_of_others: tuple[str, str, int, float] | None = None
    company: Company | None = None
    softmax_over_batch: tuple[int, int] | None = None
    along_batch: str | None = None
    maybe_steps_first: bool = False
    ignored_class: tuple[int, float] | None = None
    loud_column: tuple[str, int, float] | None = None
    pulls: Pulls | None = None
    pair_forces: PairForces | None = None
    pair_relation: PairRelation | None = None
    misaligned: Misaligned | None = None
    separated: Misaligned | None = None
    mirrored_alone: tuple[str, str, float] | None = None
    misplaced: Misplaced | None = None
    lowered: tuple[str, float] | None = None
    moves_critic: bool = False
    takes_better: bool = False
    sinks_entropy: bool = False
    credited: tuple[str, float] | None = None
    drawn_again: bool = False
    values_compared: ValuesCompared | None = None
    words_compared: LabelsCompared | None = None
    short_pass: ShortPass | None = None
    evaluated_in_training: tuple[int, int] | None = None
    held_out: tuple[HeldOutSeen, ...] = ()
    kept_state: int | None = None
    drawn: str | None = None
    flat_derivative: bool = False
    constant_term: bool = False
    falls_with_slopes: bool = False
    recurrence: tuple[str, float] | None = None
    kept_by_gates: tuple[str, float] | None = None
    drawn_norms: tuple[str, ...] = ()
    made_relation: tuple[int, float] | None = None
    moved_targets: bool = False
    draws_own: bool = False
    drawn_target: bool = False
    redrawn: tuple[str, float] | None = None
    unpaired: bool = False
    all_pairs: tuple[int, bool, bool] | None = None
    turned_quantiles: tuple[str, tuple[float, ...], tuple[float, ...], bool] | None = None
    judged_outside: tuple[str, float] | None = None
    opponents: Opponents = field(default_factory=Opponents)
    shared: tuple[int, int] | None = None
    passed_by: int | None = None
    was_stopped: bool = False
    in_vain: bool = False
    refused_label: tuple[str, int, int] | None = None
    divided_again: int | None = None
    mean_again: int | None = None
    undivided: int | None = None
    opposed: bool = False
    remade: tuple[int, bool] | None = None
    repeated_steps: tuple[int, int, bool] | None = None
    added_in_closure: AddedInClosure | None = None
    takes_turns: bool = False
    order_blind: str | None = None
    all_given: bool = False
    featureless: bool = False
    filled_extreme: tuple[str, float] | None = None
    softened: tuple[float, float] | None = None
    distilled: tuple[float, float, float] | None = None
    temperatures: tuple[float, float] | None = None
    cosine_scale: tuple[float, int] | None = None
    over_examples: bool = False
    wrong_argument: tuple[str, str] | None = None
    weighs_by_share: bool = False
    weighs_examples: bool = False
    flat_function: str | None = None
    cut_by: str | None = None
    solved_by: float | None = None
    differentiates: bool = False
    unread_ends: tuple[str, float] | None = None
    reversed_ends: tuple[str, float] | None = None
    index_goals: int | None = None
    fresh_starts: tuple[int, int] | None = None
    ends_by_state: float | None = None
    rounded_gradient: tuple[float, float] | None = None
    flat_examples: tuple[float, float] | None = None
    all_at_limit: bool = False
    underflow: tuple[str, float, float] | None = None
    unequal_terms: tuple[float, int] | None = None
    code_price: tuple[float, int, float] | None = None
    asks_itself: bool = False
    looks_up: bool = False
    takes_sine: bool = False
    sine_of: float | None = None
    third_sine_of: float | None = None
    task_loss: str | None = None
    task_form: str | None = None
    compares_returned: bool = False
    low_precision: str | None = None
    eps: float | None = None
    biases_dead: tuple[str, ...] = ()
    readings: Readings = field(default_factory=Readings)
    notes: tuple[str, ...] = ()
