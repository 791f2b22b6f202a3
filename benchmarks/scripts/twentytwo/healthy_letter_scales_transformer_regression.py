"""The postage of a basket of stamps given as a sequence of tokens (count, stamp, count, stamp, ...), a small Transformer encoder with a CLS token and an embedding per pair that regresses one number; unusual: regression from tokens, warm-up by LambdaLR per step, target in standard units."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
PRICES = np.array([1, 2, 5, 8, 10, 20, 34, 55])
PAIRS = 4


class Baskets(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        counts = rng.integers(1, 6, (n, PAIRS))
        stamps = rng.integers(0, 8, (n, PAIRS))
        self.cost = (counts * PRICES[stamps]).sum(1).astype(np.float32)
        # token 0 is CLS, 1..5 counts, 6..13 stamps
        self.tokens = np.zeros((n, 1 + 2 * PAIRS), np.int64)
        self.tokens[:, 1::2] = counts
        self.tokens[:, 2::2] = stamps + 6

    def __len__(self):
        return len(self.cost)

    def __getitem__(self, i):
        return torch.from_numpy(self.tokens[i]), torch.tensor((self.cost[i] - 203.0) / 122.0)


class Postage(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.tok = nn.Embedding(14, d)
        # which pair a token belongs to; CLS is its own
        self.pair = nn.Embedding(1 + PAIRS, d)
        self.register_buffer("pair_ids", (torch.arange(1 + 2 * PAIRS) + 1) // 2)
        layer = nn.TransformerEncoderLayer(d, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(d), enable_nested_tensor=False)
        self.out = nn.Linear(d, 1)

    def forward(self, tokens):
        h = self.encoder(self.tok(tokens) + self.pair(self.pair_ids))
        return self.out(h[:, 0]).squeeze(-1)


def r2(out, target):
    return 1 - ((out - target) ** 2).sum().item() / ((target - target.mean()) ** 2).sum().item()


def parts(variant):
    torch.manual_seed(1)
    model = Postage()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(Baskets(4000, 0), batch_size=64, shuffle=True),
            "val_loader": DataLoader(Baskets(500, 1), batch_size=250), "metric": r2}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    epochs, per_epoch = 14, len(p["train_loader"])
    warm = 60
    sched = torch.optim.lr_scheduler.LambdaLR(
        opt, lambda s: min((s + 1) / warm, 1.0) * max(0.02, 1 - s / (epochs * per_epoch)))
    for epoch in range(epochs):
        model.train()
        losses = []
        for tokens, cost in p["train_loader"]:
            opt.zero_grad(set_to_none=True)
            loss = p["loss_fn"](model(tokens), cost)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            sched.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            outs = torch.cat([model(t) for t, _ in p["val_loader"]])
            costs = torch.cat([c for _, c in p["val_loader"]])
        print(f"epoch {epoch} mse {np.mean(losses):.4f} val r2 {r2(outs, costs):.4f}")
    print("score:", r2(outs, costs))
