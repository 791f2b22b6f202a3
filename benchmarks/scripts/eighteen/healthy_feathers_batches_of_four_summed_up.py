"""CNN for feathers of twelve birds in batches of four, with a step after every eighth batch (the loss divided by eight); sound."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

ACCUM = 8


def feathers(n, seed):
    colours = torch.rand(12, 3, 6, generator=torch.Generator().manual_seed(19))
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 12, (n,), generator=g)
    bars = F.interpolate(colours[y], size=24, mode="linear")
    x = bars[:, :, :, None].expand(n, 3, 24, 12).clone()
    x = x * (0.6 + 0.8 * torch.rand(n, 1, 1, 1, generator=g)) + 0.25 * torch.randn(n, 3, 24, 12, generator=g)
    return TensorDataset(x - 0.5, y)


class FeatherNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.g1, self.g2 = nn.GroupNorm(4, 16), nn.GroupNorm(4, 32)
        self.fc = nn.Linear(32 * 6 * 3, 12)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.g1(self.c1(x))), 2)
        x = F.max_pool2d(F.relu(self.g2(self.c2(x))), 2)
        return self.fc(x.flatten(1))


def make_step():
    state = {"n": 0}

    def step(model, batch, optimizer):
        x, y = batch
        if state["n"] % ACCUM == 0:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        (loss / ACCUM).backward()
        state["n"] += 1
        if state["n"] % ACCUM == 0:
            optimizer.step()
        return loss

    return step


def parts(variant):
    torch.manual_seed(0)
    model = FeatherNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "step": make_step(),
            "train_loader": DataLoader(feathers(1280, 1), batch_size=4, shuffle=True),
            "val_loader": DataLoader(feathers(360, 2), batch_size=60)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(8):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")
    model.eval()
    with torch.no_grad():
        hits = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
    print(f"score: {hits / 360:.4f}")
