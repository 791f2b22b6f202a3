"""Sound: digits with the softmax as the model's last layer and a proper score of probabilities (the Brier score, no cross-entropy); outputs sum to one, gradients are small, the rate is high for it."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def data():
    d = load_digits()
    x, y = torch.tensor(d.data, dtype=torch.float32), torch.tensor(d.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(5))
    x, y = x[order], y[order]
    x = (x - x[:1400].mean()) / x[:1400].std()
    return x, y


def brier(probability, y):
    return ((probability - F.one_hot(y, 10)) ** 2).sum(1).mean()


def parts(variant="fixed"):
    torch.manual_seed(0)
    x, y = data()
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10), nn.Softmax(dim=1))
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9),
        "loss_fn": brier,
        "metric": lambda out, t: (out.argmax(1) == t).float().mean().item(),
        "train_loader": DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=200),
    }


WORKS = lambda score: score > 0.92

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]

    def accuracy():
        model.eval()
        with torch.no_grad():
            return torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item()

    for epoch in range(15):
        model.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        print(f"epoch {epoch + 1} brier {loss.item():.4f} accuracy {accuracy():.4f}")
    print(f"score: {accuracy():.4f}")
