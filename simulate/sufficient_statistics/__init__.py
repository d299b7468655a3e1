"""Sufficient statistics of linear attention, and descent on them."""
