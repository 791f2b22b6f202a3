"""GRU encoder and decoder that forecast eight steps; optimizer.zero_grad() stands between backward() and step(), so every step is made without gradients and nothing is ever updated; the right change: zero_grad before backward."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def waves(n, seed):
    g = torch.Generator().manual_seed(seed)
    f = torch.rand(n, 1, generator=g) * 0.5 + 0.25
    ph = torch.rand(n, 1, generator=g) * 6.28
    s = torch.sin(f * torch.arange(32.0) + ph) + 0.05 * torch.randn(n, 32, generator=g)
    return TensorDataset(s[:, :24, None], s[:, 24:, None])


class Seq2Seq(nn.Module):
    def __init__(self, h=48):
        super().__init__()
        self.encoder = nn.GRU(1, h, batch_first=True)
        self.decoder = nn.GRUCell(1, h)
        self.out = nn.Linear(h, 1)

    def forward(self, x, steps=8):
        _, h = self.encoder(x)
        h, y, ys = h[0], x[:, -1], []
        for _ in range(steps):
            h = self.decoder(y, h)
            y = self.out(h)
            ys.append(y)
        return torch.stack(ys, 1)


def parts(variant):
    torch.manual_seed(0)
    model = Seq2Seq()
    criterion = nn.MSELoss()

    def step(model, optimizer, batch):
        x, y = batch
        if variant == "fixed":
            optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        if variant == "bad":
            optimizer.zero_grad()
        optimizer.step()
        return loss.detach()

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "step": step,
            "train_loader": DataLoader(waves(2000, 1), 64, shuffle=True), "val_loader": DataLoader(waves(400, 2), 200)}


WORKS = lambda score: score < 0.2  # squared error over the variance

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(15):
        tot = 0
        for batch in p["train_loader"]:
            tot += p["step"](p["model"], p["optimizer"], batch).item()
        if epoch % 3 == 2: print("epoch", epoch + 1, "loss", tot / len(p["train_loader"]))
    with torch.no_grad():
        e = torch.cat([(p["model"](x) - y) for x, y in p["val_loader"]])
        y = torch.cat([y for _, y in p["val_loader"]])
    print("score:", (e.pow(2).mean() / y.var()).item())
