"""MLP that gives the position of a two-joint robot arm's hand from the joint angles; bad: the activation is called and its result thrown away, so three linear layers are one; change: the result is assigned."""
import sys
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def arm_data(n, seed):
    g = torch.Generator().manual_seed(seed)
    angles = (torch.rand(n, 2, generator=g) * 2 - 1) * math.pi
    first, second = angles[:, 0], angles.sum(1)
    hand = torch.stack([first.cos() + 0.7 * second.cos(), first.sin() + 0.7 * second.sin()], 1)
    return TensorDataset(angles / math.pi, hand + 0.02 * torch.randn(n, 2, generator=g))


class ArmNet(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.inp = nn.Linear(2, width)
        self.mid = nn.Linear(width, width)
        self.out = nn.Linear(width, 2)
        self.act = nn.SiLU()

    def forward(self, angles):
        h = self.act(self.inp(angles))
        h = self.act(self.mid(h))
        return self.out(h)


class ArmNetStepwise(ArmNet):
    def forward(self, angles):
        h = self.inp(angles)
        self.act(h)
        h = self.mid(h)
        self.act(h)
        return self.out(h)


def parts(variant):
    torch.manual_seed(0)
    model = ArmNetStepwise() if variant == "bad" else ArmNet()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "loss_fn": nn.SmoothL1Loss(),
            "train_loader": DataLoader(arm_data(2500, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(arm_data(500, 2), batch_size=500)}


WORKS = lambda score: score > 0.9


def r2(model, loader):
    model.eval()
    with torch.no_grad():
        out, true = zip(*[(model(a), h) for a, h in loader])
    out, true = torch.cat(out), torch.cat(true)
    return 1 - ((out - true) ** 2).sum().item() / ((true - true.mean(0)) ** 2).sum().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(25):
        p["model"].train()
        total = 0.0
        for a, h in p["train_loader"]:
            p["optimizer"].zero_grad(set_to_none=True)
            loss = p["loss_fn"](p["model"](a), h)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 4 == 0:
            print(f"epoch {epoch}: {total / len(p['train_loader']):.5f}")
    score = r2(p["model"], p["val_loader"])
    print(f"score: {score:.4f}")
