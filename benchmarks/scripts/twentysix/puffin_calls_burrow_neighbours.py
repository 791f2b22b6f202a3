"""InfoNCE on puffin calls: of all calls of a night, the one recorded nearest by comes from the same bird and is the positive; later an unknown bird is to be found again among 300. The diagonal is masked neither in the distances nor in the similarities, so every call is its own positive with similarity 1; the right change: mask the diagonal (inf in the distances, -inf in the similarities)."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
FEATURES, VOICE, SURROUNDINGS = 48, 10, 14


class Colony:
    """Calls of puffins: the voice belongs to the bird; wind, surf and burrow echo to the single recording."""

    def __init__(self, seed):
        lab = torch.Generator().manual_seed(2)
        self.voice = torch.randn(VOICE, FEATURES, generator=lab) / VOICE ** 0.5
        self.place = torch.randn(SURROUNDINGS, FEATURES, generator=lab) / SURROUNDINGS ** 0.5
        self.g = torch.Generator().manual_seed(seed)

    def birds(self, n):
        return torch.randn(n, VOICE, generator=self.g)

    def record(self, birds):
        n = len(birds)
        around = torch.randn(n, SURROUNDINGS, generator=self.g)
        mood = 0.35 * torch.randn(n, VOICE, generator=self.g)
        x = (birds + mood) @ self.voice + 1.5 * around @ self.place
        return torch.tanh(0.8 * x) + 0.05 * torch.randn(n, FEATURES, generator=self.g)


class Nights:
    """One batch is one night: two calls from each of the burrows listened to, in no order, with the place of the recorder."""

    def __init__(self, colony, birds, burrows_per_night):
        self.colony, self.birds, self.size = colony, birds, burrows_per_night
        self.burrows = 400 * torch.rand(len(birds), 2, generator=colony.g)

    def __len__(self):
        return len(self.birds) // self.size

    def __iter__(self):
        for some in torch.randperm(len(self.birds)).split(self.size):
            some = some.repeat(2)[torch.randperm(2 * len(some))]
            metres = self.burrows[some] + 1.5 * torch.randn(len(some), 2)
            yield self.colony.record(self.birds[some]), metres


class Encoder(nn.Sequential):
    def __init__(self, width=128, out=16):
        super().__init__(nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))

    def forward(self, x):
        return F.normalize(super().forward(x), dim=1)


def info_nce_by_place(model, batch, tau=0.1):
    """The call recorded nearest by is the positive, all others of the night are negatives."""
    calls, metres = batch
    z = model(calls)
    sim = z @ z.t() / tau
    partner = torch.cdist(metres, metres).argmin(dim=1)
    return F.cross_entropy(sim, partner)


def info_nce_by_place_off_diagonal(model, batch, tau=0.1):
    calls, metres = batch
    z = model(calls)
    own = torch.eye(len(z), dtype=torch.bool)
    sim = (z @ z.t() / tau).masked_fill(own, float("-inf"))
    partner = torch.cdist(metres, metres).masked_fill(own, float("inf")).argmin(dim=1)
    return F.cross_entropy(sim, partner)


def parts(variant):
    torch.manual_seed(4)
    colony = Colony(4)
    model = Encoder()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "training_step": info_nce_by_place if variant == "bad" else info_nce_by_place_off_diagonal,
            "train_loader": Nights(colony, colony.birds(2000), burrows_per_night=100)}


def found_again(model, seed=21):
    colony = Colony(seed)
    birds = colony.birds(300)
    with torch.no_grad():
        a, b = model(colony.record(birds)), model(colony.record(birds))
    return ((a @ b.t()).topk(5, dim=1).indices == torch.arange(300)[:, None]).any(1).float().mean().item()


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(20):
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}, among the five nearest {found_again(p['model']):.3f}")
    print("score:", found_again(p["model"]))
