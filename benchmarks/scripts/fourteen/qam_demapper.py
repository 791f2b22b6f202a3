"""Neural demapper that reads four Gray-coded bits from a noisy 16-QAM symbol; bad: nn.LeakyReLU(True), meant as inplace, sets the slope to 1, so there is no nonlinearity between the linear layers. change: nn.LeakyReLU(0.1, inplace=True)."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

GRAY = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 0]])
LEVELS = torch.tensor([-3.0, -1.0, 1.0, 3.0]) / 10 ** 0.5


def symbols(n, seed, snr_db=16.0):
    g = torch.Generator().manual_seed(seed)
    i, q = torch.randint(0, 4, (2, n), generator=g)
    sent = torch.stack([LEVELS[i], LEVELS[q]], 1)
    noise = torch.randn(n, 2, generator=g) * (0.5 * 10 ** (-snr_db / 10)) ** 0.5
    phase = torch.randn(n, generator=g) * 0.03
    c, s = phase.cos(), phase.sin()
    received = torch.stack([c * sent[:, 0] - s * sent[:, 1], s * sent[:, 0] + c * sent[:, 1]], 1) + noise
    return received, torch.cat([GRAY[i], GRAY[q]], 1).float()


class Demapper(nn.Module):
    def __init__(self, make_act, width=32, depth=3):
        super().__init__()
        layers, n = [], 2
        for _ in range(depth):
            layers += [nn.Linear(n, width), make_act()]
            n = width
        self.net = nn.Sequential(*layers, nn.Linear(n, 4))

    def forward(self, iq):
        return self.net(iq)


def parts(variant):
    torch.manual_seed(0)
    if variant == "bad":
        act = lambda: nn.LeakyReLU(True)
    else:
        act = lambda: nn.LeakyReLU(0.1, inplace=True)
    model = Demapper(act)
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "train_loader": DataLoader(TensorDataset(*symbols(6000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*symbols(2000, 2)), batch_size=500),
    }


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, bce = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        total = 0.0
        for iq, bits in p["train_loader"]:
            opt.zero_grad()
            loss = bce(model(iq), bits)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            good = torch.cat([((model(iq) > 0) == (bits > 0.5)).float() for iq, bits in p["val_loader"]])
        score = good.mean().item()
        print(f"epoch {epoch}: bce {total / len(p['train_loader']):.4f} bits right {score:.4f}")
    print(f"score: {score:.4f}")
