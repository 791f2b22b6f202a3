"""Few-shot episodes over synthetic tile textures: each episode solves a ridge regression on its own support set in closed form, and the convolutional features are trained through the solution with RAdam."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

WAYS, SHOTS, QUERIES, SIDE = 5, 2, 6, 12


class Episodes(Dataset):
    """Every episode draws five new textures, so no texture of the validation was seen in training."""

    def __init__(self, n, seed):
        self.n, self.seed = n, seed

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(self.seed + i)
        grid = torch.arange(SIDE).float()
        k = SHOTS + QUERIES
        wave = torch.rand(WAYS, 2, 2, generator=g) * 4.4 - 2.2
        phase = torch.rand(WAYS, k, 2, 1, 1, generator=g) * 2 * torch.pi
        angle = wave[:, None, :, :1, None] * grid.view(1, 1, 1, SIDE, 1) + wave[:, None, :, 1:, None] * grid.view(1, 1, 1, 1, SIDE)
        image = torch.sin(angle + phase).sum(2) + 0.5 * torch.randn(WAYS, k, SIDE, SIDE, generator=g)
        image = image.unsqueeze(2)
        support = image[:, :SHOTS].flatten(0, 1)
        query = image[:, SHOTS:].flatten(0, 1)
        return support, query


SUPPORT_LABELS = torch.arange(WAYS).repeat_interleave(SHOTS)
QUERY_LABELS = torch.arange(WAYS).repeat_interleave(QUERIES)


class RidgeNet(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 5, padding=2), nn.GroupNorm(4, width), nn.ReLU(),
            nn.Conv2d(width, width, 3), nn.GroupNorm(4, width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.log_ridge = nn.Parameter(torch.tensor(0.0))
        self.log_scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, support, query):
        e = support.shape[0]
        images = torch.cat([support, query], 1)
        z = self.features(images.flatten(0, 1)).view(e, images.shape[1], -1)
        z = F.pad(z, (0, 1), value=1.0)
        s, q = z[:, :support.shape[1]], z[:, support.shape[1]:]
        y = F.one_hot(SUPPORT_LABELS, WAYS).float().expand(e, -1, -1)
        gram = s @ s.transpose(1, 2) + self.log_ridge.exp() * torch.eye(s.shape[1])
        return self.log_scale.exp() * (q @ s.transpose(1, 2) @ torch.linalg.solve(gram, y))


def training_step(model, batch):
    logits = model(*batch)
    return F.cross_entropy(logits.flatten(0, 1), QUERY_LABELS.repeat(len(logits)))


def parts(variant):
    torch.manual_seed(0)
    model = RidgeNet()
    return {
        "model": model,
        "optimizer": torch.optim.RAdam(model.parameters(), lr=3e-3),
        "training_step": training_step,
        "train_loader": DataLoader(Episodes(240, 10_000), batch_size=4, shuffle=True),
        "val_loader": DataLoader(Episodes(60, 900_000), batch_size=20),
    }


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(6):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            hits = torch.cat([(model(s, q).argmax(-1) == QUERY_LABELS).float() for s, q in p["val_loader"]])
        score = hits.mean().item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} accuracy on new textures {score:.4f}")
    print(f"score: {score:.4f}")
