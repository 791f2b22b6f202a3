"""Healthy: BYOL-like pretraining of machine recordings: negative cosine as loss, a target net that only follows as a moving average, predictor on one side; two recordings find each other."""
import copy
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

FEAT = 40


def recordings(n, seed):
    w = torch.Generator().manual_seed(61)
    engine, noise = torch.randn(6, FEAT, generator=w), torch.randn(8, FEAT, generator=w)
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(n, 6, generator=g)
    take = lambda: torch.tanh(0.2 * z @ engine + 0.25 * torch.randn(n, 8, generator=g) @ noise)
    return TensorDataset(take(), take())


def mlp(i, h, o):
    return nn.Sequential(nn.Linear(i, h), nn.BatchNorm1d(h), nn.ReLU(), nn.Linear(h, o))


class BYOL(nn.Module):
    def __init__(self, tau=0.98):
        super().__init__()
        self.online = nn.Sequential(mlp(FEAT, 128, 64), nn.ReLU(), mlp(64, 128, 32))
        self.predictor = mlp(32, 64, 32)
        self.target = copy.deepcopy(self.online)
        for q in self.target.parameters():
            q.requires_grad = False
        self.tau = tau

    def forward(self, x):
        return F.normalize(self.online(x), dim=-1)

    @torch.no_grad()
    def follow(self):
        for a, b in zip(self.target.parameters(), self.online.parameters()):
            a.mul_(self.tau).add_(b, alpha=1 - self.tau)

    def loss(self, a, b):
        with torch.no_grad():
            ta, tb = self.target(a), self.target(b)
        return -0.5 * (F.cosine_similarity(self.predictor(self.online(a)), tb).mean() + F.cosine_similarity(self.predictor(self.online(b)), ta).mean())


def parts(variant="fixed"):
    torch.manual_seed(0)
    net = BYOL()

    def step(model, batch, optimizer):
        loss = model.loss(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.follow()
        return loss

    return {"model": net, "optimizer": torch.optim.Adam([q for q in net.parameters() if q.requires_grad], lr=1e-3, weight_decay=1e-6), "step": step,
            "train_loader": DataLoader(recordings(4096, 1), batch_size=128, shuffle=True, drop_last=True),
            "val_loader": DataLoader(recordings(200, 2), batch_size=200)}


WORKS = lambda score: score > 0.4


@torch.no_grad()
def retrieval(net, loader):
    net.eval()
    a, b = next(iter(loader))
    hit = ((net(a) @ net(b).T).argmax(1) == torch.arange(len(a))).float().mean().item()
    net.train()
    return hit


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(60):
        losses = [p["step"](p["model"].train(), b, p["optimizer"]).item() for b in p["train_loader"]]
        if epoch % 6 == 5:
            print(f"epoch {epoch + 1} loss {sum(losses) / len(losses):.4f} retrieval {retrieval(p['model'], p['val_loader']):.3f}")
    print(f"score: {retrieval(p['model'], p['val_loader']):.4f}")
