"""Menu-line language model in the AWD-LSTM manner: recurrent weights dropped anew each pass, tied embedding, activation penalties added to the loss, averaged SGD at rate 8 with clipping; sound. change: nothing."""
import sys
import math
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

V, H = 40, 64


def corpus(n, seed):
    rng = np.random.default_rng(77)
    follow = np.stack([rng.choice(V, 3, replace=False) for _ in range(V * 4)]).reshape(4, V, 3)
    rng = np.random.default_rng(seed)
    ids, prev2 = [0, 1], 0
    for _ in range(n):
        ids.append(int(follow[ids[-2] % 4, ids[-1], rng.choice(3, p=[0.7, 0.2, 0.1])]))
    return torch.tensor(ids)


def batchify(ids, bsz, bptt):
    n = len(ids) // bsz
    grid = ids[:n * bsz].view(bsz, n).t()
    return [(grid[i:i + bptt], grid[i + 1:i + 1 + bptt]) for i in range(0, n - bptt - 1, bptt)]


class WeightDropLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.empty(V, H).uniform_(-0.1, 0.1))
        self.bias = nn.Parameter(torch.zeros(V))
        self.w_ih, self.w_hh = nn.Parameter(torch.empty(4 * H, H)), nn.Parameter(torch.empty(4 * H, H))
        self.b = nn.Parameter(torch.zeros(4 * H))
        for w in (self.w_ih, self.w_hh):
            nn.init.uniform_(w, -1 / math.sqrt(H), 1 / math.sqrt(H))

    def forward(self, tokens):
        x = F.dropout(F.embedding(tokens, self.table), 0.1, self.training)
        w_hh = F.dropout(self.w_hh, 0.2, self.training)
        h = c = x.new_zeros(x.size(1), H)
        outs = []
        for gates in F.linear(x, self.w_ih, self.b):
            i, f, g, o = (gates + F.linear(h, w_hh)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outs.append(h)
        raw = torch.stack(outs)
        dropped = F.dropout(raw, 0.2, self.training)
        return F.linear(dropped, self.table, self.bias), raw, dropped


def step(model, batch, optimizer):
    tokens, targets = batch
    optimizer.zero_grad()
    logits, raw, dropped = model(tokens)
    loss = F.cross_entropy(logits.reshape(-1, V), targets.reshape(-1))
    loss = loss + 0.2 * dropped.pow(2).mean() + 0.1 * (raw[1:] - raw[:-1]).pow(2).mean()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.25)
    optimizer.step()
    return loss


def parts(variant):
    torch.manual_seed(0)
    model = WeightDropLM()
    opt = torch.optim.ASGD(model.parameters(), lr=8, t0=0, lambd=0.0, weight_decay=1.2e-6)
    return dict(model=model, optimizer=opt, step=step, train_loader=batchify(corpus(30000, 1), 20, 25),
                val_loader=batchify(corpus(4000, 2), 10, 25))


WORKS = lambda score: score < 3.5  # validation perplexity; the source's own is about 2.2, a uniform guess has 40

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train(); total = 0.0
        for batch in p["train_loader"]:
            loss = p["step"](model, batch, opt)
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    for q in model.parameters():
        q.data = opt.state[q]["ax"].clone()
    with torch.no_grad():
        nll = [F.cross_entropy(model(a)[0].reshape(-1, V), b.reshape(-1)).item() for a, b in p["val_loader"]]
    score = math.exp(sum(nll) / len(nll))
    print(f"score: {score:.4f}")
