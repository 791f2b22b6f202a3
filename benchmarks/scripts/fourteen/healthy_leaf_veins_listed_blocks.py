"""Sound: a dense block net on leaf outlines whose blocks are in a plain list, but each is also registered by add_module, so the optimizer has them all; SGD with Nesterov and BatchNorm. Nothing to change."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def outlines(n, seed, T=48):
    g = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 6, (n,), generator=g)
    lobes = torch.tensor([2, 3, 4, 5, 3, 5])[kind].float()
    sharp = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 1.0])[kind]
    angle = torch.linspace(0, 6.283, T + 1)[:-1]
    turn = torch.rand(n, 1, generator=g) * 6.283
    wave = torch.cos(lobes[:, None] * angle + turn)
    wave = torch.where(sharp[:, None] > 0, wave.abs() * 2 - 1, wave)
    r = 1 + (0.25 + 0.10 * torch.rand(n, 1, generator=g)) * wave + 0.05 * torch.randn(n, T, generator=g)
    return TensorDataset(r[:, None], kind)


class VeinNet(nn.Module):
    def __init__(self, growth=12, depth=4):
        super().__init__()
        self.blocks = []
        channels = 1
        for i in range(depth):
            block = nn.Sequential(
                nn.Conv1d(channels, growth, 5, padding=2, padding_mode="circular", bias=False),
                nn.BatchNorm1d(growth), nn.ReLU())
            self.blocks.append(block)
            self.add_module(f"block{i}", block)
            channels += growth
        self.out = nn.Linear(channels * 2, 6)

    def forward(self, x):
        for block in self.blocks:
            x = torch.cat([x, block(x)], 1)
        return self.out(torch.cat([x.mean(2), x.amax(2)], 1))


def parts(variant):
    torch.manual_seed(0)
    model = VeinNet()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4),
        "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.05),
        "train_loader": DataLoader(outlines(2000, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(outlines(500, 2), batch_size=250),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(16):
        model.train()
        total = 0.0
        for r, kind in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(r), kind)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            hits = torch.cat([(model(r).argmax(1) == k).float() for r, k in p["val_loader"]])
        score = hits.mean().item()
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
