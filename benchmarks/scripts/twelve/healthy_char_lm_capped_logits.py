"""Language model over syllables with logits capped softly, 15 * tanh(z / 15), under cross-entropy, AdamW with warm-up. Sound: an activation after the last layer, but the cap is wide enough for any probability, as in several published models."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F

SYMBOLS, STEPS, BATCH = 24, 20, 48


def text(n, length, seed):
    rule = torch.randint(0, SYMBOLS, (SYMBOLS, SYMBOLS), generator=torch.Generator().manual_seed(3)) % 5 * 4
    g = torch.Generator().manual_seed(seed)
    s = torch.randint(0, SYMBOLS, (n, length), generator=g)
    for t in range(2, length):
        noise = torch.rand(n, generator=g) < 0.1
        s[:, t] = torch.where(noise, s[:, t], (rule[s[:, t - 1], s[:, t - 2]] + s[:, t - 2] % 4) % SYMBOLS)
    return s


class CappedLM(nn.Module):
    def __init__(self, dim=64, cap=15.0):
        super().__init__()
        self.embed = nn.Embedding(SYMBOLS, dim)
        self.conv1 = nn.Conv1d(dim, 96, 3)
        self.mix = nn.Conv1d(96, 96, 1)
        self.out = nn.Linear(96, SYMBOLS)
        self.cap = cap

    def forward(self, x):
        h = F.pad(self.embed(x).transpose(1, 2), (2, 0))
        h = F.gelu(self.mix(F.gelu(self.conv1(h))))
        z = self.out(h.transpose(1, 2))
        return self.cap * torch.tanh(z / self.cap)


class Windows:
    def __init__(self, data, steps):
        self.data, self.steps = data, steps

    def __len__(self):
        return self.steps

    def __iter__(self):
        for _ in range(self.steps):
            r = torch.randint(0, len(self.data), (BATCH, 1))
            c = torch.randint(0, self.data.shape[1] - STEPS, (BATCH, 1)) + torch.arange(STEPS + 1)
            w = self.data[r, c]
            yield w[:, :-1], w[:, 1:]


def loss_fn(logits, target):
    return F.cross_entropy(logits.flatten(0, 1), target.flatten())


def parts(variant):
    torch.manual_seed(0)
    model = CappedLM()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    val = text(80, STEPS + 1, 2)
    return {
        "model": model, "optimizer": opt, "loss_fn": loss_fn,
        "scheduler": torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1.0, (s + 1) / 50)),
        "train_loader": Windows(text(600, 60, 1), 60),
        "val_loader": [(val[:, :-1], val[:, 1:])],
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    (x, y), = loader
    return (model(x).argmax(-1) == y).float()[:, 2:].mean().item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, sched = p["model"], p["optimizer"], p["scheduler"]  # the scheduler goes by steps
    for epoch in range(10):
        model.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
        print(f"epoch {epoch}: {loss.item():.3f}, next symbol {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
