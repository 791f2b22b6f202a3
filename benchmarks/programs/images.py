"""Images into classes: small convolutional, residual and fully-connected nets on the digits."""

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.material import Data, digits, flat_digits, raw_digits
from programs.nets import (
    Halves,
    Listed,
    Patches,
    Residual,
    all_constant,
    cnn,
    gaussian,
    he,
    mlp,
    sunk_biases,
    xavier,
)
from programs.program import (
    LARGE_STEPS,
    SMALL_STEPS,
    Program,
    accuracy,
    but,
    class_score,
    clears_too_late,
    climbs,
    drawn,
    ending,
    fault,
    in_bf16,
    in_closure,
    in_evaluation_mode,
    keeps_gradients,
    makes_no_step,
)


def _rows_of(change):
    """Data of changed training and held-out sets."""
    return {"train": functools.partial(change, True), "held_out": functools.partial(change, False)}


def _labels_shuffled(train: bool) -> Data:
    images, labels = flat_digits(train)
    return images[torch.randperm(len(images), generator=torch.Generator().manual_seed(2))], labels


def _sorted_by_class(train: bool) -> Data:
    images, labels = digits(train)
    order = labels.argsort(stable=True)
    return images[order], labels[order]


def _pixels(train: bool) -> Data:
    images, labels = raw_digits(train)
    return (images * 16).clamp(0, 255).flatten(1), labels


def _divided_twice(train: bool) -> Data:
    images, labels = raw_digits(train)
    return (images / 16 / 255).flatten(1), labels


def _some_nan(train: bool) -> Data:
    images, labels = flat_digits(train)
    images = images.clone()
    images[5::97, 3] = torch.nan
    return images, labels


def _shifted_and_clipped(train: bool) -> Data:
    images, labels = digits(train)
    rng = torch.Generator().manual_seed(3)
    shift = torch.randint(-20, 21, (len(images), 1, 1, 1), generator=rng).float()
    hit = torch.rand(len(images), 1, 1, 1, generator=rng) < 0.9
    return torch.where(hit, (images + shift).clamp(0, 1), images), labels


def _validation_not_normalised(train: bool) -> Data:
    images, labels = raw_digits(train)
    return images * 16, labels


def _validation_of_other_folders(train: bool) -> Data:
    images, labels = digits(train)
    return images, torch.tensor([0, 5, 1, 6, 2, 7, 3, 8, 4, 9])[labels]


def _rare(train: bool) -> Data:
    images, labels = flat_digits(train)
    if not train:
        return images, labels
    kept = (labels == 0) | (torch.arange(len(labels)) % 50 == 0)
    return images[kept].repeat(4, 1), labels[kept].repeat(4)


def _one_batch(train: bool) -> Data:
    images, labels = flat_digits(train)
    return images[:32].repeat(45, 1), labels[:32].repeat(45)


def _columns_mixed(train: bool) -> Data:
    """Each image's pixels in an order of its own: what a wrong reshape of the whole set makes."""
    images, labels = flat_digits(train)
    return images.T.reshape(len(images), 64).contiguous(), labels


def _wrong_dimension(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Accuracy with the arg-max over the batch."""
    return sum(float((o.argmax(dim=0)[: len(t)] == t[:10]).float().mean()) for o, t in pairs) / len(pairs)


def _share_of_last(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Right answers of the last batch over all examples."""
    output, target = pairs[-1]
    return int((output.argmax(dim=1) == target).sum()) / sum(len(t) for _, t in pairs)


def _focal(output: Tensor, target: Tensor) -> Tensor:
    return (
        (1 - torch.softmax(output, dim=1).gather(1, target[:, None])[:, 0]) ** 2
        * F.cross_entropy(output, target, reduction="none")
    ).mean()


CNN = Program(
    model=cnn,
    train=lambda: digits(True),
    held_out=lambda: digits(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
)
MLP = but(CNN, model=mlp, train=lambda: flat_digits(True), held_out=lambda: flat_digits(False))
SGD = but(MLP, optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9})
DEEP = but(SGD, model=drawn(lambda: mlp(10), he), options={"lr": 0.01, "momentum": 0.9})
RESIDUAL = but(CNN, model=Residual, optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9}, steps=200)


def _new_model_after(model: nn.Module):
    return mlp().parameters()


SOUND = {
    "cnn": CNN,
    "mlp sgd": SGD,
    "deep he": DEEP,
    "deep he clipped": but(DEEP, clip=1.0),
    "residual": RESIDUAL,
    "vision transformer": but(CNN, model=Patches, optimizer=torch.optim.AdamW, steps=200),
    "adadelta": but(CNN, optimizer=torch.optim.Adadelta, options={"lr": 1.0}),
    "adagrad": but(MLP, optimizer=torch.optim.Adagrad, options={"lr": 0.03}),
    "rmsprop": but(MLP, optimizer=torch.optim.RMSprop, options={"lr": 1e-3}),
    "lbfgs": but(MLP, optimizer=torch.optim.LBFGS, options={"lr": 0.5, "max_iter": 4}, body=in_closure, batch=512, steps=25),
    "dropout": but(MLP, model=lambda: nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))),
    "large head": but(MLP, model=lambda: nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 1000))),
    "bf16": but(CNN, body=in_bf16),
    "warmup and cosine": but(
        SGD,
        scheduler=lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.05, total_steps=260),
    ),
    "label smoothing": but(MLP, loss=nn.CrossEntropyLoss(label_smoothing=0.1)),
    "focal loss": but(MLP, loss=_focal),
    "deep tanh": but(SGD, model=drawn(lambda: mlp(5, activation=nn.Tanh), xavier)),
    "slow sgd": but(SGD, options={"lr": 0.02}, model=lambda: mlp(3), steps=600),
    "frozen body": but(
        MLP,
        model=lambda: _frozen(),
        trained=lambda model: [p for p in model.parameters() if p.requires_grad],
        options={"lr": 5e-3},
        steps=400,
    ),
    "pixels divided by 16": but(
        CNN,
        train=lambda: (raw_digits(True)[0] / 16, raw_digits(True)[1]),
        held_out=lambda: (raw_digits(False)[0] / 16, raw_digits(False)[1]),
    ),
    "log softmax and nll": but(MLP, model=ending(mlp, nn.LogSoftmax(dim=1)), loss=F.nll_loss),
    "strong decay under adamw": but(MLP, optimizer=torch.optim.AdamW, options={"lr": 2e-3, "weight_decay": 0.1}),
}


def _frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    model[0].requires_grad_(False)
    return model


FAULTS = {
    "softmax under cross-entropy": fault(
        CNN,
        "nn.Softmax ends the model",
        "softmax_twice capped_loss",
        model=ending(cnn, nn.Softmax(dim=1)),
        optimizer=torch.optim.SGD,
        options={"lr": 0.05},
    ),
    "relu on the logits": fault(
        DEEP, "nn.ReLU ends the model", "clamped_logits capped_loss", model=ending(DEEP.model, nn.ReLU())
    ),
    "adam rate 0.3": fault(CNN, "lr=0.3 under Adam", LARGE_STEPS, options={"lr": 0.3}),
    "sgd rate 5": fault(
        SGD,
        "lr=5 under SGD with momentum",
        LARGE_STEPS,
        options={"lr": 5.0, "momentum": 0.9},
    ),
    "sgd rate 1e-6": fault(
        SGD,
        "lr=1e-6 under SGD",
        SMALL_STEPS,
        options={"lr": 1e-6, "momentum": 0.9},
    ),
    "deep sigmoid": fault(
        DEEP,
        "ten sigmoid layers with default weights",
        "vanishing_gradient saturation",
        model=lambda: mlp(10, activation=nn.Sigmoid),
    ),
    "all weights zero": fault(
        DEEP,
        "weights and biases start at zero",
        "flat_loss identical_units gain_budget_low",
        model=drawn(lambda: mlp(10), all_constant(0.0)),
    ),
    "all weights alike": fault(
        MLP, "weights and biases start at 0.05", "identical_units", model=drawn(mlp, all_constant(0.05))
    ),
    "weights too large": fault(DEEP, "N(0, 1) in ten layers", "gain_budget_high", model=drawn(lambda: mlp(10), gaussian(1.0))),
    "weights too small": fault(
        DEEP, "N(0, 0.02) in ten layers", "gain_budget_low slow_start", model=drawn(lambda: mlp(10), gaussian(0.02))
    ),
    "labels shuffled": fault(MLP, "images shuffled, labels not", "shuffled_labels", train=lambda: _labels_shuffled(True)),
    "pixels of 0 to 255": fault(
        SGD, "pixels as they are stored into SGD", "input_scale gain_budget_high.input", **_rows_of(_pixels)
    ),
    "divided by 255 twice": fault(
        SGD,
        "images of 0 to 1 divided by 255",
        "input_scale gain_budget_low.input",
        **_rows_of(_divided_twice),
    ),
    "sorted by class": fault(
        CNN, "stored by class and not shuffled", "class_order", train=lambda: _sorted_by_class(True), shuffle=False
    ),
    "one batch for ever": fault(
        MLP, "next(iter(loader)) at every step", "repeated_batch", train=lambda: _one_batch(True), shuffle=False
    ),
    "optimizer of another model": fault(
        MLP, "the model is built anew after the optimizer", "foreign_optimizer", trained=_new_model_after
    ),
    "head alone in the optimizer": fault(
        but(MLP, model=Halves),
        "model.head.parameters() in place of model.parameters()",
        "untrained_parameter unmoved_parameter",
        trained=lambda model: model.head.parameters(),
    ),
    "gradients cleared too late": fault(
        MLP, "zero_grad between backward and step", "zero_gradient untrained_parameter.gradient_lost", body=clears_too_late
    ),
    "gradients never cleared": fault(
        but(SGD, model=lambda: mlp(4)), "zero_grad is missing", "stale_gradients missing_zero_grad", body=keeps_gradients
    ),
    "no step": fault(MLP, "optimizer.step() is missing", "never_steps", body=makes_no_step),
    "evaluation mode in training": fault(
        RESIDUAL, "model.eval() is never undone", "evaluation_mode wrong_mode", body=in_evaluation_mode
    ),
    "training mode in evaluation": fault(
        but(MLP, model=lambda: nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.9), nn.Linear(128, 10)), steps=500),
        "model.eval() is missing before the evaluation",
        "wrong_mode",
        evaluates_in="train",
    ),
    "dropout 0.99": fault(
        MLP,
        "nn.Dropout is given the share to keep",
        "heavy_dropout",
        model=lambda: nn.Sequential(
            *(nn.Linear(64, 48), nn.ReLU(), nn.Dropout(0.99), nn.Linear(48, 48), nn.ReLU(), nn.Dropout(0.99), nn.Linear(48, 10))
        ),
    ),
    "biases at -10": fault(CNN, "biases of convolutions start at -10", "dead_units.bias", model=drawn(cnn, sunk_biases)),
    "momentum 0.9999": fault(
        SGD,
        "momentum 0.9999",
        "long_momentum exploding_gradient oscillation loss_cliff",
        options={"lr": 0.05, "momentum": 0.9999},
    ),
    "decay 0.5": fault(
        SGD,
        "weight_decay=0.5 under SGD",
        "weights_decayed slow_start",
        options={"lr": 0.05, "momentum": 0.9, "weight_decay": 0.5},
    ),
    "clip at 1e-5": fault(SGD, "max_norm=1e-5", "plateau.clipped clipping", clip=1e-5),
    "schedule stepped per step": fault(
        SGD,
        "ExponentialLR(0.7) meant per epoch is stepped at every step",
        "rate_dies lr_schedule",
        scheduler=lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.7),
    ),
    "warm-up by whole numbers": fault(
        MLP,
        "lambda step: step // 1000 as warm-up factor",
        "zero_rate rate_dies unmoved_parameter untrained_parameter.lr_zero lr_schedule",
        scheduler=lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: step // 1000),
    ),
    "loss climbs": fault(MLP, "backward of minus the loss", "wrong_sign", body=climbs),
    "negated loss": fault(MLP, "the loss is -cross_entropy", "wrong_sign", loss=lambda o, t: -F.cross_entropy(o, t)),
    "nll of logits": fault(MLP, "nll_loss without log_softmax", "wrong_sign loss_below_floor", loss=F.nll_loss),
    "nan in the data": fault(MLP, "some pixels are NaN", "not_finite_data", train=lambda: _some_nan(True)),
    "colours shifted after normalisation": fault(
        CNN,
        "a shift of up to 20 of images with std 1, then clamp(0, 1)",
        "blank_images",
        train=lambda: _shifted_and_clipped(True),
    ),
    "layers in a list": fault(
        but(MLP, model=lambda: Listed(nn.ModuleList), options={"lr": 5e-3}),
        "hidden layers stand in a plain list",
        "unregistered_layers",
        model=Listed,
    ),
    "features detached": fault(
        but(MLP, model=Halves),
        "features.detach() before the head",
        "unreached_parameter.detached",
        model=lambda: Halves(cut=True),
    ),
    "validation not normalised": fault(
        CNN, "validation images of 0 to 255", "split_shift", validation=lambda: _validation_not_normalised(False)
    ),
    "validation labels of another order": fault(
        CNN,
        "class folders of validation are numbered in another order",
        "validation_labels",
        validation=lambda: _validation_of_other_folders(False),
    ),
    "one class in ten": fault(
        MLP, "nine tenths of the images are of one class", "class_imbalance", train=lambda: _rare(True), steps=40
    ),
    "pixels of different images mixed": fault(
        MLP, "x.T.reshape(n, 64): every row holds pixels of many images", "shuffled_labels", train=lambda: _columns_mixed(True)
    ),
    "half precision under adam": fault(MLP, "model.half() with Adam's eps of 1e-8", "eps_underflow", dtype=torch.float16),
    "sum of the losses": fault(
        SGD,
        "reduction='sum'",
        "sum_for_mean",
        loss=lambda o, t: F.cross_entropy(o, t, reduction="sum"),
        options={"lr": 0.3, "momentum": 0.9},
        batch=64,
    ),
    "arg-max over the batch": fault(CNN, "argmax(dim=0) in the metric", "metric_wrong", metric=_wrong_dimension),
    "correct of the last batch": fault(CNN, "the last batch's count over all examples", "metric_wrong", metric=_share_of_last),
}
