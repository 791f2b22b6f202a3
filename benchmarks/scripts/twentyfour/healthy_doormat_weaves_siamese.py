"""A Siamese net that tells whether two fibre scans come from the same doormat, tried on mats that it never saw. A sound program: one shared encoder, contrastive loss (same pairs pulled together, others pushed out to the margin), half of the pairs the same, AUC on new mats. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SCAN, TRAITS, NUISANCE = 60, 6, 10
MIX = np.random.default_rng(77).normal(0, 1, (TRAITS + NUISANCE, SCAN)) / 3


def scan_mats(mats, per_mat, seed):
    rng = np.random.default_rng(seed)
    traits = np.repeat(rng.normal(0, 1, (mats, TRAITS)), per_mat, axis=0)
    traits = traits + rng.normal(0, 0.2, traits.shape)
    dirt = rng.normal(0, 1.2, (len(traits), NUISANCE))
    scans = np.tanh(np.hstack([traits, dirt]) @ MIX) + rng.normal(0, 0.05, (len(traits), SCAN))
    return scans.astype(np.float32), np.repeat(np.arange(mats), per_mat)


class PairDataset(Dataset):
    def __init__(self, scans, mats, pairs, seed):
        rng = np.random.default_rng(seed)
        members = [np.flatnonzero(mats == m) for m in range(mats.max() + 1)]
        self.scans = torch.from_numpy(scans)
        self.pairs = []
        for k in range(pairs):
            if k % 2:
                i, j = rng.choice(members[rng.integers(len(members))], 2, replace=False)
            else:
                a, b = rng.choice(len(members), 2, replace=False)
                i, j = rng.choice(members[a]), rng.choice(members[b])
            self.pairs.append((int(i), int(j), float(k % 2)))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, k):
        i, j, same = self.pairs[k]
        return (self.scans[i], self.scans[j]), torch.tensor(same)


class SiameseNet(nn.Module):
    def __init__(self, out=16):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(SCAN, 128), nn.BatchNorm1d(128), nn.ReLU(),
                                     nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, out))

    def forward(self, pair):
        left, right = pair
        both = self.encoder(torch.cat([left, right]))
        return both.chunk(2)


def contrastive_loss(embeddings, same, margin=2.0):
    d = F.pairwise_distance(*embeddings)
    return (same * d ** 2 + (1 - same) * F.relu(margin - d) ** 2).mean()


def parts(variant):
    torch.manual_seed(0)
    net = SiameseNet()
    return {"model": net,
            "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-4),
            "loss_fn": contrastive_loss,
            "train_loader": DataLoader(PairDataset(*scan_mats(150, 8, 1), pairs=8000, seed=2), batch_size=64, shuffle=True),
            "val_loader": DataLoader(PairDataset(*scan_mats(60, 8, 3), pairs=1500, seed=4), batch_size=250)}


def auc_on_new_mats(net, loader):
    net.eval()
    distances, truth = [], []
    with torch.no_grad():
        for pair, same in loader:
            distances.append(F.pairwise_distance(*net(pair)))
            truth.append(same)
    return roc_auc_score(torch.cat(truth).numpy(), -torch.cat(distances).numpy())


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(8):
        net.train()
        losses = []
        for pair, same in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(pair), same)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch}: contrastive {np.mean(losses):.3f}, AUC on new mats {auc_on_new_mats(net, p['val_loader']):.3f}")
    print("score:", auc_on_new_mats(net, p["val_loader"]))
