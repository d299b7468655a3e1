"""Exact moments of the data: the population loss and the moments of features."""
