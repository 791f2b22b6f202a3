"""Transfer learning on digits with a frozen encoder; the checkpoint's keys begin with "module." and load_state_dict(strict=False) loads none of them in silence, so the frozen encoder is random; the right change: strip the prefix (and load strictly)."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def encoder():
    return nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 6), nn.Tanh())


def data():
    d = load_digits()
    g = torch.Generator().manual_seed(0)
    p = torch.randperm(len(d.target), generator=g)
    return torch.tensor(d.data / 8 - 1, dtype=torch.float32)[p], torch.tensor(d.target)[p]


def checkpoint():
    """What the colleague's DataParallel run saved: an encoder trained on the ten classes."""
    torch.manual_seed(1)
    x, y = data()
    enc, head = encoder(), nn.Linear(6, 10)
    opt = torch.optim.Adam([*enc.parameters(), *head.parameters()], 3e-3)
    for _ in range(60):
        for i in torch.randperm(900).split(50):
            opt.zero_grad()
            nn.functional.cross_entropy(head(enc(x[i])), y[i]).backward()
            opt.step()
    return {"module." + k: v.clone() for k, v in enc.state_dict().items()}


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = encoder()
        self.head = nn.Linear(6, 10)

    def forward(self, x):
        return self.head(self.backbone(x))


def parts(variant):
    state = checkpoint()
    torch.manual_seed(2)
    model = Classifier()
    if variant == "fixed":
        state = {k.removeprefix("module."): v for k, v in state.items()}
    model.backbone.load_state_dict(state, strict=False)
    for p in model.backbone.parameters():
        p.requires_grad = False
    x, y = data()
    return dict(model=model, optimizer=torch.optim.Adam(model.head.parameters(), lr=1e-2), loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(TensorDataset(x[900:1400], y[900:1400]), 32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[1400:], y[1400:]), 200))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(25):
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
        if epoch % 5 == 4:
            print("epoch", epoch + 1, "loss", loss.item())
    with torch.no_grad():
        hits = torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]])
    print("score:", hits.float().mean().item())
