"""Healthy: the Annotated Transformer's copy task: Adam's rate is written as 1 and the Noam schedule, advanced inside the step after every batch, brings it down; label smoothing by KLDivLoss of summed terms over the tokens; greedy decoding at the end. change: nothing, it is sound."""
import math
import sys

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

V, D_MODEL, T, PAD, BOS = 12, 32, 8, 0, 1


def data_gen(n, seed):
    data = torch.randint(2, V, (n, T), generator=torch.Generator().manual_seed(seed))
    data[:, 0] = BOS
    return TensorDataset(data)


def rate(step, model_size, factor, warmup):
    if step == 0:
        step = 1
    return factor * (model_size ** (-0.5) * min(step ** (-0.5), step * warmup ** (-1.5)))


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=50):
        super().__init__()
        pe = torch.zeros(max_len, d_model)
        position = torch.arange(0, max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * -(math.log(10000.0) / d_model))
        pe[:, 0::2] = torch.sin(position * div_term)
        pe[:, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe.unsqueeze(0))

    def forward(self, x):
        return x + self.pe[:, : x.size(1)].requires_grad_(False)


class Embeddings(nn.Module):
    def __init__(self, d_model, vocab):
        super().__init__()
        self.lut = nn.Embedding(vocab, d_model)
        self.d_model = d_model

    def forward(self, x):
        return self.lut(x) * math.sqrt(self.d_model)


class EncoderDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.src_embed = nn.Sequential(Embeddings(D_MODEL, V), PositionalEncoding(D_MODEL))
        self.tgt_embed = nn.Sequential(Embeddings(D_MODEL, V), PositionalEncoding(D_MODEL))
        self.core = nn.Transformer(D_MODEL, 4, 2, 2, 64, dropout=0.0, batch_first=True)
        self.generator = nn.Linear(D_MODEL, V)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)

    def forward(self, src, tgt):
        mask = torch.triu(torch.ones(tgt.size(1), tgt.size(1), dtype=torch.bool), diagonal=1)
        out = self.core(self.src_embed(src), self.tgt_embed(tgt), tgt_mask=mask)
        return torch.log_softmax(self.generator(out), dim=-1)


class LabelSmoothing(nn.Module):
    def __init__(self, size, padding_idx, smoothing):
        super().__init__()
        self.criterion = nn.KLDivLoss(reduction="sum")
        self.padding_idx, self.confidence, self.smoothing, self.size = padding_idx, 1.0 - smoothing, smoothing, size

    def forward(self, x, target):
        true_dist = torch.full_like(x, self.smoothing / (self.size - 2))
        true_dist.scatter_(1, target.unsqueeze(1), self.confidence)
        true_dist[:, self.padding_idx] = 0
        return self.criterion(x, true_dist)


def greedy_decode(model, src):
    ys = torch.full((len(src), 1), BOS)
    for _ in range(T - 1):
        ys = torch.cat([ys, model(src, ys)[:, -1].argmax(-1, keepdim=True)], dim=1)
    return ys


def parts(variant):
    torch.manual_seed(0)
    model = EncoderDecoder()
    criterion = LabelSmoothing(V, PAD, 0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
    lr_scheduler = LambdaLR(optimizer, lr_lambda=lambda step: rate(step, D_MODEL, factor=0.5, warmup=200))

    def step(model, batch, optimizer):
        (src,) = batch
        tgt, tgt_y = src[:, :-1], src[:, 1:]
        out = model(src, tgt)
        loss = criterion(out.reshape(-1, V), tgt_y.reshape(-1)) / tgt_y.numel()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        lr_scheduler.step()
        return loss.detach()

    return dict(model=model, optimizer=optimizer, step=step,
                train_loader=DataLoader(data_gen(2400, 1), batch_size=40, shuffle=True),
                val_loader=DataLoader(data_gen(200, 2), batch_size=200))


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} rate {p['optimizer'].param_groups[0]['lr']:.5f}")
    model.eval()
    with torch.no_grad():
        (src,) = next(iter(p["val_loader"]))
        score = (greedy_decode(model, src) == src)[:, 1:].float().mean().item()
    print(f"score: {score:.4f}")
