"""Healthy: stochastic weight averaging on a noisy table: after a burn-in the rate stays high and constant, the loss of the single network goes up and stays
restless, and the mean of the weights, with batch norm statistics taken anew, is what is used. Nothing to change."""
import sys
import torch
from torch import nn
from sklearn.datasets import make_classification
from torch.optim.swa_utils import AveragedModel, SWALR, update_bn
from torch.utils.data import DataLoader, TensorDataset


def table():
    x, y = make_classification(4000, 24, n_informative=12, n_redundant=4, n_classes=4, n_clusters_per_class=2, class_sep=1.3,
                               flip_y=0.08, random_state=3)
    x = torch.tensor(x, dtype=torch.float32)
    x = (x - x[:3000].mean(0)) / x[:3000].std(0)
    y = torch.tensor(y)
    return TensorDataset(x[:3000], y[:3000]), TensorDataset(x[3000:], y[3000:])


def mlp():
    return nn.Sequential(nn.Linear(24, 96, bias=False), nn.BatchNorm1d(96), nn.ReLU(),
                         nn.Linear(96, 96, bias=False), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 4))


def parts(variant):
    torch.manual_seed(0)
    train, val = table()
    model = mlp()
    averaged = AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    swa_rate = SWALR(optimizer, swa_lr=0.15, anneal_epochs=2, anneal_strategy="linear")
    loader = DataLoader(train, 50, shuffle=True)
    done = {"steps": 0}

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        done["steps"] += 1
        epoch, rest = divmod(done["steps"], len(loader))
        if rest == 0 and epoch >= 8:
            averaged.update_parameters(model)
            swa_rate.step()
        return loss.detach()

    return dict(model=model, averaged=averaged, optimizer=optimizer, step=step, train_loader=loader, val_loader=DataLoader(val, 500))


WORKS = lambda score: score > 0.78

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, averaged = p["model"], p["averaged"]

    def accuracy(net):
        net.eval()
        with torch.no_grad():
            return sum((net(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / len(p["val_loader"].dataset)

    for epoch in range(30):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f} single {accuracy(model):.4f}")
    update_bn(p["train_loader"], averaged)
    score = accuracy(averaged)
    print(f"score: {score:.4f}")
