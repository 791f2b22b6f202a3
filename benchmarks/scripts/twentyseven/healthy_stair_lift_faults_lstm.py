"""An LSTM names the state of a stair lift (sound, jammed rail, slipping belt, worn bearing) from motor current, speed and vibration of one ride. Nothing odd: RMSprop, gradient clipping, the last hidden state goes to the head."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
CLASSES = ["sound", "jam", "slip", "bearing"]


class Rides(Dataset):
    def __init__(self, n, seed, stats=None, steps=60):
        rng = np.random.default_rng(seed)
        t = np.linspace(0, 1, steps)
        self.labels = rng.integers(0, len(CLASSES), n)
        rides = np.zeros((n, steps, 3), dtype=np.float32)
        for i, label in enumerate(self.labels):
            load = rng.uniform(50, 110)
            speed = 0.12 * np.minimum(1, np.minimum(t / 0.1, (1 - t) / 0.1))
            current = 2.0 + 0.03 * load + 0.4 * np.sin(2 * np.pi * t + rng.uniform(0, 6))
            vibration = 0.2 + 0.05 * rng.standard_normal(steps)
            where = rng.uniform(0.2, 0.8)
            bump = np.exp(-((t - where) / 0.05) ** 2)
            if label == 1:
                current = current + rng.uniform(0.8, 1.6) * bump
                speed = speed - 0.03 * bump
            elif label == 2:
                speed = speed * (1 - 0.25 * (np.sin(2 * np.pi * 6 * t + rng.uniform(0, 6)) > 0.6))
            elif label == 3:
                vibration = vibration + 0.12 * t * (1 + np.sin(2 * np.pi * 12 * t))
            rides[i] = np.stack([current, speed, vibration], 1)
        rides += np.array([0.15, 0.006, 0.03], dtype=np.float32) * rng.standard_normal(rides.shape).astype(np.float32)
        self.stats = stats or (rides.mean((0, 1)), rides.std((0, 1)))
        self.rides = torch.from_numpy((rides - self.stats[0]) / self.stats[1])
        self.labels = torch.from_numpy(self.labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.rides[i], self.labels[i]


class FaultLSTM(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.lstm = nn.LSTM(3, hidden, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(hidden, len(CLASSES))

    def forward(self, rides):
        _, (h, _) = self.lstm(rides)
        return self.out(self.drop(h[-1]))


def evaluate(model, loader):
    model.eval()
    right = seen = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(-1) == y).sum().item()
            seen += len(y)
    model.train()
    return right / seen


def parts(variant):
    torch.manual_seed(1)
    train = Rides(1600, seed=1)
    held = Rides(500, seed=2, stats=train.stats)
    model = FaultLSTM()
    return {"model": model,
            "optimizer": torch.optim.RMSprop(model.parameters(), lr=2e-3),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True),
            "val_loader": DataLoader(held, batch_size=250),
            "metric": lambda out, y: (out.argmax(-1) == y).float().mean().item()}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(7):
        losses = []
        for rides, labels in p["train_loader"]:
            loss = p["loss_fn"](p["model"](rides), labels)
            p["optimizer"].zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 1.0)
            p["optimizer"].step()
            losses.append(loss.item())
        score = evaluate(p["model"], p["val_loader"])
        print(f"epoch {epoch}: loss {np.mean(losses):.3f} held out {score:.3f}")
    print("score:", score)
