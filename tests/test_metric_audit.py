"""The metric against answers that are known, in the shape of the model's own outputs: right ones pass, wrong ones are named."""

import pytest
import torch
from small_programs import batches, digits
from torch import nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor import AnswerForm, Evidence, audit_metric, diagnose
from trainability.doctor.answer_form import answer_form
from trainability.doctor.facts import Facts
from trainability.doctor.measure.known_answers import SIZE, answers
from trainability.doctor.rehearsed import Task

BINARY = AnswerForm(kind="binary", output=(1,), target=(1,), float_target=True)
NUMBERS = AnswerForm(kind="binary", output=(), target=(), float_target=True)
MIXED_SHAPES = AnswerForm(kind="binary", output=(1,), target=())
PROBABILITIES = AnswerForm(kind="binary", output=(1,), target=(1,), float_target=True, probabilities=True)
LABELS = AnswerForm(kind="multilabel", output=(6,), target=(6,), float_target=True)
TOKENS = AnswerForm(kind="token_classification", output=(20, 12), target=(20,))
PIXELS = AnswerForm(kind="pixel_classification", output=(3, 32, 32), target=(32, 32))
MASKS = AnswerForm(kind="pixel_binary", output=(1, 32, 32), target=(1, 32, 32), float_target=True)
VALUES = AnswerForm(kind="regression", output=(1,), target=(1,), float_target=True)
VALUES_FLAT = AnswerForm(kind="regression", output=(1,), target=(), float_target=True)
THREE, TWO = AnswerForm(output=(3,)), AnswerForm(output=(2,))
ALL = (BINARY, NUMBERS, MIXED_SHAPES, PROBABILITIES, LABELS, TOKENS, PIXELS, MASKS, VALUES, VALUES_FLAT, THREE, TWO)


def same(output, target):
    return (output == target).float().mean()


def positive(output, target):
    return same((output > 0).float(), target)


def f1(output, target):
    found = (output > 0).float()
    return 2 * (found * target).sum() / (found.sum() + target.sum()).clamp(min=1)


def topk(output, target, topk=(1,)):
    hits = output.topk(max(topk), dim=1).indices.eq(target[:, None])
    return [100.0 * hits[:, :k].any(dim=1).float().mean() for k in topk]


def mean_iou(output, target):
    named, classes = output.argmax(1), range(output.shape[1])
    both = torch.stack([((named == c) & (target == c)).sum() for c in classes])
    return (both / torch.stack([((named == c) | (target == c)).sum() for c in classes]).clamp(min=1)).mean()


def first(output, target):
    return same(output.argmax(1), target)


RIGHT = {
    "one logit": (BINARY, positive),
    "one logit, without a dimension": (NUMBERS, positive),
    "sigmoid inside": (BINARY, lambda o, t: same(o.sigmoid().round(), t)),
    "squeezes itself": (MIXED_SHAPES, lambda o, t: same((o.squeeze(1) > 0).long(), t)),
    "given squeezed": (MIXED_SHAPES, lambda o, t: same((o > 0).long(), t) if o.shape == t.shape else o.no_such_thing),
    "probabilities": (PROBABILITIES, lambda o, t: same((o > 0.5).float(), t)),
    "every label": (LABELS, positive),
    "all labels at once": (LABELS, lambda o, t: ((o > 0).float() == t).all(1).float().mean()),
    "F1": (LABELS, f1),
    "tokens": (TOKENS, lambda o, t: same(o.argmax(-1), t)),
    "tokens, given flat": (TOKENS, first),
    "pixels": (PIXELS, first),
    "mean IoU": (PIXELS, mean_iou),
    "masks": (MASKS, positive),
    "mean squared error": (VALUES, F.mse_loss),
    "mean absolute error": (VALUES_FLAT, lambda o, t: (o.squeeze(-1) - t).abs().mean()),
    "R squared": (VALUES, lambda o, t: 1 - (o - t).square().sum() / (t - t.mean()).square().sum()),
    "correlation": (VALUES, lambda o, t: torch.corrcoef(torch.stack([o.flatten(), t.flatten()]))[0, 1]),
    "pooled squares": (VALUES, lambda b: sum(F.mse_loss(o, t) * len(t) for o, t in b) / sum(len(t) for _, t in b)),
    "a list": (THREE, topk),
    "top-5 of three": (THREE, lambda o, t: topk(o, t, (5,))),
    "a tensor": (THREE, lambda o, t: torch.stack(topk(o, t, (1, 2)))),
    "a tuple": (THREE, lambda o, t: tuple(topk(o, t, (1, 2)))),
    "a dict": (THREE, lambda o, t: {"loss": F.cross_entropy(o, t), "acc": first(o, t)}),
    "a count and a number": (THREE, lambda o, t: ((o.argmax(1) == t).sum(), len(t))),
    "cross-entropy": (THREE, F.cross_entropy),
    "two classes by one": (TWO, lambda o, t: same((o.softmax(1)[:, 1] > 0.5).long(), t)),
    "given classes": (THREE, same),
}


class Remembers:
    hits = count = 0

    def update(self, output, target):
        self.hits += int((output.argmax(1) == target).sum())
        self.count += len(target)

    def compute(self):
        return self.hits / self.count


def of_batches(measure):
    return lambda batches: sum(measure(*batch) for batch in batches) / len(batches)


WRONG = {
    "arg-max of one logit": (BINARY, lambda o, t: same(o.argmax(1), t.squeeze(1)), "metric_wrong.value", "error"),
    "half as threshold of logits": (BINARY, lambda o, t: same((o > 0.5).float(), t), "metric_wrong.threshold", "warning"),
    "rounded logits": (BINARY, lambda o, t: same(o.round(), t), "metric_wrong.form", "hint"),
    "every answer against every label": (MIXED_SHAPES, lambda o, t: same(o > 0, t.bool()), "metric_wrong.form", "hint"),
    "arg-max of several labels": (LABELS, lambda o, t: same(o.argmax(1), t.argmax(1)), "metric_wrong.form", "hint"),
    "differences of all pairs": (VALUES_FLAT, lambda o, t: (o - t).square().mean(), "metric_wrong.form", "hint"),
    "mean of roots": (VALUES, of_batches(lambda o, t: F.mse_loss(o, t).sqrt()), "metric_wrong.batching", "error"),
    "mean IoU, batch by batch": (PIXELS, of_batches(mean_iou), "metric_wrong.batching", "warning"),
    "a count": (THREE, lambda o, t: (o.argmax(1) == t).sum(), "metric_wrong.count", "hint"),
    "a count of errors": (THREE, lambda o, t: (o.argmax(1) != t).sum().item(), "metric_wrong.count", "hint"),
    "a sum of ranks": (THREE, lambda o, t: (1 + (o > o.gather(1, t[:, None])).sum(1)).sum(), "metric_wrong.count", "hint"),
    "a distance of words": (TOKENS, lambda o, t: (o.argmax(-1) != t).sum(), "metric_wrong.count", "hint"),
    "a count of all batches": (THREE, lambda b: sum(int((o.argmax(1) != t).sum()) for o, t in b), "metric_wrong.count", "hint"),
    "a sum of costs": (THREE, lambda o, t: F.cross_entropy(o, t, reduction="sum"), "metric_wrong.count", "hint"),
    "a sum of squares": (VALUES, lambda o, t: (o - t).square().sum(), "metric_wrong.count", "hint"),
    "a norm": (VALUES, lambda o, t: (o - t).norm(), "metric_wrong.count", "hint"),
    "a count of the last batch": (THREE, lambda b: (b[-1][0].argmax(1) != b[-1][1]).sum(), "metric_wrong.value", "error"),
    "a count of one column": (THREE, lambda o, t: (o.argmax(0)[:1] == t[:1]).sum(), "metric_wrong.value", "error"),
    "errors by another number": (THREE, lambda o, t: (o.argmax(1) != t).sum() / 32, "metric_wrong.value", "error"),
    "another number": (THREE, lambda o, t: (o.argmax(1) == t).sum() / 32, "metric_wrong.value", "error"),
    "halved": (THREE, lambda o, t: first(o, t) / 2, "metric_wrong.unknown", "hint"),
    "constant": (THREE, lambda o, t: 0.5, "metric_wrong.value", "error"),
    "raises": (THREE, lambda o, t: o.no_such_thing, "metric_wrong.raised", "error"),
    "never reset": (THREE, Remembers(), "metric_wrong.state", "error"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_metric_passes(name):
    form, metric = RIGHT[name]
    assert diagnose(audit_metric(metric, form=form)).findings == ()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_metric_is_named(name):
    form, metric, code, severity = WRONG[name]
    assert [(f.code, f.severity) for f in diagnose(audit_metric(metric, form=form)).findings] == [(code, severity)]


@pytest.mark.parametrize("form", ALL)
def test_the_answers_are_as_right_as_they_say(form):
    made = answers(form, 48)
    width = {"classification": 1, "token_classification": -1, "pixel_classification": 1}.get(form.kind)
    if width is not None:
        agree = made.output.argmax(width) == made.target
    elif form.kind == "regression":
        agree = made.output.reshape(made.target.shape) == made.target
    else:
        agree = (made.output > (0.5 if form.probabilities else 0)).reshape(made.target.shape) == made.target.bool()
    assert torch.equal(agree.reshape(SIZE, -1).all(1), made.right)
    assert float(agree.float().mean()) == pytest.approx(0.4)
    assert made.target.is_floating_point() == form.float_target


@pytest.mark.parametrize(
    ("facts", "form"),
    [
        (Facts(output_shape=(8, 3), target_shape=(8,), task_loss="cross_entropy"), THREE),
        (Facts(output_shape=(8, 3), target_shape=(8,)), THREE),
        (Facts(output_shape=(8, 20, 12), target_shape=(8, 20), task_loss="cross_entropy"), TOKENS),
        (Facts(output_shape=(8, 3, 32, 32), target_shape=(8, 32, 32), task_loss="cross_entropy"), PIXELS),
        (Facts(output_shape=(160, 12), target_shape=(8, 20), task_loss="cross_entropy"), AnswerForm(output=(12,))),
        (
            Facts(output_shape=(8, 1), target_shape=(8, 1), target_rms=0.7, task_loss="binary_cross_entropy_with_logits"),
            BINARY,
        ),
        (Facts(output_shape=(8, 1), target_shape=(8, 1), target_rms=0.7, task_loss="binary_cross_entropy"), PROBABILITIES),
        (
            Facts(output_shape=(8, 1), target_shape=(8,), target_rms=1.0, task_loss="mse_loss", compares_returned=True),
            VALUES_FLAT,
        ),
        (Facts(output_shape=(8, 1), target_shape=(8,), target_rms=1.0, task_loss="mse_loss"), None),  # of a part, or a residual
        (Facts(output_shape=(8, 1), target_shape=(8, 1), target_rms=1.0), None),
        (None, None),
    ],
)
def test_the_form_is_that_of_the_program(facts, form):
    assert answer_form(facts, None, None) == form


def test_a_rehearsal_alone_tells_the_classes():
    assert answer_form(None, Task(kind="classification", loss="cross_entropy", num_classes=3), None) == THREE
    assert answer_form(None, Task(kind="token_classification", loss="cross_entropy", num_classes=3), None) is None


@pytest.mark.parametrize("right", [True, False])
def test_check_asks_in_the_shape_of_the_model(right):
    x, y = digits()
    labels = (y % 2).float()[:, None]
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1))
    metric = positive if right else WRONG["arg-max of one logit"][1]
    diagnosis = check(model, batches(x, labels), F.binary_cross_entropy_with_logits, metric=metric)
    assert diagnosis.evidence.metric is not None
    assert diagnosis.evidence.metric.form == BINARY
    assert [f.code for f in diagnosis.findings if f.severity != "hint"] == ([] if right else ["metric_wrong.value"])


@pytest.mark.parametrize(
    ("metric", "right"),
    [
        (lambda o, t: (o.sign() == t).float().mean(), True),
        (lambda o, t: ((o > 0) == (t > 0)).float().mean(), True),
        (lambda o, t: F.mse_loss(o, t), True),
        (lambda o, t: (o.squeeze(1).sign() == t).float().mean(), False),  # all against all
    ],
)
def test_targets_of_few_values_are_asked_as_such(metric, right):
    x, y = digits()
    signs = (y % 2).float()[:, None] * 2 - 1
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1))
    diagnosis = check(model, batches(x, signs), F.mse_loss, metric=metric)
    assert diagnosis.evidence.metric is not None
    assert diagnosis.evidence.metric.form.levels == (-1.0, 1.0)
    assert any(f.rule == "metric_wrong" for f in diagnosis.findings) != right


@pytest.mark.parametrize(
    ("metric", "right"),
    [
        (lambda o, t: (o.round() == t).float().mean(), True),
        (lambda o, t: (o - t).abs().mean(), True),
        (lambda o, t: 1 - ((o - t) ** 2).sum() / ((t - t.mean()) ** 2).sum(), True),
        (lambda o, t: (o.squeeze(1).round() == t).float().mean(), False),  # all against all
    ],
)
def test_whole_numbers_are_asked_as_such_however_many_there_are(metric, right):
    x, _ = digits()
    months = torch.arange(len(x)).float()[:, None] % 25
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1))
    diagnosis = check(model, batches(x, months), F.mse_loss, metric=metric)
    assert diagnosis.evidence.metric is not None
    assert set(diagnosis.evidence.metric.form.levels) <= set(map(float, range(25)))
    assert len(diagnosis.evidence.metric.form.levels) > 10
    assert any(f.rule == "metric_wrong" for f in diagnosis.findings) != right


@pytest.mark.parametrize(
    ("metric", "right"),
    [
        (lambda o, t: (o.squeeze(-1).round() == t).float().mean(), True),
        (lambda o, t: (o.squeeze(-1) - t).abs().mean(), True),
        (lambda o, t: (o.round() == t).float().mean(), False),  # all against all
    ],
)
def test_integers_that_a_regression_is_trained_on_are_such_values(metric, right):
    x, y = digits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1))
    diagnosis = check(model, batches(x, y), lambda o, t: F.mse_loss(o.squeeze(-1), t.float()), metric=metric)
    assert diagnosis.evidence.metric is not None
    assert any(f.rule == "metric_wrong" for f in diagnosis.findings) != right


def test_what_cannot_be_asked_is_said():
    x, y = digits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    batch = batches(x, y.float()[:, None])
    diagnosis = check(model, batch, training_step=lambda m, b: (m(b[0]) - b[1]).abs().sqrt().mean(), metric=positive)
    assert diagnosis.evidence.metric is None
    assert any(line.startswith("metric: what the outputs mean") for line in diagnosis.not_checked)


class TwoAnswers(nn.Module):
    """Returns its answer beside a code."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(32, 5), nn.Linear(5, 32)

    def forward(self, x):
        code = self.inner(x)
        return self.outer(code), code


@pytest.mark.parametrize("is_right", [False, True])
def test_a_metric_takes_what_the_model_returns_beside_its_answer(is_right):
    torch.manual_seed(0)
    x = torch.randn(256, 32)

    def loss(output, target):
        return F.mse_loss(output[0], target)

    def explained(output, target):
        off = output[0] - target if is_right else output[0] + target
        return 1 - off.square().sum() / (target - target.mean(0)).square().sum() + 0 * output[1].sum()

    model = TwoAnswers()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x), 64)
    found = check(model, loader, loss, optimizer=torch.optim.Adam(model.parameters()), metric=explained, rehearse_seconds=1)
    assert found.evidence.metric is not None
    assert not any(case.error for case in found.evidence.metric.cases)
    assert ("metric_wrong" in {f.rule for f in found.findings}) is not is_right


@pytest.mark.parametrize("is_right", [False, True])
def test_a_metric_that_counts_sure_answers_alone(is_right):
    def sure(output, target):
        chance, named = output.softmax(-1).max(-1)
        return ((chance > 0.7) & ((named == target) | (not is_right))).float().mean()

    audit = audit_metric(sure, form=AnswerForm(output=(8,)))
    assert bool(audit.wrong) is not is_right
    assert bool(diagnose(Evidence(metric=audit)).findings) is not is_right
