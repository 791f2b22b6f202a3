"""Healthy: the forward-forward example on digits: the label is written into ten pixels of its own, every layer detaches and normalises what it gets and has its own goodness loss, so no gradient runs from one layer to another. change: nothing, it is sound."""
import sys

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def load():
    d = load_digits()
    x = torch.tensor(d.data, dtype=torch.float32) / 16
    x = torch.cat([torch.zeros(len(x), 10), x], 1)
    y = torch.tensor(d.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(4))
    x, y = x[order], y[order]
    return TensorDataset(x[:1400], y[:1400]), TensorDataset(x[1400:], y[1400:])


def overlay_y_on_x(x, y):
    x_ = x.clone()
    x_[:, :10] = 0
    x_[range(x.shape[0]), y] = x.max()
    return x_


def wrong_labels(y):
    return (y + torch.randint(1, 10, y.shape)) % 10


class Layer(nn.Linear):
    def __init__(self, in_features, out_features, threshold=2.0):
        super().__init__(in_features, out_features)
        self.relu = nn.ReLU()
        self.threshold = threshold

    def forward(self, x):
        direction = x / (x.pow(2).mean(1, keepdim=True).sqrt() + 1e-4)
        return self.relu(torch.mm(direction, self.weight.T) + self.bias.unsqueeze(0))

    def local_loss(self, x_pos, x_neg):
        g_pos = self.forward(x_pos).pow(2).mean(1)
        g_neg = self.forward(x_neg).pow(2).mean(1)
        return torch.log(1 + torch.exp(torch.cat([-g_pos + self.threshold, g_neg - self.threshold]))).mean()


class Net(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.layers = nn.ModuleList(Layer(a, b) for a, b in zip(dims[:-1], dims[1:]))

    def predict(self, x):
        per_label = []
        for label in range(10):
            h = overlay_y_on_x(x, torch.full((len(x),), label))
            goodness = 0
            for layer in self.layers:
                h = layer(h)
                goodness = goodness + h.pow(2).mean(1)
            per_label.append(goodness.unsqueeze(1))
        return torch.cat(per_label, 1).argmax(1)

    def forward(self, x_pos, x_neg):
        total = 0
        for layer in self.layers:
            total = total + layer.local_loss(x_pos, x_neg)
            x_pos, x_neg = layer(x_pos).detach(), layer(x_neg).detach()
        return total


def training_step(model, batch):
    x, y = batch
    return model(overlay_y_on_x(x, y), overlay_y_on_x(x, wrong_labels(y)))


def parts(variant):
    torch.manual_seed(0)
    train, test = load()
    model = Net([74, 300, 300])
    return dict(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.005),
        training_step=training_step,
        train_loader=DataLoader(train, batch_size=100, shuffle=True),
        val_loader=DataLoader(test, batch_size=397),
    )


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(60):
        losses = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(net, batch)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")
    with torch.no_grad():
        x_te, y_te = next(iter(p["val_loader"]))
        score = net.predict(x_te).eq(y_te).float().mean().item()
    print(f"score: {score:.4f}")
