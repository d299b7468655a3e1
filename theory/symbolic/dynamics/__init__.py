"""Gradient flow in symbols: reductions, conserved quantities, equilibria and their stability."""
