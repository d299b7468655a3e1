"""Formulas that users write and read, in text and LaTeX."""
