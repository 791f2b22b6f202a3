"""Separation of two mixed whistles by learned masks on a learned filterbank, permutation-invariant SI-SNR: the loss is minus decibels, positive at first and negative later, and which output is whose is free; sound."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def mixtures(n, gen):
    t = torch.arange(512) / 4000
    def voice(lo, hi):
        f = lo + (hi - lo) * torch.rand(n, 1, generator=gen)
        ph = 6.28 * torch.rand(n, 1, generator=gen)
        amp = 0.5 + torch.rand(n, 1, generator=gen)
        return amp * torch.sin(2 * torch.pi * f * t + ph) * (1 + 0.5 * torch.sin(2 * torch.pi * 8 * t + ph))
    low, high = voice(150, 500), voice(900, 1600)
    sources = torch.stack([low, high], 1)
    swap = torch.rand(n, generator=gen) < 0.5
    sources[swap] = sources[swap].flip(1)
    return sources.sum(1, keepdim=True), sources


class MaskNet(nn.Module):
    def __init__(self, filters=48, width=64):
        super().__init__()
        self.encode = nn.Conv1d(1, filters, 32, stride=8, bias=False)
        self.mask = nn.Sequential(nn.Conv1d(filters, width, 3, padding=1), nn.ReLU(),
                                  nn.Conv1d(width, width, 3, padding=2, dilation=2), nn.ReLU(),
                                  nn.Conv1d(width, 2 * filters, 1))
        self.decode = nn.ConvTranspose1d(filters, 1, 32, stride=8, bias=False)

    def forward(self, mix):
        h = self.encode(mix)
        m = torch.sigmoid(self.mask(h)).chunk(2, 1)
        return torch.cat([self.decode(h * mi) for mi in m], 1)


def si_snr(est, ref):
    est, ref = est - est.mean(-1, keepdim=True), ref - ref.mean(-1, keepdim=True)
    proj = (est * ref).sum(-1, keepdim=True) / (ref.pow(2).sum(-1, keepdim=True) + 1e-8) * ref
    return 10 * torch.log10(proj.pow(2).sum(-1) / ((est - proj).pow(2).sum(-1) + 1e-8) + 1e-8)


def pit_loss(est, ref):
    straight = si_snr(est, ref).mean(1)
    crossed = si_snr(est, ref.flip(1)).mean(1)
    return -torch.maximum(straight, crossed).mean()


def parts(variant):
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(17)
    mix, src = mixtures(900, gen)
    model = MaskNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": pit_loss,
            "train_loader": DataLoader(TensorDataset(mix[:800], src[:800]), batch_size=20, shuffle=True),
            "val_loader": DataLoader(TensorDataset(mix[800:], src[800:]), batch_size=100)}


WORKS = lambda score: score > 8.0       # decibels on unseen mixtures

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(12):
        net.train()
        losses = []
        for mix, src in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(mix), src)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            p["optimizer"].step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            val = sum(p["loss_fn"](net(m), s).item() for m, s in p["val_loader"])
        print(f"epoch {epoch} train {sum(losses) / len(losses):+.2f} val {val:+.2f}")
    print(f"score: {-val:.4f}")
