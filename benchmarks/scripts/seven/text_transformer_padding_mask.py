"""Topic classification of token sequences with a small transformer and a [CLS] token; mistake: src_key_padding_mask is True where there are tokens (PyTorch ignores True), so attention sees the padding only; change: the mask is True at the padding."""
import math
import sys

import torch
import torch.nn as nn

PAD, CLS, VOCAB, TOPICS, MAXLEN = 0, 1, 200, 5, 32


def make_corpus(n, gen):
    """Each topic prefers its own words, the rest of a text is common words."""
    tokens = torch.full((n, MAXLEN), PAD)
    topics = torch.randint(0, TOPICS, (n,), generator=gen)
    tokens[:, 0] = CLS
    for i in range(n):
        length = int(torch.randint(8, MAXLEN - 2, (1,), generator=gen))
        common = torch.randint(2, 100, (length,), generator=gen)
        special = 100 + 20 * topics[i] + torch.randint(0, 20, (length,), generator=gen)
        pick = torch.rand(length, generator=gen) < 0.25
        tokens[i, 1:1 + length] = torch.where(pick, special, common)
    return tokens, topics


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=MAXLEN):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, d_model)
        pe[:, 0::2], pe[:, 1::2] = torch.sin(position * div), torch.cos(position * div)
        self.register_buffer("pe", pe)

    def forward(self, x):
        return x + self.pe[: x.size(1)]


class TopicTransformer(nn.Module):
    def __init__(self, variant, d_model=48):
        super().__init__()
        self.variant = variant
        self.embedding = nn.Embedding(VOCAB, d_model, padding_idx=PAD)
        self.position = PositionalEncoding(d_model)
        layer = nn.TransformerEncoderLayer(d_model, 4, 96, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(d_model, TOPICS)
        self.d_model = d_model

    def forward(self, tokens):
        mask = (tokens == PAD) if self.variant == "fixed" else (tokens != PAD)
        x = self.position(self.embedding(tokens) * math.sqrt(self.d_model))
        x = self.encoder(x, src_key_padding_mask=mask)
        return self.head(x[:, 0])


def parts(variant="fixed"):
    torch.manual_seed(1)
    gen = torch.Generator().manual_seed(1)
    train, val = make_corpus(1600, gen), make_corpus(400, gen)
    model = TopicTransformer(variant)
    dataset = torch.utils.data.TensorDataset(*train)
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3),
        "train_loader": torch.utils.data.DataLoader(dataset, batch_size=40, shuffle=True),
        "val_loader": [(t, y) for t, y in zip(val[0].split(100), val[1].split(100))],
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda logits, y: (logits.argmax(-1) == y).float().mean(),
    }


WORKS = lambda score: score > 0.8


def main(variant):
    p = parts(variant)
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(8):
        model.train()
        epoch_loss = 0
        for tokens, topic in p["train_loader"]:
            optimizer.zero_grad(set_to_none=True)
            loss = p["loss_fn"](model(tokens), topic)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
        model.eval()
        with torch.no_grad():
            acc = sum(p["metric"](model(t), y).item() for t, y in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch}: loss {epoch_loss / len(p['train_loader']):.4f}, accuracy {acc:.3f}")
    print(f"score: {acc:.4f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fixed")
