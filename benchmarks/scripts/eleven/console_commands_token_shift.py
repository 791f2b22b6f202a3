"""Next token of console sessions by a token-shift net (RWKV-like: every layer mixes a position with its neighbour), AdamW; torch.roll goes the wrong way, so each position mixes in the one after it, which is the answer, and nothing is left when a prefix has to be continued; change: roll by +1."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

VERBS, NOUNS, VALUES = 8, 10, 12
VOCAB, LENGTH = 1 + VERBS + NOUNS + VALUES, 40


def sessions(n, seed):
    """Sentences 'verb noun value end'; the noun follows from this verb and the last value, the value from verb and noun."""
    w = torch.Generator().manual_seed(3)
    noun_of = torch.randint(0, NOUNS, (VERBS, VALUES), generator=w)
    value_of = torch.randint(0, VALUES, (VERBS, NOUNS), generator=w)
    g = torch.Generator().manual_seed(seed)
    value = torch.randint(0, VALUES, (n,), generator=g)
    out = []
    for _ in range(LENGTH // 4 + 1):
        verb = torch.randint(0, VERBS, (n,), generator=g)
        noun = noun_of[verb, value]
        slip = torch.rand(n, generator=g) < 0.05
        noun = torch.where(slip, torch.randint(0, NOUNS, (n,), generator=g), noun)
        value = value_of[verb, noun]
        out += [1 + verb, 1 + VERBS + noun, 1 + VERBS + NOUNS + value, torch.zeros_like(verb)]
    s = torch.stack(out, 1)[:, : LENGTH + 1]
    return s[:, :-1].contiguous(), s[:, 1:].contiguous()


class ShiftMix(nn.Module):
    def __init__(self, d, shift):
        super().__init__()
        self.shift = shift
        self.norm = nn.LayerNorm(d)
        self.mix = nn.Parameter(torch.full((d,), 0.5))
        self.key, self.gate, self.value = nn.Linear(d, 2 * d), nn.Linear(d, d), nn.Linear(2 * d, d)

    def forward(self, x):
        h = self.norm(x)
        other = torch.roll(h, self.shift, dims=1)
        if self.shift > 0:
            other = torch.cat([torch.zeros_like(h[:, :1]), other[:, 1:]], 1)
        else:
            other = torch.cat([other[:, :-1], torch.zeros_like(h[:, :1])], 1)
        h = h + self.mix * (other - h)
        return x + torch.sigmoid(self.gate(h)) * self.value(F.relu(self.key(h)) ** 2)


class ShiftLM(nn.Module):
    def __init__(self, d=48, layers=5, shift=1):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, d)
        self.blocks = nn.Sequential(*[ShiftMix(d, shift) for _ in range(layers)])
        self.head = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, VOCAB))

    def forward(self, tokens):
        return self.head(self.blocks(self.embed(tokens)))


def lm_loss(logits, target):
    return F.cross_entropy(logits.flatten(0, 1), target.flatten())


def parts(variant):
    torch.manual_seed(0)
    model = ShiftLM(shift=-1 if variant == "bad" else 1)
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01),
        "loss_fn": lm_loss,
        "train_loader": DataLoader(TensorDataset(*sessions(1500, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*sessions(300, 2)), batch_size=100),
    }


@torch.no_grad()
def continues(model, loader):
    """Share of right tokens when all that is given is the session up to here (values and nouns only)."""
    model.eval()
    right = total = 0
    for x, y in loader:
        for t in range(20, LENGTH):
            if t % 4 in (0, 1):
                right += (model(x[:, : t + 1])[:, -1].argmax(-1) == y[:, t]).sum().item()
                total += len(x)
    return right / total


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(8):
        model.train()
        for x, y in p["train_loader"]:
            loss = lm_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}, continues {continues(model, p['val_loader']):.3f}")
    print(f"score: {continues(model, p['val_loader']):.4f}")
