"""The log's trials on gradients, and its two conclusions about them: starts of net D, probed at the log's own size."""

from __future__ import annotations

from trainability.trials.imagenet import BUGS, DESTROYED, IMAGENET_ERRORS, RESUMED, settings_of
from trainability.trials.small_sets import learned, not_learned
from trainability.trials.trial import Expectation, Plan, Trial, Value

_VANISHING = "Gradient vanishing problem"
_RANGES = (
    "Which plan it was, the text does not say: one is the commit's of that date, the others are starts with the ranges that "
    "it reports."
)

VANISHING = Trial(
    id="imagenet-D-vanishing",
    chapter="gradients",
    section=_VANISHING,
    data="imagenet",
    reports="Smallest and largest gradients of most layers fall to 1e-7.",
    explanation="Gradients vanish in most layers.",
    reading="Not at the start: with the plan of the commit of that date every layer's largest gradient is 1e-3 to 1e-2 "
    "there. What the log saw came while it trained, on images a third of which were blank. 1e-7 at the start is what N(0, "
    "0.01) on every layer gives, 1e-5 what the paper's seven Xavier layers and 0.01 give. " + _RANGES,
    settings={"model.config": Value(value="D", source="the log")},
    plans=(
        Plan(label="19-may", plan="xavier:3,normal=0.1:2,xavier", source="its code"),
        Plan(label="all-0.01", plan="normal=0.01"),
        Plan(label="seven-xavier", plan="xavier:4,normal=0.01,xavier:3"),
    ),
    expectations=(
        Expectation(
            metric="late_gradient", text="while it trains on ImageNet, no gradient is above 1e-6", role="phenomenon", high=1e-6
        ),
        Expectation(
            metric="last_gradient:19-may",
            text="from that start the last layer's gradient is below 1e-5",
            role="holds",
            high=1e-5,
        ),
        Expectation(
            metric="weakest_gradient:19-may",
            text="from that start no layer's largest gradient is below 1e-4: they do not vanish there",
            role="fails",
            low=1e-4,
        ),
    ),
    not_at_pocket="Gradients while it trains: it needs ImageNet (--scale full). imagenet-D-vanishing-trained shows them on "
    "digits.",
)

PROPAGATE = Trial(
    id="imagenet-D-propagate",
    chapter="gradients",
    section=_VANISHING,
    data="imagenet",
    reports="Gradients reach 2e-1, from 1e-5 before; at epoch 10 the top-1 error is 3 points above the MSR curve.",
    explanation="N(0, σ) on late layers and Xavier on the 512-channel layers keep gradients from vanishing.",
    reading="The plan of the commit of that date has σ = 0.1 on five layers and Xavier on the seven 512-channel and fully "
    "connected ones behind them: a budget of +0.3, in the middle of the band, against -4.5 before. Any layers would do, as "
    "two fully connected ones show, and so would inputs of 0 to 255. The MSR curve is a net with batch norm and He "
    "initialisation, plain-18, by centre crops. " + _RANGES,
    settings={"model.config": Value(value="D", source="the log")},
    plans=(
        Plan(label="2-june", plan="xavier:4,normal=0.1:5,xavier", source="its code"),
        Plan(label="late-0.1", plan="xavier:13,normal=0.1:2,xavier:1"),
        Plan(label="all-xavier", plan="xavier"),
        Plan(label="all-xavier-0-255", plan="xavier", input="mean"),
    ),
    expectations=(
        Expectation(
            metric="weakest_gradient:2-june",
            text="2e-1 within a factor 10, in the layer where it is smallest",
            role="phenomenon",
            low=2e-2,
            high=2.0,
        ),
        Expectation(metric="first_gradient:2-june", text="2e-2 or more reaches the first layer too", role="holds", low=2e-2),
        Expectation(
            metric="first_gradient:2-june", text="the first layer's gradient is still below 1e-4", role="fails", high=1e-4
        ),
    ),
    not_at_pocket="The error at epoch 10: it needs ImageNet (--scale full).",
)

_CONCLUSION = "The log's conclusions"

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
    settings={"model.config": Value(value="D", source="the log")},
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
    settings={"model.config": Value(value="D", source="the log")},
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


def _trained(probed: Trial, plan: dict[str, Value], reports: str, expectations: tuple[Expectation, ...]) -> Trial:
    """The training run whose gradients a probe trial examines; only in these two states could clipping end."""
    return Trial(
        id=f"{probed.id}-trained",
        chapter="gradients",
        section=_VANISHING,
        data="imagenet",
        reports=reports,
        explanation=probed.explanation,
        reading="Clipping ended for good below a loss of 7.0, where chance is 6.91, and where validation and training loss "
        "were 0.03 apart: before anything was learned. " + DESTROYED,
        settings=settings_of("D", plan),
        faults=(*BUGS, "clip-dropped", "lost-plateau"),
        expectations=expectations,
        steps=400,
        sessions=2,
        not_at_pocket=IMAGENET_ERRORS + RESUMED,
    )


VANISHING_TRAINED = _trained(
    VANISHING,
    {"init.plan": Value(value="xavier:3,normal=0.1:2,xavier", source="its code", note="of 19 May, by date")},
    "The last success trained again, with histograms: gradients fall to 1e-7.",
    (
        Expectation(
            metric="late_gradient",
            text="at the end of the run no gradient is above 1e-6",
            role="phenomenon",
            variant="as-run",
            high=1e-6,
        ),
        Expectation(metric="late_gradient", text="without the bugs neither", role="holds", high=1e-6),
        learned("fails", "without the bugs the same start learns"),
    ),
)
PROPAGATE_TRAINED = _trained(
    PROPAGATE,
    {"init.plan": Value(value="xavier:4,normal=0.1:5,xavier", source="its code", note="of 2 June, by date")},
    "Trains; at epoch 10 the top-1 error is 3 points above the MSR curve.",
    (
        learned("phenomenon", "it trains", "as-run"),
        learned("holds", "without the bugs it learns"),
        not_learned("fails", "without the bugs it learns nothing"),
    ),
)

GRADIENTS: tuple[Trial, ...] = (
    VANISHING,
    VANISHING_TRAINED,
    PROPAGATE,
    PROPAGATE_TRAINED,
    CONCLUSION_1,
    CONCLUSION_2,
)
