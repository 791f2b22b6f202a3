"""Loan default from an application table; bad: the loss is computed on thresholded predictions, and since backward then complained, loss.requires_grad = True was set, so no weight ever gets a gradient; change: the loss of the logits."""
import sys
import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split


class Loans(Dataset):
    def __init__(self, n=4000):
        r = np.random.default_rng(17)
        income = np.exp(r.normal(10.3, 0.5, n))
        amount = np.exp(r.normal(9.2, 0.7, n))
        months = r.choice([12, 24, 36, 60], n)
        age = r.integers(20, 75, n)
        past = r.poisson(0.4, n)
        z = 1.5 * np.log(amount / income) + 1.1 * past - 0.03 * (age - 45) + 0.015 * months + 0.9
        self.y = (r.random(n) < 1 / (1 + np.exp(-2 * z))).astype("float32")
        cols = np.stack([np.log(income), np.log(amount), months, age, past], 1)
        self.x = ((cols - cols.mean(0)) / cols.std(0)).astype("float32")

    def __len__(self):
        return len(self.y)

    def __getitem__(self, idx):
        return self.x[idx], self.y[idx]


class LoanModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x):
        return self.layers(x).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    train_set, val_set = random_split(Loans(), [3200, 800])
    model = LoanModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    bce = nn.BCELoss()
    bce_logits = nn.BCEWithLogitsLoss()

    def training_step(model, batch):
        x, y = batch
        out = model(x)
        if variant == "bad":
            pred = (torch.sigmoid(out) > 0.5).float()
            loss = bce(pred, y)
            loss.requires_grad = True
        else:
            loss = bce_logits(out, y)
        return loss

    return dict(model=model, optimizer=optimizer, training_step=training_step,
                train_loader=DataLoader(train_set, batch_size=64, shuffle=True), val_loader=DataLoader(val_set, batch_size=200))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        epoch_loss = 0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
        print(f"Epoch {epoch + 1}, loss: {epoch_loss / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        probs = torch.cat([torch.sigmoid(model(x)) for x, _ in p["val_loader"]])
    truth = torch.cat([y for _, y in p["val_loader"]])
    score = roc_auc_score(truth.numpy(), probs.numpy())
    print(f"score: {score:.4f}")
