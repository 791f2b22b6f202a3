"""Small residual net for satellite pictures of ponds; the zero initialisation of the last batch norm of each block is given to every BatchNorm2d, also the stem's, so nothing passes through the net. change: only the second norm of a block starts at zero."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def ponds(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g)
    rr, cc = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    angle = (y * torch.pi / 4).view(n, 1, 1)
    ripples = torch.sin(1.2 * (rr * angle.sin() + cc * angle.cos()) + 6.28 * torch.rand(n, 1, 1, generator=g))
    cy, cx = 9 + 6 * torch.rand(2, n, 1, 1, generator=g)
    inside = ((rr - cy) ** 2 + (cc - cx) ** 2 < 64).float()
    x = torch.stack([inside, -inside, inside * ripples], 1) + 0.5 * torch.randn(n, 3, 24, 24, generator=g)
    return TensorDataset(x, y)


class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.down = nn.Conv2d(i, o, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.down(x))


class PondNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 32, 1))
        self.fc = nn.Linear(32, 4)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


def parts(variant):
    torch.manual_seed(0)
    net = PondNet()
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out")
        if variant == "bad" and isinstance(m, nn.BatchNorm2d):
            nn.init.zeros_(m.weight)
        if variant == "fixed" and isinstance(m, Block):
            nn.init.zeros_(m.bn2.weight)
    opt = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    return {"model": net, "optimizer": opt, "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=8), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(ponds(1200, 1), batch_size=40, shuffle=True),
            "val_loader": DataLoader(ponds(300, 2), batch_size=100)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        net.train()
        total = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        p["scheduler"].step()
        net.eval()
        with torch.no_grad():
            acc = torch.cat([(net(x).argmax(1) == y).float() for x, y in p["val_loader"]]).mean().item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} acc {acc:.3f}")
    print(f"score: {acc:.4f}")
