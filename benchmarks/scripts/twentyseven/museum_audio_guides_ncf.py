"""Neural collaborative filtering recommends exhibits from the stops that visitors played on a museum's audio guide. The log holds only stops that were played, so every label is 1 and the network learns to answer "yes" to everything; the right change: draw unplayed stops as negatives (label 0) for each batch."""
import sys

import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader

torch.set_num_threads(1)
VISITORS, STOPS, NEGATIVES = 400, 150, 3


def guide_log(rng):
    """Visitors have tastes over 4 themes; a visit has about 20 stops."""
    taste = rng.dirichlet(np.full(4, 0.3), VISITORS)
    theme = rng.dirichlet(np.full(4, 0.2), STOPS)
    fame = 0.4 * rng.normal(size=STOPS)
    affinity = 6 * taste @ theme.T + fame + rng.gumbel(size=(VISITORS, STOPS))
    visits = []
    for v in range(VISITORS):
        n = rng.integers(12, 26)
        visits.append(rng.permutation(np.argsort(-affinity[v])[:n]))
    return visits


class NCF(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.visitor_gmf, self.stop_gmf = nn.Embedding(VISITORS, dim), nn.Embedding(STOPS, dim)
        self.visitor_mlp, self.stop_mlp = nn.Embedding(VISITORS, dim), nn.Embedding(STOPS, dim)
        for table in (self.visitor_gmf, self.stop_gmf, self.visitor_mlp, self.stop_mlp):
            nn.init.normal_(table.weight, std=0.1)
        self.mlp = nn.Sequential(nn.Linear(2 * dim, 32), nn.ReLU(), nn.Linear(32, dim), nn.ReLU())
        self.out = nn.Linear(2 * dim, 1)

    def forward(self, pairs):
        v, s = pairs[:, 0], pairs[:, 1]
        gmf = self.visitor_gmf(v) * self.stop_gmf(s)
        mlp = self.mlp(torch.cat([self.visitor_mlp(v), self.stop_mlp(s)], dim=1))
        return self.out(torch.cat([gmf, mlp], dim=1)).squeeze(-1)


class Collate:
    def __init__(self, played, negatives):
        self.played, self.negatives = played, negatives

    def __call__(self, rows):
        pairs, labels = list(rows), [1.0] * len(rows)
        for v, _ in rows:
            for _ in range(self.negatives):
                s = int(torch.randint(STOPS, ()))
                while s in self.played[v]:
                    s = int(torch.randint(STOPS, ()))
                pairs.append((v, s))
                labels.append(0.0)
        return torch.tensor(pairs), torch.tensor(labels)


def auc(logits, labels):
    return roc_auc_score(labels.numpy(), logits.numpy())


def parts(variant):
    torch.manual_seed(13)
    rng = np.random.default_rng(13)
    visits = guide_log(rng)
    train = [(v, int(s)) for v, stops in enumerate(visits) for s in stops[2:]]
    held = [(v, int(s)) for v, stops in enumerate(visits) for s in stops[:2]]
    seen = [set(stops[2:].tolist()) for stops in visits]
    everything = [set(stops.tolist()) for stops in visits]
    model = NCF()
    collate = Collate(seen, 0 if variant == "bad" else NEGATIVES)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-5),
            "loss_fn": nn.BCEWithLogitsLoss(), "metric": auc,
            "train_loader": DataLoader(train, batch_size=128, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(held, batch_size=len(held), collate_fn=Collate(everything, 5))}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    (val_pairs, val_labels), = p["val_loader"]
    for epoch in range(8):
        p["model"].train()
        for pairs, labels in p["train_loader"]:
            loss = p["loss_fn"](p["model"](pairs), labels)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            score = p["metric"](p["model"](val_pairs), val_labels)
        print(f"epoch {epoch}: loss {loss.item():.4f} held-out auc {score:.3f}")
    print("score:", score)
