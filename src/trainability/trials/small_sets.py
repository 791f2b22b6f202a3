"""The seed's trials on Caltech-256, CIFAR-100, CIFAR-10 and MNIST, in its own order."""

from __future__ import annotations

import math
from typing import Any

from trainability.trials.trial import Expectation, Trial, Value

B = Value(value="B", source="seed")
XAVIER = Value(value="xavier", source="seed")
CLIP = Value(value=1.0, source="our choice", note="the seed clips and does not say where")

WRONG_METRIC = ("metric-of-last-batch", "halved-loss", "odd-accumulation")
"""What the code had until the commit in which "it converges now"."""
REPAIRED_METRIC = ("halved-loss", "odd-accumulation")
"""What it still had after it."""

METRIC_READING = "The accuracy was the correct count of the last batch over the size of the whole validation set."
_CALTECH_READING = (
    " On Caltech-256 it could never pass 128 of 6,016, 2.1 %, whatever the net had learned. The plotted loss was halved, and "
    "training and validation shared one data set object, so that training saw centre crops. Decoded, three of the four "
    "plots are nets that learn."
)


def _random_middle(std: float, source: str, note: str = "") -> dict[str, Value]:
    """The paper's seven layers by Xavier, the rest N(0, std)."""
    return {"init.plan": Value(value=f"xavier:4,normal={std:g},xavier:3", source=source, note=note)}  # type: ignore[arg-type]


def looks_failed(text: str = "the run shows an accuracy that does not move") -> Expectation:
    """The published run shows almost no accuracy at any epoch."""
    return Expectation(metric="shown_top1_error", text=text, role="phenomenon", variant="as-published", low=0.95)


def learned(role: str, text: str, variant: str = "repaired") -> Expectation:
    """The net answers at least twice as often right as one constant answer does."""
    return Expectation(metric="times_constant", text=text, role=role, variant=variant, low=2.0)  # type: ignore[arg-type]


def not_learned(role: str, text: str, variant: str = "repaired") -> Expectation:
    """The net answers no better than one and a half times a constant answer."""
    return Expectation(metric="times_constant", text=text, role=role, variant=variant, high=1.5)  # type: ignore[arg-type]


_STEPS_XAVIER = 1000


def _starts_at(num_outputs: int) -> Expectation:
    """The plotted loss is half of what guessing among the outputs costs: 3.45 for 1000, 2.77 for 257."""
    half = math.log(num_outputs) / 2
    text = f"the loss that is shown starts at ln({num_outputs}) / 2 = {half:.2f}, as the plot does"
    return Expectation(
        metric="shown_first_loss", text=text, role="phenomenon", variant="as-published", low=half - 0.03, high=half + 0.03
    )


_caltech = Trial(
    id="caltech-1",
    chapter="caltech",
    section="Proof of correctness with Caltech-256",
    data="caltech256",
    reports="The loss converges, validation accuracy does not move; the net predicts almost only comet or background.",
    explanation="The weights' starting point is unlucky, so restart; then: the data is too hard for the model.",
    reading=METRIC_READING + _CALTECH_READING + " The head had 1000 outputs for 257 classes.",
    settings={"model.config": B, "init.plan": XAVIER},
    faults=(*WRONG_METRIC, "shared-data-set"),
    published={"model.num-outputs": Value(value=1000, source="public code")},
    expectations=(
        looks_failed(),
        _starts_at(1000),
        Expectation(
            metric="two_classes_share",
            text="most answers are one of two classes",
            role="phenomenon",
            variant="as-published",
            low=0.5,
        ),
        learned("fails", "the published run, measured rightly, learns", "as-published"),
        learned("fails", "without the bugs the same start learns"),
    ),
    steps=_STEPS_XAVIER,
    not_at_pocket="That the published run learns: with 1,000 outputs it needs more steps to leave chance than it has here. "
    "caltech-4, without them, shows it.",
)


def _restart(number: int, seed: int) -> Trial:
    changed: dict[str, Any] = {"id": f"caltech-{number}", "seeds": (seed,)}
    if number == 4:  # the fourth plot starts at ln(257) / 2: the head had been mended by then
        expectations = (looks_failed(), _starts_at(257), *_caltech.expectations[2:])
        changed |= {"published": None, "expectations": expectations, "not_at_pocket": ""}
        changed["reading"] = METRIC_READING + _CALTECH_READING + " The head had 257 outputs by now."
    return Trial(**{**vars(_caltech), **changed})


CALTECH = (_caltech, _restart(2, 1), _restart(3, 2), _restart(4, 3))

LINEAR = Trial(
    id="caltech-linear",
    chapter="linear",
    section="1x1 convolution to linear layer",
    data="caltech256",
    reports="A linear head in place of the convolutional one makes no difference.",
    explanation="Mathematically the two are the same.",
    reading="They are: the same numbers in another shape. What kept the accuracy down was not the network.",
    settings={"model.config": B, "init.plan": XAVIER, "model.classifier": Value(value="linear", source="seed")},
    faults=_caltech.faults,
    published=_caltech.published,
    expectations=(
        looks_failed(),
        Expectation(metric="loss_gap", text="both heads have the same losses, step by step", role="holds", high=0.02),
        Expectation(metric="loss_gap", text="the losses of the two heads part", role="fails", low=0.2),
    ),
    steps=300,
    compared_with="caltech-1",
)

_cifar100 = Trial(
    id="cifar100-1",
    chapter="cifar100",
    section="Data set change from Caltech-256 to CIFAR-100",
    data="cifar100",
    reports="More images per class, fewer classes, no imbalance: not learning either.",
    explanation="Caltech-256 has few images per class and is imbalanced; an easier set would be learned.",
    reading=METRIC_READING,
    settings={"model.config": B, "init.plan": XAVIER},
    faults=WRONG_METRIC,
    expectations=(
        looks_failed(),
        learned("fails", "measured rightly, the published run learns: the data was not the matter", "as-published"),
    ),
    steps=_STEPS_XAVIER,
)
CIFAR100 = (_cifar100, Trial(**{**vars(_cifar100), "id": "cifar100-2", "seeds": (1,)}))

_MIXED_READING = (
    "σ = 0.2 multiplies the mean square by 23 to 92 in each 256- and 512-channel layer. The budget is far above the band "
    "that trains: logits of thousands, and steps that overshoot. Clipping bounds the step, not the signal."
)


def _mixed(data: str, name: str) -> tuple[Trial, Trial]:
    settings = {
        "model.config": B,
        **_random_middle(0.2, "public code", "the seed writes 0.02 and 0.2; the code has 0.2"),
    }
    unclipped = Trial(
        id=f"{name}-mixed-unclipped",
        chapter="mixed",
        section="Weight initialization method differ by layer",
        data=data,
        reports="The loss becomes NaN from exploding gradients.",
        explanation="Gradients explode; 0.2 was taken from GPT code in the hope that it helps training from scratch.",
        reading=_MIXED_READING,
        settings=settings,
        faults=WRONG_METRIC,
        expectations=(
            Expectation(metric="nan_step", text="the loss is not finite", role="phenomenon", variant="as-published", low=1),
            Expectation(metric="nan_step", text="not finite without the bugs too", role="holds", low=1),
            Expectation(metric="nan_step", text="without the bugs the loss stays finite", role="fails", never=True),
        ),
        steps=200,
    )
    clipped = Trial(
        id=f"{name}-mixed",
        chapter="mixed",
        section=unclipped.section,
        data=data,
        reports="Clipping removes the NaN; accuracy stays where it was.",
        explanation="Exploding gradients were the trouble, and clipping adjusts them.",
        reading=_MIXED_READING + " So the NaN goes and the net still cannot learn.",
        settings={**settings, "optim.clip": CLIP},
        faults=WRONG_METRIC,
        expectations=(
            looks_failed("accuracy stays where it was"),
            Expectation(metric="nan_step", text="clipping removes the NaN", role="holds", never=True),
            Expectation(metric="budget", text="the budget explains it: above 2.7", role="holds", low=2.7),
            learned("fails", "clipped and measured rightly, it learns"),
        ),
        steps=400,
    )
    return unclipped, clipped


MIXED = (*_mixed("caltech256", "caltech"), *_mixed("cifar100", "cifar100"))

_RANDOM_EXPLANATION = "Xavier's range is so narrow that filters do not learn different features; more random layers, from a "
"wider range, would help."


def _random(data: str, name: str, suffix: str, plan: str, note: str) -> Trial:
    return Trial(
        id=f"{name}-{suffix}",
        chapter="more-random",
        section="Number of random initialized layers increase",
        data=data,
        reports="Now and then a little better, never consistently.",
        explanation=_RANDOM_EXPLANATION,
        reading="More layers with σ = 0.1 push the budget further above the band that trains. Xavier's range is not too "
        "narrow: on this very net it is the plan that learns.",
        settings={"model.config": B, "init.plan": Value(value=plan, source="our choice", note=note), "optim.clip": CLIP},
        faults=WRONG_METRIC,
        expectations=(
            looks_failed("no consistent gain shows"),
            learned("holds", "with more random layers, measured rightly, it learns"),
            not_learned("fails", "with more random layers it learns nothing, measured rightly"),
            Expectation(metric="nan_step", text="with more random layers the loss is not finite", role="fails", low=1),
        ),
        seeds=(0, 1),
        steps=300,
    )


_SIGMA_NOTE = "σ = 0.1 is the code's second value; the seed does not say which layers"
MORE_RANDOM = tuple(
    _random(data, name, suffix, plan, _SIGMA_NOTE)
    for suffix, plan in (("mixed-2", "xavier:4,normal=0.1,xavier:3"), ("more-random", "xavier:2,normal=0.1,xavier:3"))
    for data, name in (("caltech256", "caltech"), ("cifar100", "cifar100"))
)


def _simpler(data: str, published: dict[str, Value] | None, extra: str) -> Trial:
    return Trial(
        id=f"{data}-fail",
        chapter="simpler",
        section="Data set change from CIFAR-100 to CIFAR-10, MNIST",
        data=data,
        reports="The loss converges, accuracy does not improve.",
        explanation="The complexity of the data is not the cause.",
        reading="True, and the metric alone would have looked the same: with the last batch over the whole set, no data set "
        "can show an accuracy. The start is outside the band as well." + extra,
        settings={"model.config": B, **_random_middle(0.1, "public code", "the code's second value"), "optim.clip": CLIP},
        faults=WRONG_METRIC,
        published=published,
        expectations=(
            looks_failed(),
            not_learned("holds", "without the bugs, ten classes are not learned either"),
            learned("fails", "without the bugs, ten classes are learned"),
        ),
        steps=450,
    )


SIMPLER = (
    _simpler(
        "mnist",
        {"data.flip": Value(value=True, source="public code")},
        " MNIST was flipped left to right, which makes other characters of some.",
    ),
    _simpler(
        "cifar10",
        None,
        " CIFAR-10 was normalised with CIFAR-100's statistics, a shift of a few hundredths, which is not replayed.",
    ),
)

_BACK_EXPLANATION = (
    "σ = 0.01 instead of 0.2, and Xavier on the layers that the paper names, keep the distributions of activations and "
    "gradients alike from layer to layer."
)
_BACK_READING = (
    "The same commit repaired the metric, so its accuracy could be seen for the first time; and no commit has σ = 0.01: the "
    "code has 0.1. σ = 0.01 on inputs of unit variance has a budget below -8: 512-channel layers keep 0.12 and 0.23 of the "
    "mean square, where Xavier keeps a third and a half. It makes the layers less alike, not more."
)


# The layers are alike if the last convolution's output is about as large as the input, whose rms is 1.
_UNLIKE = (
    Expectation(
        metric="last_convolution_rms",
        text="the last convolution's output is less than a third of the input: the layers are not alike, the signal fades",
        role="fails",
        high=1 / 3,
    ),
    Expectation(
        metric="last_convolution_rms",
        text="the last convolution's output is more than 3 times the input: the layers are not alike, the signal grows",
        role="fails",
        low=3.0,
    ),
)


def _back(data: str, suffix: str, std: float, source: str, note: str, chapter: str = "back") -> Trial:
    return Trial(
        id=f"{data}-success{suffix}",
        chapter=chapter,
        section="Return back to standard deviation 0.01" if chapter == "back" else "Trying again on CIFAR-100",
        data=data,
        reports="Converges.",
        explanation=_BACK_EXPLANATION,
        reading=_BACK_READING,
        settings={"model.config": B, **_random_middle(std, source, note), "optim.clip": CLIP},
        faults=REPAIRED_METRIC,
        expectations=(
            learned("phenomenon", "it converges", "as-published"),
            learned("holds", "from this start, without the bugs, it learns"),
            *_UNLIKE,
        ),
        steps=700,
        not_at_pocket="A stay at chance of thousands of steps, which a real run of tens of thousands could outlast: read the "
        "predicted plateau.",
    )


_TOLD = "as the seed tells it"
_CODED = "as the code has it"
BACK = (
    _back("mnist", "", 0.01, "seed", _TOLD),
    _back("mnist", "-coded", 0.1, "public code", _CODED),
    _back("cifar10", "", 0.01, "seed", _TOLD),
    _back("cifar10", "-coded", 0.1, "public code", _CODED),
    _back("cifar100", "", 0.01, "seed", _TOLD, "again"),
)

SMALL_SETS: tuple[Trial, ...] = (*CALTECH, LINEAR, *CIFAR100, *MIXED, *MORE_RANDOM, *SIMPLER, *BACK)
