"""Type of a question, transformer encoder with a class token; the key padding mask marks the words instead of the padding; change: the twin marks the padding."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PAD, CLS, VOCAB, MAX, TYPES = 0, 1, 150, 16, 5


def questions(n, seed):
    g = torch.Generator().manual_seed(seed)
    ids = torch.full((n, MAX), PAD)
    types = torch.randint(0, TYPES, (n,), generator=g)
    for i in range(n):
        k = int(torch.randint(5, 13, (1,), generator=g))
        words = torch.randint(62, VOCAB, (k,), generator=g)
        own = torch.rand(k, generator=g) < 0.35
        own[0] = True
        words = torch.where(own, 2 + types[i] * 12 + torch.randint(0, 12, (k,), generator=g), words)
        wrong = torch.rand(k, generator=g) < 0.08
        words = torch.where(wrong, torch.randint(2, 62, (k,), generator=g), words)
        ids[i, 0] = CLS
        ids[i, 1:k + 1] = words[torch.randperm(k, generator=g)]
    return ids, types


class QuestionEncoder(nn.Module):
    def __init__(self, make_mask, d=32):
        super().__init__()
        self.make_mask = make_mask
        self.tok = nn.Embedding(VOCAB, d)
        self.pos = nn.Parameter(torch.randn(MAX, d) * 0.02)
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classify = nn.Linear(d, TYPES)

    def forward(self, ids):
        h = self.encoder(self.tok(ids) + self.pos, src_key_padding_mask=self.make_mask(ids))
        return self.classify(h[:, 0])


def parts(variant):
    torch.manual_seed(0)
    model = QuestionEncoder((lambda ids: ids != PAD) if variant == "bad" else (lambda ids: ids == PAD))
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01),
            "train_loader": DataLoader(TensorDataset(*questions(1600, 1)), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*questions(400, 2)), batch_size=100),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.65


def validate(p):
    p["model"].eval()
    with torch.no_grad():
        accs = [p["metric"](p["model"](ids), y) for ids, y in p["val_loader"]]
    return sum(accs) / len(accs)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(10):
        p["model"].train()
        running = 0
        for ids, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](ids), y)
            p["optimizer"].zero_grad(set_to_none=True)
            loss.backward()
            p["optimizer"].step()
            running += loss.item()
        print(f"epoch {epoch}: {running / len(p['train_loader']):.4f}, val {validate(p):.4f}")
    print(f"score: {validate(p):.4f}")
