"""Support tickets sorted by a transformer encoder with a [CLS] token: src_key_padding_mask is True at the real words in place of the padding; change: True at the padding."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

PAD_ID, CLS_ID, VOCAB, SEQ = 0, 1, 400, 26
CATEGORIES = ["billing", "login", "shipping", "returns"]


def tickets(n, seed):
    g = torch.Generator().manual_seed(seed)
    ids = torch.full((n, SEQ), PAD_ID)
    label = torch.randint(0, len(CATEGORIES), (n,), generator=g)
    for i in range(n):
        k = int(torch.randint(6, SEQ - 3, (1,), generator=g))
        words = torch.randint(102, VOCAB, (k,), generator=g)
        own = 2 + 25 * label[i] + torch.randint(0, 25, (k,), generator=g)
        pick = torch.rand(k, generator=g) < 0.35
        ids[i, 0] = CLS_ID
        ids[i, 1:k + 1] = torch.where(pick, own, words)
    return ids, label


class TicketEncoder(nn.Module):
    def __init__(self, d_model=48, nhead=4, layers=2, mask_fn=None):
        super().__init__()
        self.tok = nn.Embedding(VOCAB, d_model, padding_idx=PAD_ID)
        self.pos = nn.Parameter(torch.randn(1, SEQ, d_model) * 0.02)
        layer = nn.TransformerEncoderLayer(d_model, nhead, dim_feedforward=96, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.out = nn.Linear(d_model, len(CATEGORIES))
        self.mask_fn = mask_fn

    def forward(self, ids):
        x = self.tok(ids) + self.pos
        x = self.encoder(x, src_key_padding_mask=self.mask_fn(ids))
        return self.out(x[:, 0])


def attention_mask(ids):
    return ids != PAD_ID


def padding_mask(ids):
    return ids == PAD_ID


def parts(variant):
    torch.manual_seed(0)
    net = TicketEncoder(mask_fn=attention_mask if variant == "bad" else padding_mask)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
    return {"model": net, "optimizer": opt, "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.05),
            "train_loader": DataLoader(TensorDataset(*tickets(2000, 5)), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*tickets(400, 6)), batch_size=100)}


WORKS = lambda score: score > 0.75


def run_epoch(net, loader, loss_fn, opt=None):
    net.train(opt is not None)
    loss_sum = hit = n = 0
    with torch.set_grad_enabled(opt is not None):
        for ids, y in loader:
            logits = net(ids)
            loss = loss_fn(logits, y)
            if opt is not None:
                opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                opt.step()
            loss_sum += loss.item() * len(y)
            hit += (logits.argmax(1) == y).sum().item()
            n += len(y)
    return loss_sum / n, hit / n


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(6):
        tr = run_epoch(p["model"], p["train_loader"], p["loss_fn"], p["optimizer"])
        va = run_epoch(p["model"], p["val_loader"], p["loss_fn"])
        print(f"epoch {epoch}  train {tr[0]:.3f}/{tr[1]:.3f}  val {va[0]:.3f}/{va[1]:.3f}")
    print(f"score: {va[1]:.4f}")
