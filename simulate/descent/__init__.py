"""Gradient descent and gradient flow."""
