"""Figures of theory over simulation."""
