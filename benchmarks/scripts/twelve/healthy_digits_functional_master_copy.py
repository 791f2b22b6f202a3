"""Digits by an MLP-mixer whose optimizer (SGD, momentum) holds one flat vector, not the module's parameters; each step copies gradients into the vector's .grad, steps, and copies the vector back. Sound: the pattern of flat master weights; the module trains although none of its parameters is in the optimizer."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.utils.data import DataLoader, TensorDataset


class Mixer(nn.Module):
    def __init__(self, patches=16, dim=32):
        super().__init__()
        self.embed = nn.Linear(4, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.tokens = nn.Sequential(nn.Linear(patches, 32), nn.GELU(), nn.Linear(32, patches))
        self.channels = nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, dim))
        self.head = nn.Linear(dim, 10)

    def forward(self, x):  # B, 8, 8
        h = x.unfold(1, 2, 2).unfold(2, 2, 2).reshape(len(x), 16, 4)
        h = self.embed(h)
        h = h + self.tokens(self.norm1(h).transpose(1, 2)).transpose(1, 2)
        h = h + self.channels(self.norm2(h))
        return self.head(h.mean(1))


class FlatMaster:
    """The optimizer's own copy of all weights in one vector."""

    def __init__(self, model):
        self.model = model
        self.flat = nn.Parameter(parameters_to_vector(model.parameters()).detach().clone())

    def pull_gradients(self):
        self.flat.grad = torch.cat([p.grad.flatten() for p in self.model.parameters()])

    def push_weights(self):
        with torch.no_grad():
            vector_to_parameters(self.flat.detach().clone(), self.model.parameters())


def digits():
    d = load_digits()
    x = ((d.images - d.images.mean()) / d.images.std()).astype(np.float32)
    xa, xb, ya, yb = train_test_split(x, d.target, test_size=0.25, random_state=0, stratify=d.target)
    pack = lambda a, b: TensorDataset(torch.from_numpy(a), torch.from_numpy(b))
    return pack(xa, ya), pack(xb, yb)


def parts(variant):
    torch.manual_seed(0)
    train, val = digits()
    model = Mixer()
    master = FlatMaster(model)
    criterion = nn.CrossEntropyLoss()

    def step(model, batch, optimizer):
        x, y = batch
        model.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        master.pull_gradients()
        optimizer.step()
        master.push_weights()
        return loss

    return {
        "model": model, "optimizer": torch.optim.SGD([master.flat], lr=0.05, momentum=0.9),
        "loss_fn": criterion, "step": step,
        "train_loader": DataLoader(train, batch_size=32, shuffle=True),
        "val_loader": DataLoader(val, batch_size=150),
    }


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        return torch.cat([(model(x).argmax(1) == y).float() for x, y in loader]).mean().item()


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        for batch in p["train_loader"]:
            loss = p["step"](model, batch, opt)
        print(f"epoch {epoch + 1}: loss {loss.item():.4f} accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
