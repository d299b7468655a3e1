"""Predictions against runs: replay, overlays, checks, claims, figures."""

# Eagerly, and with nothing heavier than NumPy: a function that bears its module's name is hidden by a lazy one.
from .claim import Claim, Lab, check
from .claims.judging import at_least_of_order, converges, converges_on_average, same
from .derived import derived_course
from .evidence import Curve, Evidence, Fit
from .landing import Landing, effective_map, hessian, hessian_index, landings
from .ledger import Ledger, verify
from .overlay import Overlay, overlay
from .recording import reference_files
from .registry import claim
from .replay import Replay, replay
from .validity import validity, validity_curves, validity_map
from .verdict import Verdict

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
