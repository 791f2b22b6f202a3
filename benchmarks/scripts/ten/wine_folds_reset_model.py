"""Cultivar of wines by a small residual MLP, Adagrad, three-fold cross-validation; each fold builds the model anew, the optimizer is made only once, in the constructor, for a model that is thrown away; change: each fold makes its optimizer as well."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from torch.utils.data import DataLoader, TensorDataset


class WineNet(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.first = nn.Linear(13, width)
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.last = nn.Linear(width, 3)

    def forward(self, x):
        h = self.first(x)
        return self.last(torch.relu(h + self.inner(h)))


class CrossValidation:
    def __init__(self, make_model, make_optimizer, renew_optimizer):
        wine = load_wine()
        self.x, self.y = torch.tensor(wine.data, dtype=torch.float32), torch.tensor(wine.target)
        self.folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(wine.data, wine.target))
        self.make_model, self.make_optimizer, self.renew_optimizer = make_model, make_optimizer, renew_optimizer
        self.model = make_model()
        self.optimizer = make_optimizer(self.model.parameters())
        self.loss_fn = nn.CrossEntropyLoss()

    def start_fold(self, k):
        self.model = self.make_model()
        if self.renew_optimizer:
            self.optimizer = self.make_optimizer(self.model.parameters())
        train, val = self.folds[k]
        mean, std = self.x[train].mean(0), self.x[train].std(0)
        x = (self.x - mean) / std
        self.train_loader = DataLoader(TensorDataset(x[train], self.y[train]), batch_size=16, shuffle=True)
        self.val_loader = DataLoader(TensorDataset(x[val], self.y[val]), batch_size=60)

    def train(self, epochs):
        for epoch in range(epochs):
            self.model.train()
            total = 0.0
            for x, y in self.train_loader:
                self.optimizer.zero_grad()
                loss = self.loss_fn(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                total += loss.item()
            print(f"  epoch {epoch + 1}: loss {total / len(self.train_loader):.3f}, accuracy {self.accuracy():.3f}")

    @torch.no_grad()
    def accuracy(self):
        self.model.eval()
        hits = [(self.model(x).argmax(1) == y).float() for x, y in self.val_loader]
        return torch.cat(hits).mean().item()


def cross_validation(variant):
    torch.manual_seed(0)
    adagrad = lambda params: torch.optim.Adagrad(params, lr=0.02)
    return CrossValidation(WineNet, adagrad, renew_optimizer=variant != "bad")


def parts(variant):
    cv = cross_validation(variant)
    cv.start_fold(0)
    return {
        "model": cv.model,
        "optimizer": cv.optimizer,
        "loss_fn": cv.loss_fn,
        "train_loader": cv.train_loader,
        "val_loader": cv.val_loader,
        "metric": lambda output, target: (output.argmax(1) == target).float().mean().item(),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    cv = cross_validation(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    scores = []
    for k in range(3):
        print("fold", k + 1)
        cv.start_fold(k)
        cv.train(epochs=12)
        scores.append(cv.accuracy())
    value = sum(scores) / len(scores)
    print(f"score: {value:.4f}")
