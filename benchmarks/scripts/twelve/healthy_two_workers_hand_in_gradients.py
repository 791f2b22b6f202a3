"""Sound: data-parallel training played through in one process; two worker copies compute the gradients on halves of a batch, their mean is put into the master's .grad, the master steps (SGD, momentum) and the workers take its weights over. The model handed over never runs forward in training."""
import copy
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def knots(n, seed):
    """Two interleaved three-armed spirals in the plane plus two useless columns."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    r = 0.2 + 1.8 * torch.rand(n, generator=g)
    angle = 2.0 * r + y * 2.0944 + 0.15 * torch.randn(n, generator=g)
    x = torch.stack([r * angle.cos(), r * angle.sin()], 1)
    return torch.cat([x, torch.randn(n, 2, generator=g)], 1), y


def network():
    return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))


class ParameterServer:
    def __init__(self, master, workers=2):
        self.workers = [copy.deepcopy(master) for _ in range(workers)]

    def step(self, master, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        losses = []
        for worker, xs, ys in zip(self.workers, x.chunk(len(self.workers)), y.chunk(len(self.workers))):
            worker.zero_grad()
            loss = F.cross_entropy(worker(xs), ys) * len(xs) / len(x)
            loss.backward()
            losses.append(loss.detach())
        for parameter, *copies in zip(master.parameters(), *(w.parameters() for w in self.workers)):
            parameter.grad = sum(c.grad for c in copies)
        optimizer.step()
        for worker in self.workers:
            worker.load_state_dict(master.state_dict())
        return sum(losses)


def parts(variant):
    torch.manual_seed(0)
    master = network()
    server = ParameterServer(master)
    return {
        "model": master,
        "optimizer": torch.optim.SGD(master.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
        "loss_fn": nn.CrossEntropyLoss(),
        "step": server.step,
        "train_loader": DataLoader(TensorDataset(*knots(2000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*knots(500, 2)), batch_size=250),
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    return torch.cat([model(x).argmax(1) == y for x, y in loader]).float().mean().item()


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(30):
        for batch in p["train_loader"]:
            loss = p["step"](model, batch, p["optimizer"])
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}, accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
