"""NeuMF recommender for podcast episodes from implicit feedback. The negatives are drawn once when the data set is made and stay the same in all epochs, so the net learns these negatives by heart and ranks poorly; the right change: draw new negatives every epoch.
Report: https://github.com/PaddlePaddle/PaddleRec/pull/818"""
import sys
import numpy as np
import torch
import torch.nn as nn

torch.set_num_threads(1)
USERS, ITEMS = 300, 500


def interactions(seed=0):
    rng = np.random.default_rng(seed)
    u, v = rng.normal(size=(USERS, 4)), rng.normal(size=(ITEMS, 4))
    aff = u @ v.T + 0.3 * rng.normal(size=(USERS, ITEMS))
    heard = np.zeros((USERS, ITEMS), bool)
    for i in range(USERS):
        top = np.argsort(-aff[i])[:60]
        heard[i, rng.choice(top, 22, replace=False)] = True
    test_pos = np.array([rng.choice(np.flatnonzero(heard[i]), 2, replace=False) for i in range(USERS)])
    train = heard.copy()
    for i in range(USERS):
        train[i, test_pos[i]] = False
    test_neg = np.array([rng.choice(np.flatnonzero(~heard[i]), 99, replace=False) for i in range(USERS)])
    return train, test_pos, test_neg


class NCFBatches:
    """positives plus sampled negatives, in shuffled batches"""

    def __init__(self, train, num_ng=1, batch_size=256, every_epoch=True, seed=1):
        self.train, self.num_ng, self.batch_size, self.every_epoch = train, num_ng, batch_size, every_epoch
        self.rng = np.random.default_rng(seed)
        self.pos = np.argwhere(train)
        self.ng_sample()

    def ng_sample(self):
        users = np.repeat(self.pos[:, 0], self.num_ng)
        items = self.rng.integers(0, ITEMS, len(users))
        while (clash := self.train[users, items]).any():
            items[clash] = self.rng.integers(0, ITEMS, clash.sum())
        self.users = np.concatenate([self.pos[:, 0], users])
        self.items = np.concatenate([self.pos[:, 1], items])
        self.labels = np.concatenate([np.ones(len(self.pos)), np.zeros(len(users))]).astype(np.float32)

    def __len__(self):
        return -(-len(self.users) // self.batch_size)

    def __iter__(self):
        if self.every_epoch:
            self.ng_sample()
        order = self.rng.permutation(len(self.users))
        for k in range(0, len(order), self.batch_size):
            j = order[k:k + self.batch_size]
            x = torch.from_numpy(np.stack([self.users[j], self.items[j]], 1))
            yield x, torch.from_numpy(self.labels[j])


class NeuMF(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.gu, self.gi = nn.Embedding(USERS, dim), nn.Embedding(ITEMS, dim)
        self.mu, self.mi = nn.Embedding(USERS, dim), nn.Embedding(ITEMS, dim)
        for e in (self.gu, self.gi, self.mu, self.mi):
            nn.init.normal_(e.weight, std=0.05)
        self.mlp = nn.Sequential(nn.Linear(2 * dim, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.predict = nn.Linear(dim + 32, 1)

    def forward(self, x):
        u, i = x[:, 0], x[:, 1]
        gmf = self.gu(u) * self.gi(i)
        mlp = self.mlp(torch.cat([self.mu(u), self.mi(i)], 1))
        return self.predict(torch.cat([gmf, mlp], 1)).squeeze(1)


@torch.no_grad()
def hit_ratio(model, test_pos, test_neg, k=10):
    model.eval()
    hits = []
    for u in range(USERS):
        for item in test_pos[u]:
            cand = np.r_[item, test_neg[u]]
            x = torch.from_numpy(np.stack([np.full(len(cand), u), cand], 1))
            s = model(x)
            hits.append(float((s[1:] >= s[0]).sum() < k))
    return float(np.mean(hits))


def parts(variant):
    torch.manual_seed(0)
    train, test_pos, test_neg = interactions()
    model = NeuMF()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": NCFBatches(train, every_epoch=variant != "bad"), "test": (test_pos, test_neg)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(30):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 5 == 4:
            hr = hit_ratio(model, *p["test"])
            print(f"epoch {epoch + 1}  loss {np.mean(losses):.4f}  HR@10 {hr:.3f}")
    print("score:", hr)
