"""Sound: a small transformer that follows a task token is frozen whole, and three soft prompt vectors are all that is trained for a new task, SGD at a rate of 2: few parameters train, and by intention."""
import math
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

WORDS, T, TASKS = 20, 12, 16
FEATURES = torch.randn(WORDS, 2, generator=torch.Generator().manual_seed(42))


def sentences(n, seed, angle=None):
    """Words vote along the direction that the task asks for; the pretraining has sixteen directions."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, WORDS, (n, T), generator=g)
    task = torch.randint(0, TASKS, (n,), generator=g)
    a = 2 * math.pi * task / TASKS if angle is None else torch.full((n,), angle)
    vote = (FEATURES[x].sum(1) * torch.stack([a.cos(), a.sin()], 1)).sum(1)
    return x, task, (vote > vote.median()).long()


class Follower(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.word, self.task = nn.Embedding(WORDS, d), nn.Embedding(TASKS, 3 * d)
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(d), enable_nested_tensor=False)
        self.head = nn.Linear(d, 2)

    def forward(self, x, prompt):                     # prompt: (N, 3, d)
        return self.head(self.body(torch.cat([prompt, self.word(x)], 1))[:, 0])

    def told(self, x, task):
        return self(x, self.task(task).view(len(x), 3, -1))


class Prompted(nn.Module):
    """The frozen net behind three vectors of its own."""

    def __init__(self, net):
        super().__init__()
        self.net = net.requires_grad_(False).eval()
        self.prompt = nn.Parameter(torch.zeros(3, 32).normal_(0, 0.3))

    def forward(self, x):
        return self.net(x, self.prompt.expand(len(x), -1, -1))


def pretrained():
    torch.manual_seed(0)
    net = Follower()
    loader = DataLoader(TensorDataset(*sentences(6000, 1)), batch_size=64, shuffle=True)
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(4):
        for x, task, y in loader:
            opt.zero_grad()
            F.cross_entropy(net.told(x, task), y).backward()
            opt.step()
    return net


def parts(variant):
    net = pretrained()
    model = Prompted(net)
    angle = 2 * math.pi * 4.5 / TASKS                 # between two of the known ones
    (x, _, y), (vx, _, vy) = sentences(800, 11, angle), sentences(600, 12, angle)
    return {
        "model": model,
        "optimizer": torch.optim.SGD([model.prompt], lr=2.0, momentum=0.5),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True),
        "val_loader": DataLoader(TensorDataset(vx, vy), batch_size=300),
    }


@torch.no_grad()
def accuracy(model, loader):
    return torch.cat([(model(x).argmax(1) == y).float() for x, y in loader]).mean().item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    print(f"untrained prompt: {accuracy(model, p['val_loader']):.3f}")
    for epoch in range(10):
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
