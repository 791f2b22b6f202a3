"""The copy task (six symbols recalled after a blank pause) for a recurrent net whose recurrent matrix is kept orthogonal by a parametrization; RMSprop."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import orthogonal
from torch.utils.data import DataLoader, TensorDataset

SYMBOLS, LENGTH, PAUSE = 8, 6, 24
BLANK, GO = SYMBOLS, SYMBOLS + 1


def copy_task(n, seed):
    g = torch.Generator().manual_seed(seed)
    word = torch.randint(0, SYMBOLS, (n, LENGTH), generator=g)
    x = torch.full((n, LENGTH + PAUSE + LENGTH), BLANK)
    x[:, :LENGTH] = word
    x[:, LENGTH + PAUSE - 1] = GO
    return x, word


class ModRelu(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, z):
        return torch.sign(z) * F.relu(z.abs() + self.bias)


class OrthogonalNet(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.inp = nn.Embedding(SYMBOLS + 2, width)
        nn.init.normal_(self.inp.weight, std=0.3)
        self.rec = orthogonal(nn.Linear(width, width, bias=False))
        self.act = ModRelu(width)
        self.out = nn.Linear(width, SYMBOLS)
        self.width = width

    def forward(self, x):
        h = torch.zeros(len(x), self.width)
        weight = self.rec.weight
        outputs = []
        for t, e in enumerate(self.inp(x).unbind(1)):
            h = self.act(e + h @ weight.T)
            if t >= LENGTH + PAUSE:
                outputs.append(self.out(h))
        return torch.stack(outputs, dim=1)


def recall_loss(logits, word):
    return F.cross_entropy(logits.flatten(0, 1), word.flatten())


def parts(variant):
    torch.manual_seed(0)
    model = OrthogonalNet()
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=2e-4, alpha=0.9),
        "loss_fn": recall_loss,
        "train_loader": DataLoader(TensorDataset(*copy_task(1920, 0)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*copy_task(500, 1)), batch_size=500),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for x, word in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), word)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            x, word = next(iter(p["val_loader"]))
            score = (model(x).argmax(-1) == word).float().mean().item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} recalled {score:.4f}")
    print(f"score: {score:.4f}")
