"""Predictions against runs: replay, overlays, checks, claims, figures."""

# Eagerly, and with nothing heavier than NumPy: a function that bears its module's name is hidden by a lazy one.
from ..models.effective_map import effective_map
from .checkpoints.head_matrices import HeadLayout
from .checkpoints.measuring import TensorNames, measure_files, reference_checkpoints
from .error_curves import ErrorCurve, error_curve
from .evidence.checking import check_claim
from .evidence.claim import Claim, RunContext
from .evidence.evidence import Curve, Evidence, Fit
from .evidence.judges import (
    at_least_order,
    converges_at_order,
    converges_on_average,
    equal_within,
)
from .evidence.verdict import Verdict
from .exact_statistics import population_statistics
from .first_drops import fitted_scale
from .fits import FitErrors, FitOverlay, fit_errors
from .ledger.ledger import Ledger
from .ledger.registry import claim
from .ledger.verification import verify
from .metrics.curvature import hessian, hessian_index
from .metrics.measures import Measures, measure
from .metrics.plateaus import PlateauMatch, PlateauMatches, match_plateaus
from .overlays import Overlay, overlay
from .readout_predictions import ReadoutPrediction, readout_prediction
from .recorded_files import replay
from .replays.recordings import reference_files
from .replays.replaying import Replay
from .runs_on_new_tasks import error_along_run, readout_run
from .training_errors import TrainingErrors, errors_along_training
from .user.derived_time_courses import derived_time_course
from .validity_maps.plots import validity_curves, validity_map
from .validity_maps.predictions import validity

__all__ = [
    "Claim",
    "Curve",
    "ErrorCurve",
    "Evidence",
    "Fit",
    "FitErrors",
    "FitOverlay",
    "HeadLayout",
    "Ledger",
    "Measures",
    "Overlay",
    "PlateauMatch",
    "PlateauMatches",
    "ReadoutPrediction",
    "Replay",
    "RunContext",
    "TensorNames",
    "TrainingErrors",
    "Verdict",
    "at_least_order",
    "check_claim",
    "claim",
    "converges_at_order",
    "converges_on_average",
    "derived_time_course",
    "effective_map",
    "equal_within",
    "error_along_run",
    "error_curve",
    "errors_along_training",
    "fit_errors",
    "fitted_scale",
    "hessian",
    "hessian_index",
    "match_plateaus",
    "measure",
    "measure_files",
    "overlay",
    "population_statistics",
    "readout_prediction",
    "readout_run",
    "reference_checkpoints",
    "reference_files",
    "replay",
    "validity",
    "validity_curves",
    "validity_map",
    "verify",
]
