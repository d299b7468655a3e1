"""Finite samples, finite task diversity and high dimension: Lu et al. 2025 (arXiv 2405.11751)."""

from .closed_forms import Errors, bayes_error, errors

__all__ = ["Errors", "bayes_error", "errors"]
