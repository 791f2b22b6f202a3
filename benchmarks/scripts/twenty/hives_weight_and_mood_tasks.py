"""A shared network predicts a beehive's weight gain and its mood from sensors; the two losses are weighted by learned eta. Mistake: the losses are put into a new tensor by torch.Tensor([...]), so only eta gets a gradient. change: torch.stack."""
import sys
import warnings

import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore", category=UserWarning)


def hive_records(n, seed):
    rng = np.random.default_rng(seed)
    sensors = rng.normal(size=(n, 8)).astype(np.float32)
    activity = np.sin(sensors[:, 0] * 1.5) + sensors[:, 1] * sensors[:, 2]
    gain = activity + 0.5 * sensors[:, 3] + 0.1 * rng.normal(size=n)
    mood = (activity - 0.8 * sensors[:, 4] ** 2 + 0.6 > 0).astype(np.float32)
    return TensorDataset(torch.from_numpy(sensors), torch.from_numpy(gain.astype(np.float32)), torch.from_numpy(mood))


class HiveNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.gain = nn.Linear(64, 1)
        self.mood = nn.Linear(64, 1)

    def forward(self, x):
        h = self.shared(x)
        return self.gain(h).squeeze(1), self.mood(h).squeeze(1)


class MultiTaskLoss(nn.Module):
    def __init__(self, model, loss_fn, eta, combine):
        super().__init__()
        self.model = model
        self.loss_fn = loss_fn
        self.combine = combine
        self.eta = nn.Parameter(torch.tensor(eta))

    def forward(self, x, targets):
        outputs = self.model(x)
        loss = [fn(o, y) for fn, o, y in zip(self.loss_fn, outputs, targets)]
        total = self.combine(loss) * torch.exp(-self.eta) + self.eta
        return total.sum()


def parts(variant):
    torch.manual_seed(0)
    combine = torch.Tensor if variant == "bad" else torch.stack
    task = MultiTaskLoss(HiveNet(), [nn.MSELoss(), nn.BCEWithLogitsLoss()], [0.0, 0.0], combine)

    def training_step(model, batch):
        sensors, gain, mood = batch
        return model(sensors, (gain, mood))

    return {"model": task, "optimizer": optim.Adam(task.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(hive_records(4000, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(hive_records(1000, 2), batch_size=500)}


WORKS = lambda score: score > 0.7


@torch.no_grad()
def evaluate(net, loader):
    gains, moods = [], []
    for sensors, gain, mood in loader:
        g, m = net(sensors)
        gains.append(torch.stack([g, gain]))
        moods.append(((m > 0).float() == mood).float())
    g = torch.cat(gains, 1)
    return (1 - (g[0] - g[1]).pow(2).mean() / g[1].var()).item(), torch.cat(moods).mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    task = p["model"]
    for epoch in range(30):
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](task, batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 3 == 2:
            r2, acc = evaluate(task.model, p["val_loader"])
            print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f} gain R2 {r2:.3f} mood acc {acc:.3f}")
    r2, acc = evaluate(task.model, p["val_loader"])
    score = min(r2, 2 * acc - 1)
    print(f"score: {score:.4f}")
