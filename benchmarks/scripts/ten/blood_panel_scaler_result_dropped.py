"""Diagnosis (four classes) from a blood panel in laboratory units (platelets 250,000, leucocytes 7,000, creatinine 0.9), MLP with SGD; the scaler's fit_transform returns a new array that nobody keeps, the net gets the raw numbers and is NaN or stuck at once; change: x = scaler.fit_transform(x)."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

#           platelets leucocytes Hb    ferritin creatinine CRP  sodium glucose
MEAN = np.array([250e3, 7000., 14.0, 120., 0.95, 8.0, 140., 95.])
SPREAD = np.array([60e3, 2000., 1.5, 40., 0.2, 3.0, 3.0, 12.])
SHIFT = np.array([
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],     # healthy
    [0.6, 0.0, -1.8, -1.5, 0.0, 0.0, 0.0, 0.0],   # iron deficiency
    [0.8, 1.8, -0.3, 0.8, 0.0, 2.0, 0.0, 0.5],    # infection
    [-0.3, 0.0, -1.0, 0.3, 2.2, 0.4, -1.0, 0.0],  # kidneys
])


def panels(n=2400, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    return MEAN + SPREAD * (SHIFT[y] + rng.normal(size=(n, 8))), y


class Diagnosis(nn.Module):
    def __init__(self, width=48, dropout=0.1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(8, width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width, 4),
        )

    def forward(self, x):
        return self.layers(x)


def parts(variant):
    torch.manual_seed(0)
    x, y = panels()
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    scaler = StandardScaler()
    if variant == "bad":
        scaler.fit_transform(x_train)
        scaler.transform(x_test)
    else:
        x_train = scaler.fit_transform(x_train)
        x_test = scaler.transform(x_test)
    tensors = lambda a, b: TensorDataset(torch.tensor(a, dtype=torch.float32), torch.tensor(b))
    model = Diagnosis()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(tensors(x_train, y_train), batch_size=32, shuffle=True),
        "val_loader": DataLoader(tensors(x_test, y_test), batch_size=200),
        "metric": lambda output, target: (output.argmax(1) == target).float().mean().item(),
    }


class Trainer:
    def __init__(self, p):
        self.p, self.model = p, p["model"]

    def epoch(self):
        self.model.train()
        losses = []
        for x, y in self.p["train_loader"]:
            self.p["optimizer"].zero_grad()
            loss = self.p["loss_fn"](self.model(x), y)
            loss.backward()
            self.p["optimizer"].step()
            losses.append(loss.item())
        return np.mean(losses)

    @torch.no_grad()
    def accuracy(self):
        self.model.eval()
        return torch.cat([(self.model(x).argmax(1) == y).float() for x, y in self.p["val_loader"]]).mean().item()


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    trainer = Trainer(parts(sys.argv[1] if len(sys.argv) > 1 else "fixed"))
    for k in range(15):
        print(f"epoch {k + 1}: loss {trainer.epoch():.4f}, accuracy {trainer.accuracy():.3f}")
    print(f"score: {trainer.accuracy():.4f}")
