"""Three guesses of where a cyclist goes at a crossroads. Odd, but right: the loss is the error of the best of three predicted paths (with a twentieth of the mean of all three, so that none dies), hence most of the output gets next to no gradient in any one example; no single path could be right as the turn cannot be seen beforehand. AdamW. Score: held-out mean distance of the best path in metres."""
import math

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
PAST, FUTURE, GUESSES = 8, 10, 3


def ride(n, g):
    speed = 0.6 + 0.3 * torch.rand(n, 1, generator=g)
    heading = 0.1 * torch.randn(n, 1, generator=g)
    curve = (torch.randint(0, 3, (n, 1), generator=g) - 1) * (0.17 + 0.015 * torch.randn(n, 1, generator=g))
    t = torch.arange(PAST + FUTURE).float()
    turned = heading + curve * (t - PAST + 1).clamp(min=0, max=9)
    step = torch.stack([speed * turned.sin(), speed * turned.cos()], -1) + 0.02 * torch.randn(n, len(t), 2, generator=g)
    path = step.cumsum(1)
    path = path - path[:, PAST - 1:PAST]
    past = path[:, :PAST] + 0.03 * torch.randn(n, PAST, 2, generator=g)
    return past, path[:, PAST:]


class PathNet(nn.Module):
    def __init__(self, hidden=96):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(2 * PAST, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.paths = nn.Linear(hidden, GUESSES * FUTURE * 2)

    def forward(self, past):
        return self.paths(self.body(past)).view(-1, GUESSES, FUTURE, 2)


def best_of_paths(outputs, future, share=0.05):
    error = (outputs - future[:, None]).pow(2).sum(-1).mean(-1)
    return ((1 - share) * error.min(1).values + share * error.mean(1)).mean()


def best_distance(outputs, future):
    return (outputs - future[:, None]).norm(dim=-1).mean(-1).min(1).values.mean().item()


def parts(variant):
    torch.manual_seed(32)
    g = torch.Generator().manual_seed(320)
    model = PathNet()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3),
            "loss_fn": best_of_paths, "metric": best_distance,
            "train_loader": DataLoader(TensorDataset(*ride(4000, g)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*ride(800, g)), batch_size=800)}


WORKS = lambda score: score < 0.6

if __name__ == "__main__":
    p = parts("fixed")
    epochs = 15
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(p["optimizer"], epochs)
    for epoch in range(epochs):
        for past, future in p["train_loader"]:
            loss = p["loss_fn"](p["model"](past), future)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        scheduler.step()
        with torch.no_grad():
            past, future = next(iter(p["val_loader"]))
            out = p["model"](past)
            score = p["metric"](out, future)
            chosen = (out - future[:, None]).pow(2).sum(-1).mean(-1).argmin(1).bincount(minlength=GUESSES).tolist()
        if epoch % 3 == 2:
            print(f"epoch {epoch}: loss {loss.item():.3f} best distance {score:.3f} m, chosen {chosen}")
    print("score:", score)
