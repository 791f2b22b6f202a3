"""Healthy: the module of four scalar parameters from "Learning PyTorch with Examples" fits a cubic to the sine; the loss is a sum over 2000 points, which is why a rate of one millionth is right. change: nothing, it is sound."""
import math
import sys

import torch

x = torch.linspace(-math.pi, math.pi, 2000)
y = torch.sin(x)


class Polynomial3(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.randn(()))
        self.b = torch.nn.Parameter(torch.randn(()))
        self.c = torch.nn.Parameter(torch.randn(()))
        self.d = torch.nn.Parameter(torch.randn(()))

    def forward(self, x):
        return self.a + self.b * x + self.c * x ** 2 + self.d * x ** 3

    def string(self):
        return f"y = {self.a.item():.3f} + {self.b.item():.3f} x + {self.c.item():.3f} x^2 + {self.d.item():.3f} x^3"


def parts(variant):
    torch.manual_seed(0)
    model = Polynomial3()
    xv = (torch.rand(500, generator=torch.Generator().manual_seed(1)) - 0.5) * 2 * math.pi
    return dict(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=1e-6),
        loss_fn=torch.nn.MSELoss(reduction="sum"),
        train_loader=[(x, y)],
        val_loader=[(xv, torch.sin(xv))],
    )


# mean square error; the best cubic leaves about 0.0045, the zero function 0.5
WORKS = lambda score: score < 0.02

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for t in range(4000):
        for xb, yb in p["train_loader"]:
            y_pred = model(xb)
            loss = criterion(y_pred, yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if t % 400 == 399:
            print(t, loss.item())
    print(model.string())
    with torch.no_grad():
        xv, yv = p["val_loader"][0]
        score = (model(xv) - yv).pow(2).mean().item()
    print(f"score: {score:.4f}")
