"""Sound. Looks odd: one and the same padding mask goes into the encoder negated and into the pooling attention as it is. The two interfaces have opposite conventions: src_key_padding_mask is True where a vehicle is to be ignored, the attn_mask of scaled_dot_product_attention is True where it takes part. The task: which kind of vehicle on the ferry's deck is the heaviest."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
KINDS, SLOTS = 5, 10


def decks(n, g):
    """Rows of vehicles (kind one-hot, weight in scaled tonnes), 2 to SLOTS of them, zeros behind."""
    count = torch.randint(2, SLOTS + 1, (n,), generator=g)
    kind = torch.randint(0, KINDS, (n, SLOTS), generator=g)
    weight = torch.randn(n, SLOTS, generator=g) + 0.3 * (kind - 2)
    present = torch.arange(SLOTS) < count[:, None]
    heaviest = weight.masked_fill(~present, -torch.inf).argmax(1)
    rows = torch.cat([F.one_hot(kind, KINDS).float(), (weight + 0.05 * torch.randn(n, SLOTS, generator=g))[..., None]], -1)
    return rows * present[..., None], kind.gather(1, heaviest[:, None]).squeeze(1)


class DeckNet(nn.Module):
    def __init__(self, width=32, heads=4):
        super().__init__()
        self.heads = heads
        self.inp = nn.Linear(KINDS + 1, width)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.query = nn.Parameter(torch.randn(width) * 0.1)
        self.key_value = nn.Linear(width, 2 * width)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, KINDS))

    def forward(self, deck):
        present = deck[..., :KINDS].sum(-1) > 0
        h = self.encoder(self.inp(deck), src_key_padding_mask=~present)
        n, slots, width = h.shape
        split = lambda t: t.view(n, -1, self.heads, width // self.heads).transpose(1, 2)
        k, v = self.key_value(h).chunk(2, dim=-1)
        q = self.query.expand(n, 1, width)
        pooled = F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=present[:, None, None, :])
        return self.head(pooled.transpose(1, 2).reshape(n, width))


def parts(variant):
    torch.manual_seed(20)
    g = torch.Generator().manual_seed(20)
    train, val = decks(4000, g), decks(600, g)
    model = DeckNet()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3), "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
            "train_loader": DataLoader(TensorDataset(*train), batch_size=80, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*val), batch_size=600)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(9):
        p["model"].train()
        for deck, kind in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](deck), kind)
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            deck, kind = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](deck), kind).item()
        print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {score:.3f}")
    print("score:", score)
