"""Healthy: linear probe on a frozen convolutional net pre-trained to name an image's rotation, kept in eval mode while the head trains; most parameters have no gradient on purpose; nothing to change."""
import sys
import torch
from torch import nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def images():
    d = load_digits()
    g = torch.Generator().manual_seed(0)
    i = torch.randperm(len(d.target), generator=g)
    return torch.tensor(d.images[:, None] / 8 - 1, dtype=torch.float32)[i], torch.tensor(d.target)[i]


def trunk():
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())


def pretrain():
    torch.manual_seed(1)
    x, _ = images()
    net, head = trunk(), nn.Linear(128, 4)
    opt = torch.optim.Adam([*net.parameters(), *head.parameters()], 2e-3)
    for _ in range(10):
        for i in torch.randperm(1000).split(50):
            k = torch.randint(0, 4, (len(i),))
            xr = torch.stack([torch.rot90(a, int(r), (1, 2)) for a, r in zip(x[i], k)])
            opt.zero_grad()
            nn.functional.cross_entropy(head(net(xr)), k).backward()
            opt.step()
    return net


class Probe(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.fc = nn.Linear(128, 10)

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        with torch.no_grad():
            f = self.backbone(x)
        return self.fc(f)


def parts(variant):
    net = pretrain()
    torch.manual_seed(2)
    m = Probe(net)
    x, y = images()
    return {"model": m, "optimizer": torch.optim.Adam(filter(lambda p: p.requires_grad, m.parameters()), 1e-2), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:1000], y[:1000]), 50, shuffle=True), "val_loader": DataLoader(TensorDataset(x[1000:], y[1000:]), 200)}


WORKS = lambda score: score > 0.88

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for e in range(15):
        p["model"].train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            l = p["loss_fn"](p["model"](x), y)
            l.backward()
            p["optimizer"].step()
        print(e, l.item())
    p["model"].eval()
    with torch.no_grad():
        print("score:", torch.cat([(p["model"](x).argmax(1) == y).float() for x, y in p["val_loader"]]).mean().item())
