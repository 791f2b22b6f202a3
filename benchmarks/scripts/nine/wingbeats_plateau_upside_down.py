"""Species of an insect by its wingbeat in noise, LSTM; ReduceLROnPlateau stands in its default mode min and is given the validation accuracy, so each better epoch counts as a bad one and the rate is gone after some; change: mode="max"."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SPECIES, T = 6, 48


def wingbeats(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, SPECIES, (n,), generator=g)
    t = torch.arange(T).float()
    f = (0.08 + 0.03 * y.unsqueeze(1).float()) * (0.96 + 0.08 * torch.rand(n, 1, generator=g))
    phase = 2 * math.pi * torch.rand(n, 1, generator=g)
    x = torch.sin(2 * math.pi * f * t + phase) + 0.4 * torch.sin(4 * math.pi * f * t + 2 * phase) + 0.5 * torch.randn(n, T, generator=g)
    return (x / 0.91).view(n, T // 2, 2), y


class Wings(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 48, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(48, SPECIES)

    def forward(self, x):
        h, _ = self.lstm(x)
        return self.fc(self.drop(h.mean(1)))


def parts(variant):
    torch.manual_seed(0)
    model = Wings()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    mode = {} if variant == "bad" else {"mode": "max"}
    return {
        "model": model,
        "optimizer": opt,
        "scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau(opt, patience=1, **mode),
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
        "train_loader": DataLoader(TensorDataset(*wingbeats(1500, 1)), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*wingbeats(500, 2)), batch_size=500),
    }


def evaluate(model, p):
    model.eval()
    with torch.no_grad():
        return sum(p["metric"](model(x), y) for x, y in p["val_loader"]) / len(p["val_loader"])


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, scheduler = p["model"], p["optimizer"], p["scheduler"]
    for epoch in range(15):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            total += loss.item()
        val_acc = evaluate(model, p)
        scheduler.step(val_acc)
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.3f}, val {val_acc:.3f}, lr {opt.param_groups[0]['lr']:.1e}")
    print(f"score: {val_acc:.4f}")
