"""Attention on tokens: the forward pass, its gradients, the objective and initial weights."""
