"""Transformer encoder that reads the scanned codes of a luggage tag (of varied length, padded) and names the region the bag goes to: passed airports and destinations have codes of their own, and where a bag was rebooked the last destination counts. An ordinary sound script: dict batches, key padding mask True at the padding, mean over the real tokens."""
import sys
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader

torch.set_num_threads(1)
PAD, FIRST_AIRPORT = 0, 1
AIRPORTS, REGIONS, LONGEST = 30, 5, 12


@dataclass
class Tag:
    codes: list
    region: int


def print_tags(n, gen):
    region_of = (torch.arange(AIRPORTS) * 7) % REGIONS
    tags = []
    for _ in range(n):
        length = int(torch.randint(5, LONGEST + 1, (1,), generator=gen))
        stops = torch.randint(0, AIRPORTS, (length,), generator=gen)
        codes = [int(s) + FIRST_AIRPORT for s in stops]
        bookings = 1 + int(torch.rand(1, generator=gen) < 0.5)
        for where in torch.randperm(length, generator=gen)[:bookings].sort().values.tolist():
            target = int(stops[where])
            codes[where] = target + FIRST_AIRPORT + AIRPORTS
        region = int(region_of[target])
        if torch.rand(1, generator=gen) < 0.03:
            region = int(torch.randint(0, REGIONS, (1,), generator=gen))
        tags.append(Tag(codes, region))
    return tags


def collate(tags):
    codes = torch.full((len(tags), LONGEST), PAD)
    for row, tag in zip(codes, tags):
        row[:len(tag.codes)] = torch.tensor(tag.codes)
    return {"codes": codes, "padding": codes == PAD, "region": torch.tensor([t.region for t in tags])}


class TagReader(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.embed = nn.Embedding(FIRST_AIRPORT + 2 * AIRPORTS, dim, padding_idx=PAD)
        self.place = nn.Parameter(0.5 * torch.randn(LONGEST, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classify = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, REGIONS))

    def forward(self, codes, padding):
        h = self.encoder(self.embed(codes) + self.place, src_key_padding_mask=padding)
        real = (~padding).unsqueeze(-1).float()
        return self.classify((h * real).sum(1) / real.sum(1))


def training_step(model, batch):
    logits = model(batch["codes"], batch["padding"])
    return nn.functional.cross_entropy(logits, batch["region"])


def parts(variant):
    torch.manual_seed(4)
    gen = torch.Generator().manual_seed(40)
    train, val = print_tags(2600, gen), print_tags(500, gen)
    model = TagReader()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
            "training_step": training_step,
            "train_loader": DataLoader(train, batch_size=52, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(val, batch_size=250, collate_fn=collate)}


WORKS = lambda score: score > 0.82

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(5):
        model.train()
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            hits = torch.cat([model(b["codes"], b["padding"]).argmax(1) == b["region"] for b in p["val_loader"]])
        print(f"epoch {epoch}: loss {loss.item():.3f}, right {hits.float().mean():.3f}")
    print("score:", hits.float().mean().item())
