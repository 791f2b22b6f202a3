"""Two towers that embed sounds and clips of the same event, InfoNCE; the dataset permutes the two lists of training pairs each with a permutation of its own, so the pairs are wrong; change: one permutation for both."""
import sys
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


def events(n, seed):
    """Sounds (40 numbers) and clips (64 numbers) of n events, by way of a latent of 6."""
    w = np.random.default_rng(5)
    wa, wb = w.normal(size=(6, 40)), w.normal(size=(6, 64))
    r = np.random.default_rng(seed)
    z = r.normal(size=(n, 6))
    sound = np.tanh(z @ wa / 2) + 0.1 * r.normal(size=(n, 40))
    clip = np.maximum(z @ wb / 2, 0) + 0.1 * r.normal(size=(n, 64))
    return sound.astype(np.float32), clip.astype(np.float32)


class PairedEvents(Dataset):
    def __init__(self, n, seed, shared=True):
        sound, clip = events(n, seed)
        rng = np.random.default_rng(seed)
        order_sound = rng.permutation(n)
        order_clip = order_sound if shared else rng.permutation(n)
        self.sound = torch.from_numpy(sound[order_sound])
        self.clip = torch.from_numpy(clip[order_clip])

    def __len__(self):
        return len(self.sound)

    def __getitem__(self, i):
        return self.sound[i], self.clip[i]


class TwoTower(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.sound_tower = nn.Sequential(nn.Linear(40, 96), nn.ReLU(), nn.Linear(96, dim))
        self.clip_tower = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, dim))
        self.log_scale = nn.Parameter(torch.tensor(2.3))

    def forward(self, sound, clip):
        a = F.normalize(self.sound_tower(sound), dim=1)
        b = F.normalize(self.clip_tower(clip), dim=1)
        return self.log_scale.exp().clamp(max=50) * a @ b.t()


def training_step(model, batch):
    logits = model(*batch)
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2


def parts(variant):
    torch.manual_seed(0)
    model = TwoTower()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(PairedEvents(4000, 1, shared=variant != "bad"), batch_size=64, shuffle=True, drop_last=True),
            "val_loader": DataLoader(PairedEvents(500, 2), batch_size=500)}


WORKS = lambda score: score > 0.6


@torch.no_grad()
def recall_at_5(model, loader):
    """Share of sounds whose clip is among the first five of 500."""
    model.eval()
    sound, clip = next(iter(loader))
    top = model(sound, clip).topk(5, dim=1).indices
    return (top == torch.arange(len(sound))[:, None]).any(1).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(25):
        model.train()
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: last loss {loss.item():.3f}, recall@5 {recall_at_5(model, p['val_loader']):.3f}")
    print(f"score: {recall_at_5(model, p['val_loader']):.4f}")
