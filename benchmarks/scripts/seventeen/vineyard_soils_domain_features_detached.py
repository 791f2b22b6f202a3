"""Domain-adversarial classifier of soils, two laboratories with an offset between them, own optimizer for the domain judge; in the encoder's step the features are detached before the judge, so the encoder is never pushed to hide the laboratory ("bad"); change: feed the judge the features themselves."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class SoilNet(nn.Module):
    def __init__(self, n_in=12, n_feat=16):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_in, 64), nn.ReLU(), nn.Linear(64, n_feat))
        self.label_head = nn.Sequential(nn.Linear(n_feat, 32), nn.ReLU(), nn.Linear(32, 2))
        self.domain_head = nn.Sequential(nn.Linear(n_feat, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        return self.label_head(self.encoder(x))


def laboratory(n, second):
    y = torch.randint(2, (n,))
    s = (2.0 * y - 1).unsqueeze(1)
    x = torch.randn(n, 12)
    x[:, 0:4] = 1.1 * s + 0.6 * torch.randn(n, 4)
    x[:, 4:8] = 0.7 * s + torch.randn(n, 4)
    if second:
        x[:, 0:4] += 1.6
    return x, y


def parts(variant):
    torch.manual_seed(0)
    xs, ys = laboratory(3000, False)
    xt, _ = laboratory(3000, True)
    xv, yv = laboratory(800, True)
    net = SoilNet()
    main = torch.optim.Adam([*net.encoder.parameters(), *net.label_head.parameters()], lr=5e-4)
    judge = torch.optim.Adam(net.domain_head.parameters(), lr=2e-3)

    def step(model, batch, optimizer):
        main, judge = optimizer
        x_src, y_src, x_tgt = batch
        f_src, f_tgt = model.encoder(x_src), model.encoder(x_tgt)
        where = torch.cat([torch.zeros(len(x_src), 1), torch.ones(len(x_tgt), 1)])

        for _ in range(2):
            judge.zero_grad()
            d = model.domain_head(torch.cat([f_src, f_tgt]).detach())
            F.binary_cross_entropy_with_logits(d, where).backward()
            judge.step()

        main.zero_grad()
        features = torch.cat([f_src, f_tgt])
        if variant == "bad":
            features = features.detach()
        confusion = F.binary_cross_entropy_with_logits(model.domain_head(features), 1 - where)
        loss = F.cross_entropy(model.label_head(f_src), y_src) + 0.3 * confusion
        loss.backward()
        main.step()
        return loss

    return {"model": net, "optimizer": (main, judge), "step": step,
            "train_loader": DataLoader(TensorDataset(xs, ys, xt), batch_size=100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(xv, yv), batch_size=200)}


# accuracy on the second laboratory
WORKS = lambda score: score > 0.72

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    accs = []
    for epoch in range(40):
        loss = sum(p["step"](net, b, p["optimizer"]).item() for b in p["train_loader"]) / len(p["train_loader"])
        with torch.no_grad():
            acc = torch.cat([net(x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item()
        accs.append(acc)
        print(f"epoch {epoch} loss {loss:.4f} second laboratory {acc:.3f}")
    score = sum(accs[-10:]) / 10
    print(f"score: {score:.4f}")
