"""Crop of a pixel from its satellite bands over the season; mistake: the pixels were cut out field by field and the batch sampler is built on SequentialSampler, so a batch is one field with one crop; change: RandomSampler."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset

CROPS, BANDS, DATES = 7, 5, 6


def survey(fields, seed):
    """Pixels as the shape file lists them: every field in turn."""
    g = torch.Generator().manual_seed(seed)
    curves = torch.randn(CROPS, BANDS * DATES, generator=torch.Generator().manual_seed(77))
    xs, ys = [], []
    for f in range(fields):
        crop = f % CROPS if seed == 2 else int(torch.randint(0, CROPS, (1,), generator=g))
        n = int(torch.randint(60, 180, (1,), generator=g))
        soil = 0.7 * torch.randn(BANDS, generator=g).repeat(DATES)
        late = 1 + 0.3 * torch.randn(1, generator=g)
        xs.append(curves[crop] * late + soil + 0.9 * torch.randn(n, BANDS * DATES, generator=g))
        ys.append(torch.full((n,), crop))
    return torch.cat(xs), torch.cat(ys)


def parts(variant):
    torch.manual_seed(0)
    train, val = survey(70, 1), survey(28, 2)
    mean, std = train[0].mean(0), train[0].std(0)
    train_set = TensorDataset((train[0] - mean) / std, train[1])
    val_set = TensorDataset((val[0] - mean) / std, val[1])
    sampler = SequentialSampler(train_set) if variant == "bad" else RandomSampler(train_set)
    model = nn.Sequential(
        nn.Linear(BANDS * DATES, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(96, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(96, CROPS),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.05),
        "train_loader": DataLoader(train_set, batch_sampler=BatchSampler(sampler, 64, drop_last=True)),
        "val_loader": DataLoader(val_set, batch_size=512),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


def train_epoch(model, loader, optimizer, criterion):
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


@torch.no_grad()
def balanced_accuracy(model, loader):
    model.eval()
    guess, truth = zip(*[(model(x).argmax(1), y) for x, y in loader])
    guess, truth = torch.cat(guess), torch.cat(truth)
    return sum((guess[truth == c] == c).float().mean().item() for c in range(CROPS)) / CROPS


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(15):
        loss = train_epoch(p["model"], p["train_loader"], p["optimizer"], p["loss_fn"])
        print(f"[{epoch + 1:02d}/15] loss {loss:.4f}  balanced accuracy {balanced_accuracy(p['model'], p['val_loader']):.3f}")
    print(f"score: {balanced_accuracy(p['model'], p['val_loader']):.4f}")
