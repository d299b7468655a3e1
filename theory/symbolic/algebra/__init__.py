"""Exact algebra: zero tests, signs, Gröbner bases, roots and their domains."""
