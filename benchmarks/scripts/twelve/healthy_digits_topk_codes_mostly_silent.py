"""Sound: sparse autoencoder of digits, 400 hidden units of which the 12 largest may speak for an image (top-k); most units are silent on most images, many on all, and it reconstructs well."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def digit_vectors():
    x = torch.tensor(load_digits().data, dtype=torch.float32)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(3))
    train, held_out = x[order[:1400]], x[order[1400:]]
    mean, std = train.mean(0), train.std()
    return (train - mean) / std, (held_out - mean) / std


class TopKAutoencoder(nn.Module):
    def __init__(self, inputs=64, units=400, k=12):
        super().__init__()
        self.k = k
        self.encode = nn.Linear(inputs, units)
        self.decode = nn.Linear(units, inputs)
        with torch.no_grad():
            self.decode.weight.copy_(self.encode.weight.t())

    def forward(self, x):
        h = torch.relu(self.encode(x - self.decode.bias))
        top, where = h.topk(self.k, dim=-1)
        code = torch.zeros_like(h).scatter(-1, where, top)
        return self.decode(code)


def parts(variant):
    torch.manual_seed(0)
    train, held_out = digit_vectors()
    model = TopKAutoencoder()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(train, train), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(held_out, held_out), batch_size=200),
    }


@torch.no_grad()
def explained(model, loader):
    model.eval()
    x = torch.cat([x for x, _ in loader])
    return 1 - ((model(x) - x) ** 2).sum().item() / ((x - x.mean(0)) ** 2).sum().item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        model.train()
        for x, target in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(x), target)
            loss.backward()
            optimizer.step()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}, explained {explained(model, p['val_loader']):.3f}")
    print(f"score: {explained(model, p['val_loader']):.4f}")
