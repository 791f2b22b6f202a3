"""Autoencoder of digits with a code of eight numbers; bad: encoder and decoder layers stand in plain Python lists, so model.parameters() has the last layer alone; change: nn.ModuleList."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class Autoencoder(nn.Module):
    def __init__(self, container, sizes=(64, 48, 32, 8)):
        super().__init__()
        pairs = list(zip(sizes[:-1], sizes[1:]))
        self.encoder = container([nn.Linear(a, b) for a, b in pairs])
        self.decoder = container([nn.Linear(b, a) for a, b in reversed(pairs[1:])])
        self.reconstruct = nn.Linear(sizes[1], sizes[0])

    def encode(self, x):
        for layer in self.encoder[:-1]:
            x = F.elu(layer(x))
        return self.encoder[-1](x)

    def decode(self, z):
        for layer in self.decoder:
            z = F.elu(layer(z))
        return self.reconstruct(z)

    def forward(self, x):
        return self.decode(self.encode(x))


def parts(variant):
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data, dtype=torch.float32) / 8 - 1
    x = x[torch.randperm(len(x))]
    model = Autoencoder(list if variant == "bad" else nn.ModuleList)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(x[:1500], x[:1500]), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[1500:], x[1500:]), batch_size=99),
    }


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    ae = p["model"]
    for epoch in range(40):
        ae.train()
        epoch_loss = 0
        for img, target in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](ae(img), target)
            loss.backward()
            p["optimizer"].step()
            epoch_loss += loss.item()
        print(f"Epoch {epoch + 1}/40, loss: {epoch_loss / len(p['train_loader']):.4f}")
    ae.eval()
    with torch.no_grad():
        x = torch.cat([img for img, _ in p["val_loader"]])
        err = (ae(x) - x).pow(2).sum()
        score = 1 - (err / (x - x.mean(0)).pow(2).sum()).item()
    print(f"score: {score:.4f}")
