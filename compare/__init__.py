"""Predictions against runs: replay, overlays, checks, claims, figures."""

# Eagerly, and with nothing heavier than NumPy: a function that bears its module's name is hidden by a lazy one.
from .evidence.claim import Claim, Lab, check
from .evidence.evidence import Curve, Evidence, Fit
from .evidence.judges import at_least_of_order, converges, converges_on_average, same
from .evidence.verdict import Verdict
from .ledger.registry import claim
from .ledger.verification import Ledger, verify
from .metrics.plateaus import Landing, effective_map, hessian, hessian_index, landings
from .overlays import Overlay, overlay
from .replays.recordings import reference_files
from .replays.replaying import Replay, replay
from .user.derived_time_course import derived_course
from .validity_maps.predictions import validity, validity_curves, validity_map

__all__ = [
    "Claim",
    "Curve",
    "Evidence",
    "Fit",
    "Lab",
    "Landing",
    "Ledger",
    "Overlay",
    "Replay",
    "Verdict",
    "at_least_of_order",
    "check",
    "claim",
    "converges",
    "converges_on_average",
    "derived_course",
    "effective_map",
    "hessian",
    "hessian_index",
    "landings",
    "overlay",
    "reference_files",
    "replay",
    "same",
    "validity",
    "validity_curves",
    "validity_map",
    "verify",
]
