"""Where a pendulum goes next, from its angles so far (no speeds), recordings of different lengths; mistake: the collate function's pad_sequence gives (time, batch, 2) while the GRU was made with batch_first=True, so the state runs from one recording to the next and never along time; change: pad_sequence(..., batch_first=True)."""
import math
import sys
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader


def swing(length, g, dt=0.1):
    """Angles of one damped pendulum, released anywhere at any speed."""
    angle = (torch.rand(1, generator=g).item() * 2 - 1) * 2.0
    speed = torch.randn(1, generator=g).item() * 2.0
    pull = 6.0 + 6.0 * torch.rand(1, generator=g).item()
    angles = []
    for _ in range(length + 1):
        angles.append(angle)
        for _ in range(4):
            speed += (-pull * math.sin(angle) - 0.1 * speed) * dt / 4
            angle += speed * dt / 4
    a = torch.tensor(angles)
    x = torch.stack([a[:-1].sin(), a[:-1].cos()], 1) + 0.01 * torch.randn(length, 2, generator=g)
    return x, (a[1:] - a[:-1]) / 0.25


def recordings(n, seed):
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(25, 45, (n,), generator=g).tolist()
    return [swing(t, g) for t in lengths]


class NextMove(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, x):
        h, _ = self.gru(x)
        return self.head(h).squeeze(-1)


def masked_mse(out, target):
    known = ~torch.isnan(target)
    return ((out - target)[known] ** 2).mean()


def r2(out, target):
    known = ~torch.isnan(target)
    out, target = out[known], target[known]
    return 1 - ((out - target) ** 2).mean() / target.var(unbiased=False)


def parts(variant):
    torch.manual_seed(0)
    options = {} if variant == "bad" else {"batch_first": True}

    def collate(batch):
        xs, ys = zip(*batch)
        return pad_sequence(xs, **options), pad_sequence(ys, padding_value=float("nan"), **options)

    model = NextMove()
    optimizer = torch.optim.NAdam(model.parameters(), lr=3e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": masked_mse,
        "train_loader": DataLoader(recordings(800, 1), batch_size=32, shuffle=True, collate_fn=collate),
        "val_loader": DataLoader(recordings(150, 2), batch_size=50, collate_fn=collate),
        "metric": r2,
    }


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    pairs = [(model(x).flatten(), y.flatten()) for x, y in loader]
    return r2(torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])).item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1:2d}  train {sum(losses) / len(losses):.4f}  R2 {evaluate(net, p['val_loader']):.3f}")
    print(f"score: {evaluate(net, p['val_loader']):.4f}")
