"""Predicts the light on a stage floor (24 by 24 spots) from twelve dimmer settings. What could look odd: plain SGD with a learning rate of 40. Why it is right: the loss is the mean over 576 spots, so that each weight's gradient is divided by 576 and a rate of 40 acts like 0.07 per spot."""
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIDE, LAMPS = 24, 12


class Stage:
    def __init__(self, gen):
        axis = torch.linspace(0, 1, SIDE)
        yy, xx = torch.meshgrid(axis, axis, indexing="ij")
        cx, cy = torch.rand(2, LAMPS, 1, 1, generator=gen)
        width = 0.12 + 0.15 * torch.rand(LAMPS, 1, 1, generator=gen)
        self.beams = torch.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * width ** 2)).flatten(1)
        self.gamma = 1.3 + torch.rand(LAMPS, generator=gen)

    def photograph(self, n, gen):
        dimmers = torch.rand(n, LAMPS, generator=gen)
        light = dimmers ** self.gamma @ self.beams
        light = light + 0.05 * torch.randn(light.shape, generator=gen)
        return dimmers, light


class LightNet(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.hidden = nn.Linear(LAMPS, hidden)
        self.floor = nn.Linear(hidden, SIDE * SIDE)

    def forward(self, dimmers):
        return self.floor(torch.tanh(self.hidden(2 * dimmers - 1)))


def r2(pred, light):
    return (1 - (pred - light).pow(2).sum() / (light - light.mean(0)).pow(2).sum()).item()


def parts(variant):
    torch.manual_seed(20)
    gen = torch.Generator().manual_seed(200)
    stage = Stage(gen)
    dimmers, light = stage.photograph(1800, gen)
    centre, spread = light.mean(0), light.std()
    light = (light - centre) / spread
    train = TensorDataset(dimmers[:1500], light[:1500])
    val = TensorDataset(dimmers[1500:], light[1500:])
    model = LightNet()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=40.0),
            "loss_fn": nn.MSELoss(), "metric": r2,
            "train_loader": DataLoader(train, batch_size=50, shuffle=True),
            "val_loader": DataLoader(val, batch_size=300)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, sgd = p["model"], p["optimizer"]
    for epoch in range(25):
        for dimmers, light in p["train_loader"]:
            sgd.zero_grad()
            loss = p["loss_fn"](model(dimmers), light)
            loss.backward()
            sgd.step()
        if epoch % 5 == 4:
            print(f"epoch {epoch}: loss {loss.item():.4f}")
    with torch.no_grad():
        dimmers, light = next(iter(p["val_loader"]))
        print("score:", p["metric"](model(dimmers), light))
