"""Events in a breathing signal by a 1-D convolutional net with one logit for each sample of time; the bias that gives the rare events their prior (-log((1-p)/p), as in RetinaNet) is set by the function that goes over all convolutions, so the hidden units start at about -4 and are dead behind their ReLU; change: the prior only in the last layer."""
import math
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

LENGTH = 128


def nights(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(LENGTH).float()
    phase, rate = 6.28 * torch.rand(n, 1, generator=g), 0.3 + 0.2 * torch.rand(n, 1, generator=g)
    x = torch.sin(rate * t + phase) * (0.8 + 0.4 * torch.rand(n, 1, generator=g))
    y = torch.zeros(n, LENGTH)
    for i in range(n):
        if torch.rand(1, generator=g) < 0.3:
            continue
        start = int(torch.randint(6, LENGTH - 34, (1,), generator=g))
        length = int(torch.randint(14, 30, (1,), generator=g))
        x[i, start:start + length] *= 0.15
        y[i, start:start + length] = 1
    x = x + 0.15 * torch.randn(n, LENGTH, generator=g)
    return ((x - x.mean()) / x.std()).unsqueeze(1), y


class EventNet(nn.Module):
    def __init__(self, width=24, prior=0.02, prior_in_all=False):
        super().__init__()
        self.stem = nn.Conv1d(1, width, 9, padding=4)
        self.body = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2 * d, dilation=d) for d in (1, 2, 4))
        self.head = nn.Conv1d(width, 1, 1)
        self.prior_logit = -math.log((1 - prior) / prior)
        self.prior_in_all = prior_in_all
        self.apply(self.init_weights)
        nn.init.constant_(self.head.bias, self.prior_logit)

    def init_weights(self, m):
        if isinstance(m, nn.Conv1d):
            nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
            nn.init.constant_(m.bias, self.prior_logit if self.prior_in_all else 0.0)

    def forward(self, x):
        x = F.relu(self.stem(x))
        for conv in self.body:
            x = F.relu(conv(x))
        return self.head(x).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = EventNet(prior_in_all=variant == "bad")
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "train_loader": DataLoader(TensorDataset(*nights(800, 1)), batch_size=48, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*nights(300, 2)), batch_size=100),
        "metric": f1,
    }


def f1(out, y):
    hit = out > 0
    return (2 * (hit * y).sum() / (hit.sum() + y.sum()).clamp(min=1)).item()


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        pairs = [(model(x), y) for x, y in loader]
    return f1(torch.cat([o for o, _ in pairs]), torch.cat([y for _, y in pairs]))


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, bce = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(6):
        net.train()
        running = 0.0
        for signal, events in p["train_loader"]:
            loss = bce(net(signal), events)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            running += loss.item()
        print(f"[{epoch + 1}] loss {running / len(p['train_loader']):.4f}  F1 {evaluate(net, p['val_loader']):.3f}")
    print(f"score: {evaluate(net, p['val_loader']):.4f}")
