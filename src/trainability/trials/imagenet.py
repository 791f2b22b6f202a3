"""The seed's trials on ImageNet, and its two conclusions about gradients."""

from __future__ import annotations

from trainability.trials.small_sets import CLIP, learned, not_learned
from trainability.trials.trial import Expectation, Plan, Trial, Value

PUBLISHED = ("blank-images", "clip-dropped", "odd-accumulation")
_DESTROYED = (
    "A colour shift of up to 20 came after normalisation, with clipping to [0, 1]: it hits half of the training images and "
    "leaves about a third of all training images blank. Clipping ended for good below a loss of 7.0, where chance is 6.91."
)
_IMAGENET = "Errors at ImageNet's size: digits in ten classes stand in, with the depth and the gain budget of the seed's nets."


def _plan(text: str, source: str, note: str = "") -> dict[str, Value]:
    return {"init.plan": Value(value=text, source=source, note=note), "optim.clip": CLIP}  # type: ignore[arg-type]


_SEED_PLAN = _plan("xavier:4,normal=0.01,xavier:3", "seed", "the plan of the small sets' success")

A = Trial(
    id="imagenet-A",
    chapter="imagenet",
    section="Trying on ImageNet, model B does not converge well",
    data="imagenet",
    reports="Converges; stopped at epoch 18.",
    explanation="None is given; the paper, which it quotes, calls A shallow enough to be trained from a random start.",
    reading=_DESTROYED
    + " A resume forgot the drops of the learning rate. A has eight convolutions, four of them by Xavier: its budget is the "
    "mildest of the six nets.",
    settings={"model.config": Value(value="A", source="seed"), **_SEED_PLAN},
    faults=(*PUBLISHED, "lost-schedule"),
    expectations=(
        learned("phenomenon", "A converges", "as-published"),
        learned("holds", "A learns from this plan without the bugs"),
        not_learned("fails", "A learns nothing from this plan"),
    ),
    steps=1300,
    sessions=2,
    not_at_pocket=_IMAGENET + " Nor does a drop of the learning rate fall due in so few epochs, for a resume to forget.",
)

_b_fail = Trial(
    id="imagenet-B-fail-1",
    chapter="imagenet",
    section=A.section,
    data="imagenet",
    reports="The loss does not fall.",
    explanation="Two more randomly initialised layers saturate the activations.",
    reading="Nothing saturates: the signal dies. Each layer with σ = 0.01 keeps a seventeenth to a quarter of the mean "
    "square; six of them take the budget to about -9.",
    settings={"model.config": Value(value="B", source="seed"), **_SEED_PLAN},
    faults=PUBLISHED,
    expectations=(
        Expectation(
            metric="left_chance_step", text="the loss does not fall", role="phenomenon", variant="as-published", never=True
        ),
        Expectation(
            metric="last_convolution_rms",
            text="the last convolution's output is large, above 3 times the input",
            role="holds",
            low=3.0,
        ),
        Expectation(
            metric="last_convolution_rms",
            text="the last convolution's output is small, below a third of the input: it vanishes, it does not saturate",
            role="fails",
            high=1 / 3,
        ),
    ),
    steps=350,
    not_at_pocket=_IMAGENET,
)


def _b_again(number: int) -> Trial:
    return Trial(**{**vars(_b_fail), "id": f"imagenet-B-fail-{number}", "seeds": (number - 1,)})


_MORE = "The seed says more of the layers, not which"


def _more_xavier(letter: str, plan: str, seeds: tuple[int, ...], faults: tuple[str, ...], reading: str, *, steps: int) -> Trial:
    return Trial(
        id=f"imagenet-{letter}",
        chapter="more-xavier",
        section="Increase Xavier initialization layers",
        data="imagenet",
        reports="Converges (15 epochs)." if letter == "B" else "Converges (14 epochs), after several failures.",
        explanation="Xavier narrows the range of weights as layers grow, which keeps activations from saturating.",
        reading=reading,
        settings={"model.config": Value(value=letter, source="seed"), **_plan(plan, "our choice", _MORE)},
        faults=faults,
        expectations=(
            learned("phenomenon", "it converges", "as-published"),
            learned("holds", "with Xavier on more layers it learns"),
            not_learned("fails", "with Xavier on more layers it still learns nothing"),
            Expectation(
                metric="last_convolution_rms",
                text="the last convolution's output is small all the same: what Xavier mends is fading, not saturation",
                role="fails",
                high=1 / 3,
            ),
        ),
        seeds=seeds,
        steps=steps,
        not_at_pocket=_IMAGENET,
    )


B_SUCCESS = _more_xavier(
    "B",
    "xavier:9,normal=0.01:1,xavier:3",
    (0,),
    PUBLISHED,
    "The direction is right and the reason is not: Xavier widens the range here. For 512 channels it has σ = 0.0147, against "
    "0.01, and keeps half of the mean square instead of 0.23. " + _DESTROYED,
    steps=800,
)
C_SUCCESS = _more_xavier(
    "C",
    "xavier:11,normal=0.01:1,xavier:4",
    (0, 1, 2),
    (*PUBLISHED, "padded-pointwise"),
    "Its 1x1 convolutions were padded by 1, so that the final map was 8x8 and config C was not config C. C is three layers "
    "deeper than B, near the edge of the band: which seed leaves chance within the run is luck.",
    steps=1100,
)

_CLIFFS = "Extreme cliff in loss function and gradient exploding"


_OVERSHOOTS = (
    "There is no need of cliffs: layers with σ = 0.1 multiply the mean square by 6 to 23 each, so the loss starts in the "
    "tens or thousands and every step overshoots. " + _DESTROYED
)
_INSIDE = (
    "Of the three splits, this one starts inside the band: nothing overshoots. With the bugs it learns nothing all the same: "
    + _DESTROYED
)


def _d_fail(number: int, plan: str, reading: str = _OVERSHOOTS) -> Trial:
    return Trial(
        id=f"imagenet-D-fail-{number}",
        chapter="cliffs",
        section=_CLIFFS,
        data="imagenet",
        reports="The loss oscillates strongly from the very start.",
        explanation="A deeper net has cliffs in its loss, off which a step catapults the weights.",
        reading=reading,
        settings={
            "model.config": Value(value="D", source="seed"),
            **_plan(plan, "our choice", "the seed tried many splits and names none; σ = 0.1 is the code's"),
        },
        faults=PUBLISHED,
        expectations=(
            Expectation(
                metric="early_swing",
                text="the loss swings from the start by more than a tenth of ln C",
                role="phenomenon",
                variant="as-published",
                low=0.1,
            ),
            Expectation(
                metric="early_swing", text="without the bugs the loss swings from the start as well", role="holds", low=0.1
            ),
            Expectation(metric="early_swing", text="without the bugs nothing swings", role="fails", high=0.1),
            Expectation(
                metric="budget", text="the start is above the band: every step overshoots, cliff or none", role="fails", low=2.7
            ),
        ),
        steps=300,
        not_at_pocket=_IMAGENET,
    )


D_FAIL = (
    _d_fail(1, "xavier:4,normal=0.1,xavier:3"),
    _d_fail(2, "xavier:7,normal=0.1,xavier:3"),
    _d_fail(3, "xavier:10,normal=0.1,xavier:3", _INSIDE),
)

D_SUCCESS = Trial(
    id="imagenet-D",
    chapter="cliffs",
    section=_CLIFFS,
    data="imagenet",
    reports="With a lower clip the oscillation shrinks and D trains (9 epochs).",
    explanation="Clipping keeps a step from jumping off a cliff.",
    reading="A lower clip is a lower learning rate for as long as every step is clipped; it helps a start that is inside the "
    "band.",
    settings={
        "model.config": Value(value="D", source="seed"),
        **_plan("xavier:10,normal=0.1,xavier:3", "our choice", "that of the three splits whose budget is inside the band"),
        "optim.clip": Value(value=0.1, source="our choice", note="the seed says lower than before"),
    },
    faults=PUBLISHED,
    expectations=(
        learned("phenomenon", "it trains", "as-published"),
        learned("holds", "with the lower clip it learns"),
        not_learned("fails", "with the lower clip it learns nothing"),
    ),
    seeds=(0, 1),
    steps=600,
    not_at_pocket=_IMAGENET,
)

_VANISHING = "Gradient vanishing problem"
_RANGES = "Which plan it was, the seed does not say: these are starts with the ranges that it reports."

VANISHING = Trial(
    id="imagenet-D-vanishing",
    chapter="gradients",
    section=_VANISHING,
    data="imagenet",
    reports="Smallest and largest gradients of most layers fall to 1e-7.",
    explanation="Gradients vanish in most layers.",
    reading="They do, in all layers alike, since the product of all the other gains stands in each of them. 1e-7 is what "
    "N(0, 0.01) on every layer gives at the start, 1e-5 what the paper's seven Xavier layers give. " + _RANGES,
    settings={"model.config": Value(value="D", source="seed")},
    plans=(
        Plan(label="all-0.01", plan="normal=0.01"),
        Plan(label="seven-xavier", plan="xavier:4,normal=0.01,xavier:3"),
    ),
    expectations=(
        Expectation(metric="first_gradient:all-0.01", text="1e-7 within a factor 10", role="phenomenon", low=1e-8, high=1e-6),
        Expectation(
            metric="first_gradient:seven-xavier", text="1e-5 within a factor 10", role="phenomenon", low=1e-6, high=1e-4
        ),
        Expectation(metric="last_gradient:all-0.01", text="the last layer's gradient is as small", role="holds", high=1e-5),
        Expectation(metric="last_gradient:all-0.01", text="only early layers' gradients are small", role="fails", low=1e-3),
    ),
)

PROPAGATE = Trial(
    id="imagenet-D-propagate",
    chapter="gradients",
    section=_VANISHING,
    data="imagenet",
    reports="Gradients reach 2e-1, from 1e-5 before; at epoch 10 the top-1 error is 3 points above the MSR curve.",
    explanation="N(0, σ) on late layers and Xavier on the 512-channel layers keep gradients from vanishing.",
    reading="σ = 0.1 on two fully-connected layers multiplies the mean square by 125 and 20 and so repays what the "
    "convolutions lose. Any layer would do, and so would inputs of 0 to 255. The MSR curve is a net with batch norm and He "
    "initialisation, plain-18, by centre crops. " + _RANGES,
    settings={"model.config": Value(value="D", source="seed")},
    plans=(
        Plan(label="late-0.1", plan="xavier:13,normal=0.1:2,xavier:1"),
        Plan(label="all-xavier", plan="xavier"),
        Plan(label="all-xavier-0-255", plan="xavier", input="mean"),
    ),
    expectations=(
        Expectation(metric="last_gradient:late-0.1", text="2e-1 within a factor 10", role="phenomenon", low=2e-2, high=2.0),
        Expectation(
            metric="first_gradient:late-0.1",
            text="2e-1 within a factor 10 in the first layer too",
            role="holds",
            low=2e-2,
            high=2.0,
        ),
        Expectation(
            metric="first_gradient:late-0.1", text="the first layer's gradient is still below 1e-4", role="fails", high=1e-4
        ),
    ),
    not_at_pocket="The error at epoch 10: it needs ImageNet (--scale full).",
)

_CONCLUSION = "The seed's conclusions"

CONCLUSION_1 = Trial(
    id="conclusion-1",
    chapter="gradients",
    section=_CONCLUSION,
    data="imagenet",
    reports="The first conclusion, from many configurations that are not named.",
    explanation="A layer with N(0, σ) behind others makes their gradients larger, through the weighted sum.",
    reading="Only if σ gives more gain than what it replaces. In place of Xavier's 0.0147 on a 512-channel layer, 0.1 makes "
    "them larger and 0.01 smaller, by the square root of the gains' ratio in either case; and not of the layers before it "
    "alone, but of all the others.",
    settings={"model.config": Value(value="D", source="seed")},
    plans=(
        Plan(label="xavier", plan="xavier"),
        Plan(label="one-0.1", plan="xavier:12,normal=0.1:1,xavier:3"),
        Plan(label="one-0.01", plan="xavier:12,normal=0.01:1,xavier:3"),
    ),
    expectations=(
        Expectation(
            metric="first_gradient:one-0.1/xavier",
            text="one layer of σ = 0.1 raises the first layer's gradient",
            role="phenomenon",
            low=2.0,
        ),
        Expectation(metric="first_gradient:one-0.01/xavier", text="one layer of σ = 0.01 raises it too", role="holds", low=1.1),
        Expectation(metric="first_gradient:one-0.01/xavier", text="one layer of σ = 0.01 lowers it", role="fails", high=0.9),
        Expectation(metric="last_gradient:one-0.1/xavier", text="a layer behind it gains as well", role="fails", low=2.0),
    ),
)

CONCLUSION_2 = Trial(
    id="conclusion-2",
    chapter="gradients",
    section=_CONCLUSION,
    data="imagenet",
    reports="The second conclusion, from many configurations that are not named.",
    explanation="Xavier on the 512-channel layers keeps gradients from vanishing.",
    reading="It helps, by a factor of about ten against σ = 0.01, and it does not suffice: Xavier keeps half of the mean "
    "square of a ReLU layer, so sixteen layers still lose six to seven powers of ten.",
    settings={"model.config": Value(value="D", source="seed")},
    plans=(
        Plan(label="deep-xavier", plan="xavier"),
        Plan(label="deep-0.01", plan="xavier:7,normal=0.01:6,xavier:3"),
    ),
    expectations=(
        Expectation(
            metric="first_gradient:deep-0.01",
            text="without it the first layer's largest gradient is below 1e-4",
            role="phenomenon",
            high=1e-4,
        ),
        Expectation(
            metric="first_gradient:deep-xavier/deep-0.01",
            text="Xavier on the six 512-channel layers raises the first gradient at least threefold",
            role="holds",
            low=3.0,
        ),
        Expectation(
            metric="first_gradient:deep-xavier",
            text="the first layer's largest gradient is above 1e-4",
            role="holds",
            low=1e-4,
        ),
        Expectation(metric="first_gradient:deep-xavier/deep-0.01", text="it makes no difference", role="fails", high=1.0),
    ),
)

IMAGENET: tuple[Trial, ...] = (
    A,
    _b_fail,
    *(_b_again(number) for number in (2, 3, 4)),
    B_SUCCESS,
    C_SUCCESS,
    *D_FAIL,
    D_SUCCESS,
    VANISHING,
    PROPAGATE,
    CONCLUSION_1,
    CONCLUSION_2,
)
