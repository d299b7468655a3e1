"""A run as its author wrote it: linear attention in plain PyTorch and SGD, a log of losses and some checkpoints."""

import csv
import sys

import numpy as np
import torch
from torch import nn

H, D, N, P = 3, 2, 10, 4000  # heads, dimension of x, context length, prompts
dtype = getattr(torch, sys.argv[1] if len(sys.argv) > 1 else "float64")
torch.manual_seed(0)

x = torch.randn(P, N + 1, D) * torch.tensor([0.65, 0.35]).sqrt()
y = torch.einsum("pnd,pd->pn", x, torch.randn(P, D))  # one task vector a prompt
tokens, labels = torch.cat([x, y[..., None]], dim=2), y[:, -1].clone()
tokens[:, -1, -1] = 0.0  # the query's y is masked


class Attention(nn.Module):
    def __init__(self, scale=0.1):
        super().__init__()
        self.W_V = nn.Parameter(scale * torch.randn(H, D + 1, D + 1, dtype=dtype))
        self.W_K = nn.Parameter(scale * torch.randn(H, 1, D + 1, dtype=dtype))
        self.W_Q = nn.Parameter(scale * torch.randn(H, 1, D + 1, dtype=dtype))

    def forward(self, X):  # (P, N+1, D+1)
        value = torch.einsum("hij,pnj->phni", self.W_V, X)
        key = torch.einsum("hrj,pnj->phnr", self.W_K, X)
        query = torch.einsum("hrj,pj->phr", self.W_Q, X[:, -1])
        scores = torch.einsum("phnr,phr->phn", key, query) / N
        return torch.einsum("phn,phni->pi", scores, value)[:, -1]


model, losses, checkpoints = Attention(), [], {}
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
for step in range(1501):
    if step % 25 == 0:
        for name, weight in model.named_parameters():
            checkpoints[f"{step}/{name}"] = weight.detach().clone().numpy()
    loss = 0.5 * ((model(tokens.to(dtype)) - labels.to(dtype)) ** 2).mean()
    if step % 5 == 0:
        losses.append((step, loss.item()))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

with open(f"losses_{dtype}.csv".replace("torch.", ""), "w", newline="") as file:
    csv.writer(file).writerows([("step", "loss"), *losses])
np.savez(f"weights_{dtype}.npz".replace("torch.", ""), **checkpoints)
np.savez("prompts.npz", tokens=tokens.numpy(), labels=labels.numpy())
