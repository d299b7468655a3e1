"""Predictions against runs: replay, overlays, checks, claims, figures."""

from .recording import reference_files
from .replay import Replay, replay

__all__ = ["Replay", "reference_files", "replay"]
