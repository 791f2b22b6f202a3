"""A triplet network embeds photographs of teaspoon hallmarks; held out are makers never seen in training: how often is the nearest of ten references (the mean of three marks each) that of the same maker. Nothing odd: margin loss of unit vectors, Adam."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIDE, PER_MAKER = 16, 16


def strike_marks(makers, g):
    """Each maker has a punch of a few strokes; each mark is shifted, worn and lit anew."""
    coarse = torch.randn(makers, 1, 6, 6, generator=g)
    punch = (F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic", align_corners=False) > 0.3).float()
    marks = punch.repeat_interleave(PER_MAKER, 0)
    n = len(marks)
    theta = torch.zeros(n, 2, 3)
    angle = 0.12 * torch.randn(n, generator=g)
    theta[:, 0, 0], theta[:, 0, 1], theta[:, 1, 0], theta[:, 1, 1] = angle.cos(), -angle.sin(), angle.sin(), angle.cos()
    theta[:, :, 2] = 0.08 * torch.randn(n, 2, generator=g)
    marks = F.grid_sample(marks, F.affine_grid(theta, marks.shape, align_corners=False), align_corners=False)
    marks = marks * (0.6 + 0.5 * torch.rand(n, 1, 1, 1, generator=g)) + 0.15 * torch.randn(marks.shape, generator=g)
    return marks.view(makers, PER_MAKER, 1, SIDE, SIDE)


class Triplets(Dataset):
    def __init__(self, marks, length):
        self.marks, self.length = marks, length

    def __len__(self):
        return self.length

    def __getitem__(self, _):
        same, other = torch.randperm(len(self.marks))[:2]
        i, j = torch.randperm(PER_MAKER)[:2]
        k = torch.randint(PER_MAKER, (1,)).item()
        return self.marks[same, i], self.marks[same, j], self.marks[other, k]


class MarkEncoder(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                                 nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                                 nn.Flatten(), nn.Linear(32 * 16, dim))

    def forward(self, x):
        return F.normalize(self.net(x), dim=1)


margin_loss = nn.TripletMarginLoss(margin=0.4)


def training_step(model, batch):
    anchor, positive, negative = batch
    return margin_loss(model(anchor), model(positive), model(negative))


@torch.no_grad()
def reference_accuracy(model, marks):
    emb = model(marks.flatten(0, 1)).view(len(marks), PER_MAKER, -1)
    reference, probes = F.normalize(emb[:, :3].mean(1), dim=1), emb[:, 3:]
    nearest = torch.einsum("mpd,kd->mpk", probes, reference).argmax(-1)
    return (nearest == torch.arange(len(marks))[:, None]).float().mean().item()


def parts(variant):
    torch.manual_seed(6)
    g = torch.Generator().manual_seed(31)
    marks = strike_marks(310, g)
    model = MarkEncoder()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(Triplets(marks[:300], 2560), batch_size=64), "new_makers": marks[300:]}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(5):
        p["model"].train()
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        score = reference_accuracy(p["model"], p["new_makers"])
        print(f"epoch {epoch}: loss {loss.item():.3f} new makers {score:.3f}")
    print("score:", score)
