"""The log's trials on ImageNet: which nets trained, and which did not."""

from __future__ import annotations

from trainability.trials.small_sets import CLIP, TOLD, above_band, learned, not_learned, plan_of
from trainability.trials.trial import Expectation, Trial, Value

BUGS = ("blank-images", "odd-accumulation")
DESTROYED = (
    "A colour shift of up to 20 came after normalisation, with clipping to [0, 1]: it hits half of the training images and "
    "leaves about a third of all training images blank."
)
IMAGENET_ERRORS = (
    "Errors at ImageNet's size: digits in ten classes stand in, with the depth and the gain budget of the log's nets."
)
RESUMED = " Nor does a drop of the learning rate fall due in so few epochs, for a resume to delay."


def settings_of(letter: str, plan: dict[str, Value]) -> dict[str, Value]:
    return {"model.config": Value(value=letter, source="the log"), **plan, "optim.clip": CLIP}


A = Trial(
    id="imagenet-A",
    chapter="imagenet",
    section="Trying on ImageNet, model B does not converge well",
    data="imagenet",
    reports="Converges; stopped at epoch 18.",
    explanation="None is given; the paper, which it quotes, calls A shallow enough to be trained from a random start.",
    reading="With σ = 0.1, as it was run, A's eight convolutions have a budget of +1.2: inside the band. "
    + DESTROYED
    + " A resume forgot the schedule's best value and count.",
    settings=settings_of("A", plan_of(4, 0.1)),
    faults=(*BUGS, "lost-plateau"),
    as_told=TOLD,
    expectations=(
        learned("phenomenon", "A converges", "as-run"),
        learned("holds", "A learns from this plan without the bugs"),
        not_learned("fails", "A learns nothing from this plan"),
    ),
    steps=600,
    sessions=2,
    not_at_pocket=IMAGENET_ERRORS + RESUMED,
)

_b_fail = Trial(
    id="imagenet-B-fail-1",
    chapter="imagenet",
    section=A.section,
    data="imagenet",
    reports="The loss does not fall.",
    explanation="Two more randomly initialised layers saturate the activations.",
    reading="So it is, if saturated means too large: with σ = 0.1 each of the six random layers multiplies the mean square "
    "by 3 to 23, the budget is +3.2, above the band, and the signal behind the last convolution some 400 at the log's own "
    "size. A ReLU does not saturate; the loss starts in the hundreds, and every step overshoots. " + DESTROYED,
    settings=settings_of("B", plan_of(4, 0.1)),
    faults=BUGS,
    as_told=TOLD,
    expectations=(
        Expectation(metric="left_chance_step", text="the loss does not fall", role="phenomenon", variant="as-run", never=True),
        above_band("holds", "the start is above the band, without the bugs as well"),
        Expectation(
            metric="last_convolution_rms",
            text="the last convolution's output is large, above 3 times the input",
            role="holds",
            low=3.0,
        ),
        Expectation(
            metric="last_convolution_rms",
            text="the last convolution's output is small, below a third of the input: it vanishes",
            role="fails",
            high=1 / 3,
        ),
    ),
    steps=300,
    not_at_pocket=IMAGENET_ERRORS,
)


def _b_again(number: int) -> Trial:
    return Trial(**{**vars(_b_fail), "id": f"imagenet-B-fail-{number}", "seeds": (number - 1,), "as_told": None})


def _more_xavier(letter: str, first: int, seeds: tuple[int, ...], faults: tuple[str, ...], reading: str) -> Trial:
    return Trial(
        id=f"imagenet-{letter}",
        chapter="more-xavier",
        section="Increase Xavier initialization layers",
        data="imagenet",
        reports="Converges (15 epochs)." if letter == "B" else "Converges (14 epochs), after several failures.",
        explanation="Xavier narrows the range of weights as layers grow, which keeps activations from saturating.",
        reading=reading,
        settings=settings_of(letter, plan_of(first, 0.1)),
        faults=(*faults, "lost-plateau"),
        as_told=plan_of(first, 0.01, source="the log", note="the text's σ, on the layers of the commit"),
        expectations=(
            learned("phenomenon", "it converges", "as-run"),
            learned("holds", "with Xavier on more layers it learns"),
            Expectation(
                metric="last_convolution_rms",
                text="the last convolution's output is no larger than 3 times the input: nothing saturates",
                role="holds",
                high=3.0,
            ),
            not_learned("fails", "with Xavier on more layers it still learns nothing"),
            Expectation(
                metric="last_convolution_rms",
                text="the last convolution's output is large all the same",
                role="fails",
                low=3.0,
            ),
        ),
        seeds=seeds,
        steps=450,
        sessions=2,
        not_at_pocket=IMAGENET_ERRORS + RESUMED,
    )


B_SUCCESS = _more_xavier(
    "B",
    8,
    (0,),
    BUGS,
    "For 512 channels Xavier has σ = 0.0147, against 0.1: it keeps half of the mean square, where 0.1 multiplies it by 23. "
    "Four more layers of Xavier take the budget from +3.2 to -2.6, into the band. " + DESTROYED,
)
C_SUCCESS = _more_xavier(
    "C",
    11,
    (0, 1),
    (*BUGS, "padded-pointwise"),
    "Eleven of thirteen convolutions by Xavier: a budget of -4.5, just inside the band. Its 1x1 convolutions were padded by "
    "1, so that the final map was 8x8 and config C was not config C. " + DESTROYED,
)

_CLIFFS = "Extreme cliff in loss function and gradient exploding"
_OVERSHOOTS = (
    "There is no need of cliffs: layers with σ = 0.1 multiply the mean square by up to 23 each, so the loss starts far above "
    "chance and the first steps overshoot. " + DESTROYED
)
_SPLITS = "the text tells of many splits and names none; the code names those of A, B and C, at σ = 0.1"


def _d_fail(number: int, first: int, reading: str = _OVERSHOOTS) -> Trial:
    return Trial(
        id=f"imagenet-D-fail-{number}",
        chapter="cliffs",
        section=_CLIFFS,
        data="imagenet",
        reports="The loss oscillates strongly from the very start.",
        explanation="A deeper net has cliffs in its loss, off which a step catapults the weights.",
        reading=reading,
        settings=settings_of("D", plan_of(first, 0.1, source="our choice", note=_SPLITS)),
        faults=BUGS,
        expectations=(
            Expectation(
                metric="early_swing",
                text="the loss swings from the start by more than a tenth of ln C",
                role="phenomenon",
                variant="as-run",
                low=0.1,
            ),
            Expectation(
                metric="early_swing", text="without the bugs the loss swings from the start as well", role="holds", low=0.1
            ),
            Expectation(metric="early_swing", text="without the bugs nothing swings", role="fails", high=0.1),
            above_band("fails", "the start is above the band: every step overshoots, cliff or none"),
        ),
        steps=300,
        not_at_pocket=IMAGENET_ERRORS,
    )


D_FAIL = (
    _d_fail(1, 4),
    _d_fail(2, 8),
    _d_fail(3, 11, "The split with which D then trained, under the clip of the trials before it. " + DESTROYED),
)

D_SUCCESS = Trial(
    id="imagenet-D",
    chapter="cliffs",
    section=_CLIFFS,
    data="imagenet",
    reports="With a lower clip the oscillation shrinks and D trains (9 epochs).",
    explanation="Clipping keeps a step from jumping off a cliff.",
    reading="Eleven Xavier layers put D at -3.5, inside the band, and Nesterov's momentum came with the clip. What the same "
    "start does without them, imagenet-D-fail-3 shows. " + DESTROYED,
    settings={
        **settings_of("D", plan_of(11, 0.1, note="by the comment of the commit; its file has 12, a budget of -5.2")),
        "optim.clip": Value(value=0.7, source="its code"),
        "optim.nesterov": Value(value=True, source="its code"),
    },
    faults=(*BUGS, "lost-plateau"),
    as_told=plan_of(11, 0.01, source="the log", note="the text's σ, on the layers of the commit"),
    expectations=(
        learned("phenomenon", "it trains", "as-run"),
        learned("holds", "with the lower clip it learns"),
        not_learned("fails", "with the lower clip it learns nothing"),
    ),
    seeds=(0, 1),
    steps=450,
    sessions=2,
    not_at_pocket=IMAGENET_ERRORS + RESUMED,
)

IMAGENET: tuple[Trial, ...] = (
    A,
    _b_fail,
    *(_b_again(number) for number in (2, 3, 4)),
    B_SUCCESS,
    C_SUCCESS,
    *D_FAIL,
    D_SUCCESS,
)
