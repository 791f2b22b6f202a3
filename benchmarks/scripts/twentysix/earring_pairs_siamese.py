"""A Siamese network decides whether two photos from a lost-property box show the same design of earring. The dataset labels a matching pair with 1 but the contrastive loss is written for 0 = same and 1 = different, so it pushes matching pairs apart; the right change: label 0 for a matching pair and 1 for a different one."""
import random
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


def earring_photos(designs, shots, seed, size=20):
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randn(designs, 1, 5, 5, generator=g)
    motif = F.interpolate(coarse, size=size, mode="bicubic", align_corners=False)
    axis = torch.linspace(-1, 1, size)
    outline = torch.sigmoid(10 * (0.8 - torch.hypot(axis[:, None], axis[None, :])))
    photos = []
    for _ in range(designs * shots):
        k = len(photos) // shots
        dx, dy = torch.randint(-1, 2, (2,), generator=g).tolist()
        light = 0.7 + 0.6 * torch.rand(1, generator=g)
        img = torch.roll(light * motif[k] * outline, (dy, dx), dims=(1, 2))
        photos.append(img + 0.35 * torch.randn(1, size, size, generator=g))
    return torch.stack(photos).view(designs, shots, 1, size, size)


class SiameseDataset(Dataset):
    def __init__(self, photos, n_pairs, seed, same_label=0):
        rng = random.Random(seed)
        designs, shots = photos.shape[:2]
        self.photos, self.pairs = photos, []
        for _ in range(n_pairs):
            should_get_same_class = rng.random() < 0.5
            a = rng.randrange(designs)
            b = a if should_get_same_class else (a + rng.randrange(1, designs)) % designs
            i, j = rng.sample(range(shots), 2)
            label = same_label if should_get_same_class else 1 - same_label
            self.pairs.append((a, i, b, j, float(label)))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        a, i, b, j, label = self.pairs[index]
        return {"img0": self.photos[a, i], "img1": self.photos[b, j], "label": label, "same": a == b}


class SiameseNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn1 = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                                  nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.fc1 = nn.Sequential(nn.Linear(24 * 25, 64), nn.ReLU(), nn.Linear(64, 12))

    def forward_once(self, x):
        return self.fc1(self.cnn1(x).flatten(1))

    def forward(self, input1, input2):
        return self.forward_once(input1), self.forward_once(input2)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=2.0):
        super().__init__()
        self.margin = margin

    def forward(self, output1, output2, label):
        distance = F.pairwise_distance(output1, output2)
        return torch.mean((1 - label) * distance.pow(2) + label * torch.clamp(self.margin - distance, min=0.0).pow(2))


criterion = ContrastiveLoss()


def training_step(net, batch):
    out0, out1 = net(batch["img0"], batch["img1"])
    return criterion(out0, out1, batch["label"].float())


def parts(variant):
    torch.manual_seed(31)
    same_label = 1 if variant == "bad" else 0
    net = SiameseNetwork()
    photos = earring_photos(150, 5, seed=0)
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(SiameseDataset(photos[:120], 2000, 1, same_label), batch_size=64, shuffle=True),
            "val_loader": DataLoader(SiameseDataset(photos[120:], 500, 2, same_label), batch_size=500)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, optimizer = p["model"], p["optimizer"]
    for epoch in range(6):
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](net, batch)
            loss.backward()
            optimizer.step()
        print(f"Epoch number {epoch}\n Current loss {loss.item():.4f}")
    with torch.no_grad():
        batch = next(iter(p["val_loader"]))
        distance = F.pairwise_distance(*net(batch["img0"], batch["img1"]))
    print("score:", roc_auc_score(batch["same"].numpy(), -distance.numpy()))
