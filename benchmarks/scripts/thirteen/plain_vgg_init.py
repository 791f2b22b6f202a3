"""Plain deep CNN without normalisation on digits, with the weights_init of a DCGAN applied to it; bad: every weight is N(0, 0.02), the signal dies on the way and the loss stays at ln 10; change: Kaiming initialisation."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def make_layers(cfg):
    layers, c = [], 1
    for v in cfg:
        if v == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(c, v, 3, padding=1), nn.ReLU(inplace=True)]
            c = v
    return nn.Sequential(*layers)


class VGG(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.features = make_layers([16, 16, "M", 32, 32, "M", 48, 48, "M"])
        self.classifier = nn.Sequential(nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, num_classes))

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


def weights_init(m):
    if isinstance(m, (nn.Conv2d, nn.Linear)):
        nn.init.normal_(m.weight, 0.0, 0.02)
        nn.init.zeros_(m.bias)


def kaiming_init(m):
    if isinstance(m, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
        nn.init.zeros_(m.bias)


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    x = (torch.tensor(d.images[:, None], dtype=torch.float32) / 16 - 0.3) / 0.38
    y = torch.tensor(d.target)
    i = torch.randperm(len(y))
    x, y = x[i], y[i]
    model = VGG()
    model.apply(weights_init if variant == "bad" else kaiming_init)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4),
            "loss_fn": F.cross_entropy,
            "train_loader": DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=200)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        avg = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            avg += loss.item() / len(p["train_loader"])
        model.eval()
        with torch.no_grad():
            score = torch.cat([model(x).argmax(1).eq(y).float() for x, y in p["val_loader"]]).mean().item()
        print(f"epoch {epoch}: loss {avg:.4f}, acc {score:.4f}")
    print(f"score: {score:.4f}")
