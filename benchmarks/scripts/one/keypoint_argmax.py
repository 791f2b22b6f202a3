"""Key point from a heat map; coordinates are taken by argmax and, to silence the error, given requires_grad=True, so no gradient reaches the net; the right change: a soft argmax (expected coordinate under the softmax of the map)."""
import sys
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

S = 16


def crosses(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = 0.5 * torch.randn(n, 1, S, S, generator=g)
    pt = torch.randint(2, S - 2, (n, 2), generator=g)
    for i, (r, c) in enumerate(pt.tolist()):
        x[i, 0, r - 2:r + 3, c] += 1.5
        x[i, 0, r, c - 2:c + 3] += 1.5
    return x, pt.float()


class HeatmapNet(nn.Module):
    def __init__(self, soft):
        super().__init__()
        self.soft = soft
        self.net = nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 1, 1))

    def forward(self, x):
        h = self.net(x).flatten(1)
        if self.soft:
            p = h.softmax(1).view(-1, S, S)
            r = torch.arange(S, dtype=torch.float32)
            return torch.stack([(p.sum(2) * r).sum(1), (p.sum(1) * r).sum(1)], 1)
        idx = h.argmax(1)
        coords = torch.stack([idx // S, idx % S], 1).float()
        coords.requires_grad_(True)   # otherwise: element 0 of tensors does not require grad
        return coords


def parts(variant):
    torch.manual_seed(0)
    model = HeatmapNet(soft=variant == "fixed")
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), loss_fn=F.l1_loss,
                train_loader=DataLoader(TensorDataset(*crosses(1000, 1)), 32, shuffle=True),
                val_loader=DataLoader(TensorDataset(*crosses(200, 2)), 200))


WORKS = lambda score: score < 1.0  # mean error in pixels

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(8):
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
        print(epoch, loss.item())
    x, y = next(iter(p["val_loader"]))
    with torch.no_grad():
        print("score:", (model(x) - y).norm(dim=1).mean().item())
