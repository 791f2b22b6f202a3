"""Shop turnover with entity embeddings (Rossmann style): log targets, output squeezed by a sigmoid into a range wider than the data, embedding dropout, OneCycle stepped per batch; sound. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make(n=8000):
    rng = np.random.default_rng(5)
    store, dow, month = rng.integers(0, 60, n), rng.integers(0, 7, n), rng.integers(0, 12, n)
    promo, dist, temp = rng.integers(0, 2, n), rng.lognormal(1, 0.6, n), rng.normal(12, 8, n)
    level, weekday = rng.normal(8.6, 0.4, 60), np.array([0.2, 0, -0.05, 0, 0.1, 0.35, -0.9])
    log_sales = (level[store] + weekday[dow] * (1 + 0.5 * (store % 2)) + 0.15 * np.sin(month / 12 * 6.28)
                 + 0.25 * promo - 0.1 * np.log(dist) + 0.006 * temp + rng.normal(0, 0.08, n))
    cats = np.stack([store, dow, month, promo], 1)
    conts = np.stack([np.log(dist), temp], 1)
    conts = (conts - conts[:6500].mean(0)) / conts[:6500].std(0)
    return torch.tensor(cats), torch.tensor(conts, dtype=torch.float32), torch.tensor(log_sales, dtype=torch.float32)


class TabularModel(nn.Module):
    def __init__(self, sizes, n_cont, y_range, layers=(100, 50), emb_p=0.04):
        super().__init__()
        self.embs = nn.ModuleList([nn.Embedding(c, d) for c, d in sizes])
        for e in self.embs:
            e.weight.data.normal_(0, 0.01).clamp_(-0.02, 0.02)
        self.emb_drop, self.bn_cont, self.y_range = nn.Dropout(emb_p), nn.BatchNorm1d(n_cont), y_range
        blocks, width = [], sum(d for _, d in sizes) + n_cont
        for h in layers:
            blocks += [nn.Linear(width, h, bias=False), nn.ReLU(inplace=True), nn.BatchNorm1d(h)]
            width = h
        self.layers = nn.Sequential(*blocks, nn.Linear(width, 1))

    def forward(self, cats, conts):
        x = self.emb_drop(torch.cat([e(cats[:, i]) for i, e in enumerate(self.embs)], 1))
        x = self.layers(torch.cat([x, self.bn_cont(conts)], 1))
        low, high = self.y_range
        return (torch.sigmoid(x) * (high - low) + low).squeeze(1)


def training_step(model, batch):
    cats, conts, y = batch
    return nn.functional.mse_loss(model(cats, conts), y)


def parts(variant):
    torch.manual_seed(0)
    data = make()
    train, val = [t[:6500] for t in data], [t[6500:] for t in data]
    model = TabularModel([(60, 12), (7, 4), (12, 6), (2, 2)], 2, (0.0, float(train[2].max()) * 1.2))
    loader = DataLoader(TensorDataset(*train), batch_size=128, shuffle=True, drop_last=True)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.99), weight_decay=0.01)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=1e-2, total_steps=len(loader) * 15)
    return dict(model=model, optimizer=opt, scheduler=sched, training_step=training_step, train_loader=loader,
                val_loader=DataLoader(TensorDataset(*val), batch_size=512))


WORKS = lambda score: score < 0.14  # root mean squared percentage error

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    m = p["model"]
    for epoch in range(15):
        m.train(); losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](m, batch)
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            p["optimizer"].zero_grad()
            losses.append(loss.item())
        print(epoch, round(sum(losses) / len(losses), 4))
    m.eval()
    with torch.no_grad():
        pct = torch.cat([1 - (m(c, k) - y).exp() for c, k, y in p["val_loader"]])
    score = pct.pow(2).mean().sqrt().item()
    print(f"score: {score:.4f}")
