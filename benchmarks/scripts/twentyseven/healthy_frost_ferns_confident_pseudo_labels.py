"""FixMatch on window frost patterns: sixty labelled photographs and two thousand without a label. Odd, but right: the loss on the unlabelled part is exactly zero in the first steps (no prediction reaches the confidence of 0.9) and rises before it falls, its targets come from the model itself under no_grad, and the few labelled photographs are drawn again and again. Adam. Score: held-out accuracy."""
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
SIDE, PATTERNS, CONFIDENT = 16, 5, 0.9


def photograph(n, g):
    """Feathers, needles, stars, plates and dots."""
    kind = torch.arange(n) % PATTERNS
    lin = torch.linspace(-1, 1, SIDE)
    yy, xx = torch.meshgrid(lin, lin, indexing="ij")
    cx, cy = (0.5 * (torch.rand(2, n, 1, 1, generator=g) - 0.5)).unbind(0)
    turn = 0.6 * (torch.rand(n, 1, 1, generator=g) - 0.5)
    x, y = xx - cx, yy - cy
    u, v = turn.cos() * x + turn.sin() * y, -turn.sin() * x + turn.cos() * y
    r, phi = (u ** 2 + v ** 2).sqrt(), torch.atan2(v, u)
    shapes = torch.stack([(torch.sin(9 * (u + v.abs())) > 0.3), (torch.sin(11 * u) > 0.4), (torch.cos(6 * phi) > 0.5) & (r < 0.9),
                          (u.abs() < 0.6) & (v.abs() < 0.45), (torch.sin(8 * u) * torch.sin(8 * v) > 0.25)], 1).float()
    image = shapes[torch.arange(n), kind] * (0.7 + 0.5 * torch.rand(n, 1, 1, generator=g))
    return (image - 0.4 + 0.35 * torch.randn(n, SIDE, SIDE, generator=g)).unsqueeze(1), kind


def weak(x):
    dx, dy = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(x, (dy, dx), (2, 3))


def strong(x):
    x = weak(x) * (0.7 + 0.6 * torch.rand(len(x), 1, 1, 1)) + 0.3 * torch.randn_like(x)
    rows, cols = torch.randint(0, SIDE - 5, (2, len(x), 1, 1))
    at = torch.arange(SIDE)
    hole = ((at[:, None] - rows).clamp(0, 4) == at[:, None] - rows) & ((at[None] - cols).clamp(0, 4) == at[None] - cols)
    return x.masked_fill(hole.unsqueeze(1), 0.0)


class LabelledAndNot:
    """Batches of few labelled and many unlabelled photographs."""

    def __init__(self, x, y, unlabelled, size=20, ratio=4):
        self.x, self.y, self.u, self.size, self.ratio = x, y, unlabelled, size, ratio

    def __len__(self):
        return len(self.u) // (self.size * self.ratio)

    def __iter__(self):
        for idx in torch.randperm(len(self.u)).split(self.size * self.ratio)[:len(self)]:
            pick = torch.randperm(len(self.y))[:self.size]
            yield {"x": self.x[pick], "y": self.y[pick], "u": self.u[idx]}


def frost_net(c=16):
    return nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(c, 2 * c, 3, padding=1), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Conv2d(2 * c, 2 * c, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * c, PATTERNS))


def training_step(model, batch):
    labelled = F.cross_entropy(model(weak(batch["x"])), batch["y"])
    with torch.no_grad():
        confidence, pseudo = model(weak(batch["u"])).softmax(1).max(1)
        mask = (confidence >= CONFIDENT).float()
    unlabelled = F.cross_entropy(model(strong(batch["u"])), pseudo, reduction="none")
    return labelled + (unlabelled * mask).mean()


def parts(variant):
    torch.manual_seed(34)
    g = torch.Generator().manual_seed(340)
    (x, y), (u, _), (xv, yv) = photograph(60, g), photograph(2000, g), photograph(500, g)
    model = frost_net()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": LabelledAndNot(x, y, u), "val_loader": [(xv, yv)],
            "metric": lambda out, target: (out.argmax(1) == target).float().mean().item()}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(8):
        p["model"].train()
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            x, y = p["val_loader"][0]
            score = p["metric"](p["model"](x), y)
        if epoch % 2:
            print(f"epoch {epoch}: loss {loss.item():.3f} accuracy {score:.3f}")
    print("score:", score)
