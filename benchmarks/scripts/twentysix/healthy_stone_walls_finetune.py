"""Sound: a CNN is first trained on six synthetic textures, then fine-tuned to tell three kinds of dry stone wall: the body is loaded and trained at a tenth of the new head's rate. Nothing odd: the optimizer is made after the head is replaced, all layers train, and both tasks have about the same input scale (near unit variance)."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
S = 20


def texture(kind, n, g):
    """Band-passed noise stretched by direction; kinds differ in stretch and grain."""
    angle, grain = [(0, 2), (0, 5), (1, 2), (1, 5), (2, 3), (3, 3)][kind]
    noise = torch.randn(n, 1, S + 8, S + 8, generator=g)
    shape = {0: (1, grain), 1: (grain, 1), 2: (grain, grain), 3: (1, 1)}[angle]
    k = torch.ones(1, 1, *shape) / (shape[0] * shape[1]) ** 0.5
    return F.conv2d(noise, k)[:, :, :S, :S] + 0.3 * torch.randn(n, 1, S, S, generator=g)


def wall(kind, n, g):
    """Coursed, random rubble or upright stones: blocks of stone with dark joints."""
    y, x = torch.meshgrid(torch.arange(S).float(), torch.arange(S).float(), indexing="ij")
    rand = lambda lo, hi: lo + (hi - lo) * torch.rand(n, 1, 1, generator=g)
    h, w = [(rand(3, 5), rand(7, 10)), (rand(4, 6), rand(4, 6)), (rand(7, 10), rand(3, 5))][kind]
    yo, xo = rand(0, 8), rand(0, 8)
    wobble = 0.3 * torch.randn(n, S, S, generator=g)
    row = ((y + yo) / h).floor()
    joint = (((y + yo + wobble) % h) < 1.2) | (((x + xo + wobble + 0.5 * w * (row % 2)) % w) < 1.2)
    tone = rand(0.6, 1.0)
    return (torch.where(joint, -tone, tone) + 0.3 * torch.randn(n, S, S, generator=g))[:, None]


def dataset(draw, kinds, each, seed):
    g = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.cat([draw(k, each, g) for k in range(kinds)]), torch.arange(kinds).repeat_interleave(each))


class TextureNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                                  nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 25, 64), nn.ReLU())
        self.head = nn.Linear(64, classes)

    def forward(self, x):
        return self.head(self.body(x))


def pretrained_body():
    net = TextureNet(6)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(2):
        for x, y in DataLoader(dataset(texture, 6, 250, 0), batch_size=50, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    return net.body.state_dict()


def parts(variant):
    torch.manual_seed(10)
    weights = pretrained_body()
    model = TextureNet(3)
    model.body.load_state_dict(weights)
    optimizer = torch.optim.AdamW([{"params": model.body.parameters(), "lr": 3e-4}, {"params": model.head.parameters(), "lr": 3e-3}])
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
            "train_loader": DataLoader(dataset(wall, 3, 200, 1), batch_size=30, shuffle=True),
            "val_loader": DataLoader(dataset(wall, 3, 100, 2), batch_size=300)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(10):
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y).item()
        print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {score:.3f}")
    print("score:", score)
