"""More healthy programs: losses of other kinds, in the usual loop."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from healthy_parts import Program, digits, flat, loader, mlp, program, tokens
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Batch:
    images: Tensor
    labels: Tensor


@program
def dataclass_batches() -> Program:
    model = mlp(64, 64, 10)
    x, y = digits()
    batches = [Batch(images, labels) for images, labels in zip(x.split(64), y.split(64), strict=True)]

    def training_step(model: nn.Module, batch: Batch) -> Tensor:
        return F.cross_entropy(model(batch.images), batch.labels)

    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return Program({"model": model, "train_loader": batches, "training_step": training_step, "optimizer": optimizer})


@program
def multilabel() -> Program:
    y = digits()[1]
    targets = torch.stack([y % 2 == 0, y > 4, y % 3 == 0, y == 7], dim=1).float()
    model = mlp(64, 64, 4)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    loss_fn = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 1.0, 1.5, 9.0]))
    return Program({"model": model, "train_loader": loader(flat(), targets), "loss_fn": loss_fn, "optimizer": optimizer})


@program
def label_smoothing_and_class_weights() -> Program:
    model = mlp(64, 64, 10)
    loss_fn = nn.CrossEntropyLoss(weight=torch.linspace(0.5, 2, 10), label_smoothing=0.1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=300)
    setup = {"model": model, "train_loader": loader(*digits()), "loss_fn": loss_fn, "optimizer": optimizer}
    return Program({**setup, "scheduler": scheduler, "planned_steps": 300}, steps=300)


@program
def mixup() -> Program:
    model = mlp(64, 128, 10)

    def training_step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        share, order = torch.rand(()), torch.randperm(len(batch[0]))
        logits = model(share * batch[0] + (1 - share) * batch[0][order])
        return share * F.cross_entropy(logits, batch[1]) + (1 - share) * F.cross_entropy(logits, batch[1][order])

    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    setup = {"model": model, "train_loader": loader(*digits()), "training_step": training_step, "optimizer": optimizer}
    return Program(setup, sure=False)


@program
def hinge() -> Program:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, weight_decay=1e-3)
    setup = {"model": model, "train_loader": loader(*digits()), "loss_fn": nn.MultiMarginLoss(), "optimizer": optimizer}
    return Program(setup, sure=False)


@program
def logistic_regression() -> Program:
    x, y = flat(), (digits()[1] == 3).float()
    model = nn.Sequential(nn.Linear(64, 1), nn.Sigmoid(), nn.Flatten(0))
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    return Program({"model": model, "train_loader": loader(x, y), "loss_fn": nn.BCELoss(), "optimizer": optimizer}, sure=False)


@program
def counts() -> Program:
    x = torch.randn(2000, 6)
    y = torch.poisson(torch.exp(0.8 * x[:, 0] - 0.5 * x[:, 1] * x[:, 2]).clamp(max=20))
    model = nn.Sequential(mlp(6, 32, 32, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    setup = {"model": model, "train_loader": loader(x, y), "loss_fn": nn.PoissonNLLLoss(), "optimizer": optimizer}
    return Program(setup, sure=False)


@program
def house_prices() -> Program:
    """Targets standardised, a Huber loss, columns of which two are rare flags."""
    x = torch.randn(1500, 10)
    x[:, 8:] = (torch.rand(1500, 2) < 0.03).float()
    y = x[:, :4].sum(dim=1) + 3 * x[:, 8] + 0.3 * torch.randn(1500)
    y = ((y - y.mean()) / y.std())[:, None]
    model = nn.Sequential(nn.Linear(10, 64), nn.BatchNorm1d(64), nn.SiLU(), nn.Dropout(0.1), nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    return Program({"model": model, "train_loader": loader(x, y), "loss_fn": nn.HuberLoss(), "optimizer": optimizer})


@program
def mixture_density() -> Program:
    """The negative log-likelihood of a density has no floor and passes zero."""
    x = torch.rand(1500, 1) * 2 - 1
    y = torch.where(torch.rand(1500, 1) < 0.5, x.sin(), -x.sin()) + 0.05 * torch.randn(1500, 1)
    model = mlp(1, 64, 12)

    def nll(output: Tensor, y: Tensor) -> Tensor:
        weight, mean, scale = output.chunk(3, dim=1)
        scale = F.softplus(scale) + 1e-3
        each = -0.5 * ((y - mean) / scale).square() - scale.log() - 0.5 * math.log(2 * math.pi)
        return -torch.logsumexp(F.log_softmax(weight, dim=1) + each, dim=1).mean()

    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    return Program(
        {"model": model, "train_loader": loader(x, y), "loss_fn": nll, "optimizer": optimizer}, sure=False, steps=400
    )


@program
def normalizing_flow() -> Program:
    class Coupling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 2))
            nn.init.zeros_(self.net[-1].weight)
            nn.init.zeros_(self.net[-1].bias)

        def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
            kept, moved = z.chunk(2, dim=1)
            scale, shift = self.net(kept).chunk(2, dim=1)
            return torch.cat([moved * scale.exp() + shift, kept], dim=1), scale.sum(dim=1)

    model = nn.ModuleList([Coupling() for _ in range(4)])
    angle = torch.rand(1500) * math.pi
    moon = torch.stack([angle.cos(), angle.sin()], dim=1) + 0.1 * torch.randn(1500, 2)

    def training_step(model: Any, batch: list[Tensor]) -> Tensor:
        z, volume = batch[0], torch.zeros(len(batch[0]))
        for layer in model:
            z, change = layer(z)
            volume = volume + change
        return (0.5 * z.square().sum(dim=1) + math.log(2 * math.pi) - volume).mean()

    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    setup = {"model": model, "train_loader": loader(moon), "training_step": training_step, "optimizer": optimizer}
    return Program(setup, sure=False)


@program
def noise_prediction() -> Program:
    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time, self.body = nn.Embedding(50, 32), mlp(64 + 32, 128, 128, 64)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.body(torch.cat([x, self.time(t)], dim=1))

    model = Denoiser()
    kept = torch.cumprod(1 - torch.linspace(1e-3, 0.1, 50), dim=0)

    def training_step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        t, noise = torch.randint(50, (len(batch[0]),)), torch.randn_like(batch[0])
        share = kept[t][:, None]
        return F.mse_loss(model(share.sqrt() * batch[0] + (1 - share).sqrt() * noise, t), noise)

    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    setup = {"model": model, "train_loader": loader(flat()), "training_step": training_step, "optimizer": optimizer}
    return Program(setup, sure=False, steps=300)


@program
def distillation() -> Program:
    teacher, model = mlp(64, 128, 10), mlp(64, 32, 10)
    optimizer = torch.optim.Adam(teacher.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(teacher(flat()), digits()[1]).backward()
        optimizer.step()
    teacher.eval().requires_grad_(False)

    def training_step(model: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
        logits = model(batch[0])
        soft = F.kl_div(F.log_softmax(logits / 2, dim=1), F.softmax(teacher(batch[0]) / 2, dim=1), reduction="batchmean")
        return {"loss": 4 * soft + 0.1 * F.cross_entropy(logits, batch[1]), "logits": logits}

    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    setup = {"model": model, "train_loader": loader(*digits()), "optimizer": optimizer}
    return Program({**setup, "training_step": lambda model, batch: training_step(model, batch)["loss"]}, sure=False)


@program
def two_views() -> Program:
    """Contrastive: each image's other view is the positive among those of the batch."""
    model = mlp(64, 128, 32)

    def training_step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        views = [F.normalize(model(batch[0] + 0.3 * torch.randn_like(batch[0])), dim=1) for _ in range(2)]
        return F.cross_entropy(views[0] @ views[1].T / 0.1, torch.arange(len(batch[0])))

    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    setup = {"model": model, "train_loader": loader(flat()), "training_step": training_step, "optimizer": optimizer}
    return Program(setup, sure=False)


@program
def triplets() -> Program:
    x, y = digits()
    anchor = torch.randint(1437, (1200,))
    same = torch.stack([(y == y[i]).nonzero()[:, 0][torch.randint(100, ())] for i in anchor])
    other = torch.stack([(y != y[i]).nonzero()[:, 0][torch.randint(900, ())] for i in anchor])
    model = mlp(64, 64, 16)
    criterion = nn.TripletMarginLoss(margin=1.0)

    def training_step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return criterion(model(batch[0]), model(batch[1]), model(batch[2]))

    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    batches = loader(x[anchor], x[same], x[other], batch=32)
    setup = {"model": model, "train_loader": batches, "training_step": training_step, "optimizer": optimizer}
    return Program(setup, sure=False)


@program
def recommender() -> Program:
    class Factors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.users, self.items = nn.Embedding(60, 8), nn.Embedding(40, 8)
            self.bias = nn.Parameter(torch.zeros(40))

        def forward(self, user: Tensor, item: Tensor) -> Tensor:
            return (self.users(user) * self.items(item)).sum(dim=1) + self.bias[item]

    user, item = torch.randint(60, (4000,)), torch.randint(40, (4000,))
    a, b = torch.randn(60, 3), torch.randn(40, 3)
    rating = (a[user] * b[item]).sum(dim=1) + 0.2 * torch.randn(4000)
    model = Factors()
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    setup = {"model": model, "train_loader": loader(user, item, rating, batch=128), "loss_fn": F.mse_loss}
    return Program({**setup, "optimizer": optimizer}, sure=False, steps=300)


@program
def word_vectors() -> Program:
    class SkipGram(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.contexts = nn.Embedding(12, 16, sparse=True), nn.Embedding(12, 16, sparse=True)

        def forward(self, centre: Tensor, context: Tensor, negative: Tensor) -> Tensor:
            word = self.words(centre)
            good = (word * self.contexts(context)).sum(dim=1)
            bad = (word[:, None] * self.contexts(negative)).sum(dim=2)
            return -(F.logsigmoid(good) + F.logsigmoid(-bad).sum(dim=1)).mean()

    text = tokens()
    centre, context = text[:, :-1].flatten(), text[:, 1:].flatten()
    batches = loader(centre[:6000], context[:6000], torch.randint(12, (6000, 4)), batch=128)
    model = SkipGram()
    optimizer = torch.optim.SparseAdam(list(model.parameters()), 1e-2)
    setup = {"model": model, "train_loader": batches, "training_step": lambda model, batch: model(*batch)}
    return Program({**setup, "optimizer": optimizer}, sure=False, steps=300)


@program
def speech() -> Program:
    """CTC: long inputs, short targets of different lengths."""

    class Recogniser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.cells = nn.Conv1d(12, 32, 3, padding=1), nn.GRU(32, 32, batch_first=True, bidirectional=True)
            self.head = nn.Linear(64, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cells(F.relu(self.conv(x)).mT)[0]).log_softmax(dim=2)

    model, criterion = Recogniser(), nn.CTCLoss(zero_infinity=True)
    tones = torch.randn(6, 12)
    batches = []
    for _ in range(20):
        words = torch.randint(1, 6, (16, 6))
        length = torch.randint(3, 7, (16,))
        shown = words.clone()
        shown[torch.arange(6)[None] >= length[:, None]] = 0
        sound = tones[shown.repeat_interleave(4, dim=1)].mT + 0.3 * torch.randn(16, 12, 24)
        batches.append({"sound": sound, "words": words, "length": length})

    def training_step(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        log_probabilities = model(batch["sound"]).transpose(0, 1)
        return criterion(log_probabilities, batch["words"], torch.full((16,), 24), batch["length"])

    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    setup = {"model": model, "train_loader": batches, "training_step": training_step, "optimizer": optimizer, "clip": 5.0}
    return Program(setup, sure=False)


@program
def translation() -> Program:
    """Sequence to sequence with teacher forcing, attention, padding that the loss ignores."""

    class Translator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source, self.target = nn.Embedding(12, 32), nn.Embedding(13, 32)
            self.encoder, self.decoder = nn.GRU(32, 32, batch_first=True), nn.GRU(32, 32, batch_first=True)
            self.attention, self.head = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(64, 12)

        def forward(self, source: Tensor, target: Tensor) -> Tensor:
            memory, state = self.encoder(self.source(source))
            out, _ = self.decoder(self.target(target), state)
            return self.head(torch.cat([out, self.attention(out, memory, memory, need_weights=False)[0]], dim=2))

    source = torch.randint(12, (1024, 8))
    target = source.flip(1)
    target[torch.arange(8)[None] >= torch.randint(5, 9, (1024, 1))] = -100
    begun = torch.cat([torch.full((1024, 1), 12), target[:, :-1].clamp(min=0)], dim=1)
    model = Translator()

    def training_step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0], batch[1]).flatten(0, 1), batch[2].flatten(), ignore_index=-100)

    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    batches = loader(source, begun, target)
    setup = {"model": model, "train_loader": batches, "training_step": training_step, "optimizer": optimizer, "clip": 1.0}
    return Program(setup, sure=False, steps=250)


@program
def masked_tokens() -> Program:
    class Bert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.places = nn.Embedding(13, 32), nn.Parameter(0.02 * torch.randn(25, 32))
            layer = nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True)
            self.blocks, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 12)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.blocks(self.embed(x) + self.places))

    model = Bert()

    def training_step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        hidden = torch.rand(batch[0].shape) < 0.2
        logits = model(batch[0].masked_fill(hidden, 12))
        return F.cross_entropy(logits[hidden], batch[0][hidden])

    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    setup = {"model": model, "train_loader": loader(tokens(), batch=32), "training_step": training_step}
    return Program({**setup, "optimizer": optimizer}, sure=False, steps=200)


@program
def flattened_labels() -> Program:
    """Labels of all tokens in one row, longer than the batch, as the data set has them."""

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.cells = nn.Embedding(12, 24), nn.RNN(24, 32, batch_first=True, bidirectional=True)
            self.head = nn.Linear(64, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cells(self.embed(x))[0]).flatten(0, 1)

    text = tokens()[:, :12]
    batches = [(part, (part % 3).flatten()) for part in text.split(64)]
    model = Tagger()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    return Program({"model": model, "train_loader": batches, "loss_fn": nn.CrossEntropyLoss(), "optimizer": optimizer})


@program
def vision_transformer() -> Program:
    class ViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.token = nn.Conv2d(1, 32, 2, 2), nn.Parameter(torch.zeros(1, 1, 32))
            self.places = nn.Parameter(0.02 * torch.randn(1, 17, 32))
            layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True)
            self.blocks, self.norm = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), nn.LayerNorm(32)
            self.head = nn.Linear(32, 10)
            nn.init.zeros_(self.head.weight)

        def forward(self, x: Tensor) -> Tensor:
            z = self.patch(x).flatten(2).mT
            z = torch.cat([self.token.expand(len(x), -1, -1), z], dim=1) + self.places
            return self.head(self.norm(self.blocks(z))[:, 0])

    model = ViT()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=50)
    setup = {"model": model, "train_loader": loader(*digits()), "optimizer": optimizer, "scheduler": warm, "clip": 1.0}
    return Program(setup, sure=False, steps=200)


@program
def coordinates() -> Program:
    """An image as a function of its coordinates, with sines; one batch is the whole set."""

    class Sine(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(10 * x)

    steps = torch.linspace(-1, 1, 24)
    xy = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=2).flatten(0, 1)
    picture = (torch.sin(6 * xy[:, :1]) * torch.cos(4 * xy[:, 1:])).sign()
    model = nn.Sequential(nn.Linear(2, 64), Sine(), nn.Linear(64, 64), Sine(), nn.Linear(64, 1))
    for layer in model[2::2]:
        bound = math.sqrt(6 / 64) / 10
        nn.init.uniform_(layer.weight, -bound, bound)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    setup = {"model": model, "train_loader": [(xy, picture)], "loss_fn": F.mse_loss, "optimizer": optimizer}
    return Program(setup, sure=False)


@program
def differential_equation() -> Program:
    """A physics-informed net: u' = -u, u(0) = 1; the loss needs the gradient with respect to the input."""
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def training_step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        t = batch[0].clone().requires_grad_()
        u = model(t)
        slope = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
        return (slope + u).square().mean() + (model(torch.zeros(1, 1)) - 1).square().mean()

    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    setup = {"model": model, "train_loader": loader(torch.rand(512, 1) * 2), "training_step": training_step}
    return Program({**setup, "optimizer": optimizer}, sure=False, steps=300)


@program
def time_series() -> Program:
    class Forecast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells, self.head = nn.LSTM(1, 32, 2, batch_first=True, dropout=0.1), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cells(x)[0][:, -1])

    start = torch.rand(800, 1) * 20
    wave = torch.sin(start + 0.3 * torch.arange(21)) + 0.05 * torch.randn(800, 21)
    model = Forecast()
    optimizer = torch.optim.RMSprop(model.parameters(), 3e-3)
    batches = loader(wave[:, :20, None], wave[:, 20:])
    setup = {"model": model, "train_loader": batches, "loss_fn": F.mse_loss, "optimizer": optimizer}
    return Program(setup, sure=False)
