"""What the tab computes: errors in the limit, along gradient flow, and at a finite size with fits to drawn data."""

import dataclasses
from functools import lru_cache

import numpy as np

from ....compare import fit_errors
from ....runtime.arrays import FloatArray
from ....theory.asymptotics import (
    bayes_error,
    deterministic_equivalent,
    early_stopping,
    errors,
    learning_curve,
)
from ...answers import Answer
from ...controls import Settings
from .settings_of_readouts import Ratios, Sizes, axis_of

RIDGES = np.geomspace(1e-4, 1e2, 121)
"""Ridges among which the best is looked for: errors at two in a row differ by less than a line's width."""

_FEWER_RIDGES = RIDGES[::3]
"""For the best ridge at each point of an axis."""

TIMES = np.geomspace(1e-2, 1e3, 121)
"""θ of gradient flow: before the first nothing is learned."""

EQUIVALENT_POINTS, FIT_POINTS = 25, 9
"""Points of an axis at a finite size."""

POOLS, REPEATS = 10, 8
"""Of tasks over which the equivalent is averaged, and data sets of each fit."""

_MOST_PRODUCTS = 1.2e9
"""Of a fit, P D⁴ for P prompts of D² features: nine points then take two seconds at most."""

_MOST_TASKS, _LONGEST_CONTEXT = 2_000, 3_000
"""Of the equivalent."""


def limit(settings: Settings, moving: bool) -> Answer:
    """The errors as D → ∞ over an axis, the least over the ridge and over any predictor, and over λ at one point."""
    ratios, name = Ratios.of(settings), settings["over"]
    x = axis_of(name)
    along = ratios.over(name, x)
    found = errors(**along)
    # One ridge a row: (R, X).
    with_ridges = errors(**(along | {"ridge": _FEWER_RIDGES[:, None]}))
    alpha = along["alpha"]
    over_ridges = errors(**ratios.over("ridge", RIDGES))
    best = int(np.argmin(over_ridges.icl))
    return {
        "x": x,
        "icl": found.icl,
        "idg": found.idg,
        "icl_best": np.minimum(np.min(with_ridges.icl, axis=0), found.icl),
        "bayes": np.broadcast_to(bayes_error(alpha=alpha, noise=ratios.noise), x.shape),
        "zero_loss": 1 + ratios.noise,
        "ridges": RIDGES,
        "icl_over_ridges": over_ridges.icl,
        "idg_over_ridges": over_ridges.idg,
        "best_ridge": RIDGES[best],
        "icl_at_best_ridge": over_ridges.icl[best],
        "idg_at_best_ridge": over_ridges.idg[best],
        "here": _here(ratios),
    }


def _here(ratios: Ratios) -> Answer:
    """The errors at the ratios themselves, or why there are none."""
    try:
        found = errors(**vars(ratios))
    except ValueError as error:
        return {"refused": str(error)}
    return {"icl": found.icl, "idg": found.idg, "gap": found.gap, "xi": found.xi}


def flow(settings: Settings, moving: bool) -> Answer:
    """The errors along gradient flow without ridge, and at rest the time at which stopping is best."""
    ratios = Ratios.of(settings)
    curve = learning_curve(
        TIMES,
        tau=ratios.tau,
        alpha=ratios.alpha,
        kappa=ratios.kappa,
        noise=ratios.noise,
    )
    answer = {"theta": TIMES, "icl_of_flow": curve.icl, "idg_of_flow": curve.idg}
    if moving:
        return answer
    return answer | {"stop": _stop(**ratios.without_ridge())}


@lru_cache(maxsize=64)
def _stop(tau: float, alpha: float, kappa: float, noise: float) -> Answer:
    """The best time of flow, its error on new tasks, and that at the end."""
    found = early_stopping(tau=tau, alpha=alpha, kappa=kappa, noise=noise)
    return {"theta": found.theta, "error": found.error, "end": found.end}


def finite(settings: Settings, moving: bool) -> Answer:
    """The equivalent at a finite size, and fits to drawn data; nothing while a slider moves."""
    if moving:
        return {}
    ratios, name, D = Ratios.of(settings), settings["over"], settings["dimension"]
    # Where the slider of the axis stands does not matter to what is drawn over it.
    curves = _finite(dataclasses.replace(ratios, **{name: 1.0}), name, D)
    return curves | {"sizes": vars(Sizes.of(ratios, D))}


@lru_cache(maxsize=32)
def _finite(ratios: Ratios, name: str, D: int) -> Answer:
    """Both over an axis, each point at the ratios of its integers."""
    axis = axis_of(name)
    equivalent_x, equivalent = [], []
    for value in axis[:: len(axis) // EQUIVALENT_POINTS]:
        point = _sizes(ratios, name, float(value), D)
        if not point.has_errors(ratios.ridge) or _is_large(point):
            continue
        found = deterministic_equivalent(
            point.task(ratios.noise),
            point.task(ratios.noise),
            point.sequences,
            ridge=point.ridge(ratios.ridge),
            tasks=point.tasks,
            pools=POOLS,
        )
        equivalent_x.append(_ratio(point, name))
        equivalent.append((found.test_loss, found.train_loss))
    fit_x, fits = [], []
    for value in axis[:: len(axis) // FIT_POINTS]:
        point = _sizes(ratios, name, float(value), D)
        if not point.has_errors(ratios.ridge) or _is_large_fit(point):
            continue
        fits.append(_fit(point, ratios))
        fit_x.append(_ratio(point, name))
    return {
        "equivalent_x": equivalent_x,
        "equivalent_icl": [both[0] for both in equivalent],
        "equivalent_idg": [both[1] for both in equivalent],
        "fit_x": fit_x,
        "fits": fits,
    }


def _fit(point: Sizes, ratios: Ratios) -> Answer:
    """Means and standard errors of ridge fits to drawn data sets."""
    law = point.task(ratios.noise)
    found = fit_errors(
        law,
        law,
        [point.sequences],
        ridge=point.ridge(ratios.ridge),
        tasks=point.tasks,
        repeats=REPEATS,
    )
    answer: Answer = {}
    for name, values in (("icl", found.icl[0]), ("idg", found.idg[0])):
        answer[name] = float(np.mean(values))
        answer[f"{name}_error"] = _standard_error(values)
    return answer


def _standard_error(values: FloatArray) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _sizes(ratios: Ratios, name: str, value: float, D: int) -> Sizes:
    """The integers at a point of an axis."""
    return Sizes.of(dataclasses.replace(ratios, **{name: value}), D)


def _ratio(point: Sizes, name: str) -> float:
    """The ratio on the axis that the integers stand for."""
    D = point.dimension
    if name == "tau":
        return point.sequences / D**2
    if name == "alpha":
        return point.context / D
    assert point.tasks is not None
    return point.tasks / D


def _is_large(point: Sizes) -> bool:
    tasks = point.tasks or 0
    return tasks > _MOST_TASKS or point.context > _LONGEST_CONTEXT


def _is_large_fit(point: Sizes) -> bool:
    products = point.sequences * point.dimension**4
    return _is_large(point) or products > _MOST_PRODUCTS
