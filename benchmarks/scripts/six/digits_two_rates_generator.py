"""CNN on digits with one rate for the trunk and one for the head; the trunk's parameters() generator is used up by counting its size, so its group in the optimizer is empty; change: list(...) round it."""
import logging
import sys

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
log = logging.getLogger(__name__)
WORKS = lambda acc: acc > 0.92


class DigitNet(nn.Module):
    def __init__(self, n_features=5):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 4, n_features), nn.Tanh(),
        )
        self.head = nn.Sequential(nn.Linear(n_features, 10))

    def forward(self, x):
        return self.head(self.trunk(x))


def get_data(batch_size=32):
    d = load_digits()
    x = (d.images / 8.0 - 1.0).astype("float32")[:, None]
    xtr, xva, ytr, yva = train_test_split(x, d.target, test_size=0.25, stratify=d.target, random_state=0)
    to = lambda a, b: TensorDataset(torch.from_numpy(a), torch.from_numpy(b))
    return DataLoader(to(xtr, ytr), batch_size, shuffle=True), DataLoader(to(xva, yva), 256)


def build_optimizer(net, variant, trunk_lr=2e-3, head_lr=5e-3):
    trunk = net.trunk.parameters()
    if variant != "bad":
        trunk = list(trunk)
    n_trunk = sum(p.numel() for p in trunk)
    n_head = sum(p.numel() for p in net.head.parameters())
    log.info("trunk: %d parameters, head: %d parameters", n_trunk, n_head)
    return torch.optim.AdamW([
        {"params": trunk, "lr": trunk_lr, "weight_decay": 1e-2},
        {"params": net.head.parameters(), "lr": head_lr, "weight_decay": 0.0},
    ])


def parts(variant="fixed"):
    torch.manual_seed(42)
    net = DigitNet()
    train, val = get_data()
    return dict(model=net, optimizer=build_optimizer(net, variant), train_loader=train, val_loader=val,
                loss_fn=nn.CrossEntropyLoss(label_smoothing=0.05),
                metric=lambda o, y: (o.argmax(-1) == y).float().mean())


def main():
    variant = sys.argv[1] if len(sys.argv) > 1 else "fixed"
    p = parts(variant)
    net, opt = p["model"], p["optimizer"]
    for epoch in range(25):
        net.train()
        seen = correct = 0
        for x, y in p["train_loader"]:
            out = net(x)
            loss = p["loss_fn"](out, y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            seen, correct = seen + len(y), correct + (out.argmax(-1) == y).sum().item()
        net.eval()
        with torch.inference_mode():
            hits = torch.cat([net(x).argmax(-1) == y for x, y in p["val_loader"]]).float().mean().item()
        log.info("epoch %02d train acc %.3f val acc %.3f", epoch, correct / seen, hits)
    print("score:", round(hits, 4))


if __name__ == "__main__":
    main()
