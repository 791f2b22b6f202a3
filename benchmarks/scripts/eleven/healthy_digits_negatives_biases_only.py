"""Sound: a net trained on one kind of digits (as they are) is fitted to their negatives with noise by its biases, norms and head alone (BitFit); all weight matrices of the body are frozen and in no optimizer, on purpose."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def data():
    d = load_digits()
    x, y = torch.tensor(d.data, dtype=torch.float32) / 16, torch.tensor(d.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(6))
    x, y = x[order], y[order]
    shifted = 0.8 - 0.6 * x + 0.15 * torch.randn(x.shape, generator=torch.Generator().manual_seed(7))
    norm = lambda t: (t - t[:1400].mean()) / t[:1400].std()
    return norm(x), norm(shifted), y


class Net(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, width), nn.Linear(width, width), nn.Linear(width, width)
        self.na, self.nb, self.nc = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        h = torch.relu(self.na(self.a(x)))
        h = h + torch.relu(self.nb(self.b(h)))
        h = h + torch.relu(self.nc(self.c(h)))
        return self.head(h)


def epoch_of(model, loader, optimizer, loss_fn):
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


def parts(variant="fixed"):
    torch.manual_seed(0)
    plain, shifted, y = data()
    model, loss_fn = Net(), nn.CrossEntropyLoss()
    pretrain = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(8):
        epoch_of(model, DataLoader(TensorDataset(plain[:700], y[:700]), batch_size=32, shuffle=True), pretrain, loss_fn)
    for name, p in model.named_parameters():
        p.grad = None
        p.requires_grad_(name.endswith("bias") or name.startswith(("n", "head")))
    trained = [p for p in model.parameters() if p.requires_grad]
    return {
        "model": model,
        "optimizer": torch.optim.Adam(trained, lr=1e-2),
        "loss_fn": loss_fn,
        "train_loader": DataLoader(TensorDataset(shifted[700:1400], y[700:1400]), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(shifted[1400:], y[1400:]), batch_size=200),
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    return torch.cat([model(x).argmax(1) == y for x, y in loader]).float().mean().item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    print(f"trained: {sum(q.numel() for q in model.parameters() if q.requires_grad)} of {sum(q.numel() for q in model.parameters())}; "
          f"accuracy before {accuracy(model, p['val_loader']):.3f}")
    for epoch in range(20):
        loss = epoch_of(model, p["train_loader"], p["optimizer"], p["loss_fn"])
        print(f"epoch {epoch}: loss {loss:.4f} accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
