"""Sound. Looks odd: model.train() is called, yet the batch norms stay in evaluation mode (train is overridden), their weights take no gradient, and the first stage is frozen altogether. The batches of the fine-tuning hold four tiles only, too few for statistics; those of the pre-training (same camera, same scale) are kept. The last stage and the new head learn."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
S = 16


def tiles(kinds, each, seed):
    """Glazes: crackle lines, drips, speckles, rings, and mixtures of them."""
    g = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(S).float(), torch.arange(S).float(), indexing="ij")
    images, labels = [], []
    for label, kind in enumerate(kinds):
        r = lambda lo, hi: lo + (hi - lo) * torch.rand(each, 1, 1, generator=g)
        crackle = torch.sin(r(1.2, 1.8) * (x * r(-1, 1) + y) + r(0, 6))
        drips = torch.sin(r(0.9, 1.4) * x + r(0, 6)) * torch.sigmoid((r(6, 12) - y))
        rings = torch.sin(r(1.1, 1.5) * ((x - r(4, 12)) ** 2 + (y - r(4, 12)) ** 2).sqrt() + r(0, 6))
        speckle = 2.5 * (torch.rand(each, S, S, generator=g) < 0.08).float() - 0.2
        layers = {"crackle": crackle, "drips": drips, "rings": rings, "speckle": speckle}
        images.append(sum(layers[k] for k in kind.split("+")) + 0.4 * torch.randn(each, S, S, generator=g))
        labels.append(torch.full((each,), label))
    return TensorDataset(torch.cat(images)[:, None], torch.cat(labels))


class GlazeNet(nn.Module):
    def __init__(self, classes, hold_norms=False):
        super().__init__()
        stage = lambda a, b: nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
        self.stage1, self.stage2 = stage(1, 16), stage(16, 32)
        self.head = nn.Linear(32 * 16, classes)
        self.hold_norms = hold_norms

    def forward(self, x):
        return self.head(self.stage2(self.stage1(x)).flatten(1))

    def train(self, mode=True):
        super().train(mode)
        if self.hold_norms:
            for m in self.modules():
                if isinstance(m, nn.BatchNorm2d):
                    m.eval()
        return self


def pretrain():
    net = GlazeNet(4)
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(2):
        for x, y in DataLoader(tiles(["crackle", "drips", "rings", "speckle"], 250, 0), batch_size=50, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()
    return {k: v for k, v in net.state_dict().items() if not k.startswith("head")}


def parts(variant):
    torch.manual_seed(12)
    weights = pretrain()
    model = GlazeNet(3, hold_norms=True)
    missing = model.load_state_dict(weights, strict=False).missing_keys
    assert missing == ["head.weight", "head.bias"]
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.requires_grad_(False)
    model.stage1.requires_grad_(False)
    learning = [w for w in model.parameters() if w.requires_grad]
    kinds = ["crackle+speckle", "drips+rings", "rings+speckle"]
    return {"model": model, "optimizer": torch.optim.Adam(learning, lr=5e-4), "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
            "train_loader": DataLoader(tiles(kinds, 170, 1), batch_size=4, shuffle=True),
            "val_loader": DataLoader(tiles(kinds, 120, 2), batch_size=360)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(5):
        p["model"].train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y).item()
        print(f"epoch {epoch}: accuracy {score:.3f}")
    print("score:", score)
