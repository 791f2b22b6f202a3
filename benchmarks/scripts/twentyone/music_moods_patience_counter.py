"""Tagger of moods on spectrogram excerpts with early stopping on the validation loss; the mistake (bad): the patience counter is never set back when the loss improves, so a handful of worse epochs in all end the training; change: an improvement sets it to zero."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

TAGS = 6


def tracks(n, seed, bands=24, frames=64):
    g = torch.Generator().manual_seed(seed)
    tags = (torch.rand(n, TAGS, generator=g) < 0.35).float()
    spec = torch.randn(n, bands, frames, generator=g)
    t = torch.arange(frames).float()
    for k in range(TAGS):
        tempo = 0.35 + 0.22 * k
        phase = torch.rand(n, 1, generator=g) * 6.283
        beat = torch.cos(tempo * t + phase)
        band = torch.exp(-(torch.arange(bands).float() - 3 - 3.6 * k) ** 2 / 8)
        wrong = torch.rand(n, 1, generator=g) * 0.9
        amount = 1.5 * tags[:, k:k + 1] + wrong * (1 - tags[:, k:k + 1])
        noise = torch.randn(n, frames, generator=g) * 1.2
        spec += band[None, :, None] * (amount * beat + (1 - tags[:, k:k + 1]) * noise)[:, None, :]
    return spec, tags


class Excerpts(Dataset):
    """a random excerpt of 32 frames of every track"""

    def __init__(self, n, seed):
        self.spec, self.tags = tracks(n, seed)

    def __len__(self):
        return len(self.tags)

    def __getitem__(self, i):
        start = int(torch.randint(0, self.spec.size(2) - 31, (1,)))
        return self.spec[i, :, start:start + 32], self.tags[i]


class Stopper:
    def __init__(self, patience, reset):
        self.patience, self.reset = patience, reset
        self.best, self.k, self.state = float("inf"), 0, None

    def finished(self, loss, model):
        improved = loss < self.best
        if improved:
            self.best = loss
            self.state = {k: v.clone() for k, v in model.state_dict().items()}
            if self.reset:
                self.k = 0
        else:
            self.k += 1
        return self.k >= self.patience


class MoodNet(nn.Module):
    def __init__(self, c=48):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(24, c, 5, padding=2), nn.ReLU(), nn.Dropout(0.2),
                                  nn.Conv1d(c, c, 5, padding=2), nn.ReLU())
        self.out = nn.Linear(2 * c, TAGS)

    def forward(self, x):
        h = self.conv(x)
        return self.out(torch.cat([h.mean(2), h.amax(2)], 1))


def parts(variant):
    torch.manual_seed(0)
    model = MoodNet()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.004, momentum=0.9),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "train_loader": DataLoader(Excerpts(1200, 1), batch_size=16, shuffle=True),
        "val_loader": DataLoader(Excerpts(30, 2), batch_size=30),
        "test_loader": DataLoader(Excerpts(400, 3), batch_size=400),
        "stopper": Stopper(patience=5, reset=variant != "bad"),
    }


WORKS = lambda score: score > 0.9  # share of right tags


def validate(model, loader, loss_fn):
    model.eval()
    with torch.no_grad():
        x, y = next(iter(loader))
        out = model(x)
    return loss_fn(out, y).item(), ((out > 0).float() == y).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(80):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
        val_loss, acc = validate(model, p["val_loader"], p["loss_fn"])
        print(f"epoch {epoch} train {loss.item():.4f} val {val_loss:.4f} acc {acc:.4f}")
        if p["stopper"].finished(val_loss, model):
            print("no improvement, stopped")
            break
    model.load_state_dict(p["stopper"].state)
    print(f"score: {validate(model, p['test_loader'], p['loss_fn'])[1]:.4f}")
