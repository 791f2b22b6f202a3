"""Snore sounds, six kinds with few labelled clips: a 1-d convolution body is pretrained on the many clips of an archive with its own labels, and a new head is trained on the frozen body. The checkpoint's keys begin with "encoder." while the new network calls the body "body", and strict=False swallows that no key fits, so the frozen body stays random; the right change: rename the keys before load_state_dict."""
import io
import math
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
KINDS, LENGTH = 6, 128


def clips(n, gen):
    """Two resonances and a breathing envelope; the kind sets the pair of resonances."""
    kind = torch.randint(0, KINDS, (n,), generator=gen)
    low = torch.tensor([6.0, 6.0, 6.0, 11.0, 11.0, 17.0])[kind] + 0.5 * torch.randn(n, generator=gen)
    high = torch.tensor([14.0, 20.0, 27.0, 20.0, 27.0, 27.0])[kind] + 0.5 * torch.randn(n, generator=gen)
    t = torch.linspace(0, 1, LENGTH)
    phase = 2 * math.pi * torch.rand(n, 2, generator=gen)
    loud = 0.6 + 0.8 * torch.rand(n, 2, generator=gen)
    x = loud[:, :1] * torch.sin(2 * math.pi * low[:, None] * t + phase[:, :1])
    x = x + loud[:, 1:] * torch.sin(2 * math.pi * high[:, None] * t + phase[:, 1:])
    x = x * (0.7 + 0.3 * torch.sin(math.pi * t)) + 0.5 * torch.randn(n, LENGTH, generator=gen)
    return x[:, None], kind


def conv_body():
    return nn.Sequential(
        nn.Conv1d(1, 12, 15, stride=2, padding=7), nn.ReLU(),
        nn.Conv1d(12, 16, 9, stride=2, padding=4), nn.ReLU(),
        nn.Conv1d(16, 12, 5, stride=2, padding=2), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten())


class Pretext(nn.Module):
    """The network trained on the archive of the sleep laboratory."""

    def __init__(self):
        super().__init__()
        self.encoder = conv_body()
        self.groups = nn.Linear(12, KINDS)

    def forward(self, x):
        return self.groups(self.encoder(x))


class SnoreNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = conv_body()
        self.head = nn.Linear(12, KINDS)

    def forward(self, x):
        return self.head(self.body(x))


def pretrain(gen, epochs=8):
    x, archived = clips(3000, gen)
    net = Pretext()
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    for epoch in range(epochs):
        for idx in torch.randperm(len(x), generator=gen).split(64):
            loss = nn.functional.cross_entropy(net(x[idx]), archived[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    file = io.BytesIO()
    torch.save({"model": net.state_dict(), "epoch": epochs}, file)
    file.seek(0)
    return file


def parts(variant):
    torch.manual_seed(5)
    gen = torch.Generator().manual_seed(5)
    state = torch.load(pretrain(gen))["model"]
    if variant != "bad":
        state = {k.replace("encoder.", "body."): v for k, v in state.items()}
    model = SnoreNet()
    model.load_state_dict(state, strict=False)
    for param in model.body.parameters():
        param.requires_grad = False
    x, kind = clips(1500, gen)
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.Adam(model.head.parameters(), lr=1e-2),
            "train_loader": DataLoader(TensorDataset(x[:600], kind[:600]), batch_size=30, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[600:], kind[600:]), batch_size=300),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean()}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(20):
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        with torch.no_grad():
            acc = sum(p["metric"](p["model"](x), y).item() for x, y in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch}: loss {loss.item():.3f} accuracy {acc:.3f}")
    print("score:", acc)
