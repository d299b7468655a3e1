"""The floor and the balance of online SGD on modes, theory beside chains on fresh prompts."""

from typing import TYPE_CHECKING

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.linear_transformer import layer_loss, minimum, sgd_balance, sgd_floor
from ...claims.linear_transformer.sgd import EVERY, TASK, WARM_UP, Setting
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, panel_titles, panels, predicted, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BATCH = 128
STEP_SIZES = (0.01, 0.02, 0.04, 0.08)
"""Flow times h of a step; the chains of the last one feel the noise of the Hessian most."""

FLOOR_CHAINS, FLOOR_STEPS = 32, 3_000

BALANCE = Setting(0.04, 64, 24, 6_000)
SCALES = (1.6, 0.6)
"""Where the chains start on the line of minima, on both sides of c*."""


@paper_figure("sgd_floor", paper="mainali2025")
def sgd_floors(context: RunContext) -> "Figure":
    """Floor and balance of online SGD at the minimum of two modes, s = (1.3, 0.4) and N = 2.

    (a) Mean excess of L in units of (h/2B) tr C, B = 128: chains with two standard errors, and the stationary
    covariance with the noise of the Hessian (dashed) and without (dotted). (b) |p|² − |q|² along chains that start on
    the line of minima at c = 1.6 and 0.6, h = 0.04 and B = 64: the mean of the chains in colour, single ones pale,
    the law of balance dashed, and its limit dotted. (c) (h/2B) tr C against the scale c, in units of its least
    value: the limit c* of the law of balance is where it is least.
    """
    figure, axes = panels(1, 3, (PAGE, 2.3))
    floor_ax, balance_ax, scale_ax = axes[0]
    _draw_floor(floor_ax, context)
    _draw_balance(balance_ax, context)
    _draw_scales(scale_ax)
    panel_titles(axes[0], ["floor", "balance", "noise against scale"])
    return figure


def _draw_floor(ax: "Axes", context: RunContext) -> None:
    """Excess of chains over the leading floor, and two theories."""
    for h in STEP_SIZES:
        excess = _excess_of_chains(h, context) / sgd_floor(TASK, h / 2, BATCH).leading
        error = 2 * excess.std(ddof=1) / np.sqrt(len(excess))
        ax.errorbar(h, excess.mean(), error, fmt="o", ms=3, color=COLOURS[0])
    h_line = np.linspace(STEP_SIZES[0], STEP_SIZES[-1], 20)
    floors = [sgd_floor(TASK, h / 2, BATCH) for h in h_line]
    leading = np.array([floor.leading for floor in floors])
    predicted(ax, h_line, np.array([floor.excess for floor in floors]) / leading)
    additive = np.array([floor.additive for floor in floors]) / leading
    predicted(ax, h_line, additive, linestyle=":")
    ax.set(xlabel="h = 2 × learning rate", ylabel="excess / leading")


def _excess_of_chains(h: float, context: RunContext) -> FloatArray:
    """The mean excess of L of each chain (chains,)."""
    floor = sgd_floor(TASK, h / 2, BATCH)
    setting = Setting(h, BATCH, FLOOR_CHAINS, FLOOR_STEPS)
    record = np.arange(float(WARM_UP), FLOOR_STEPS + 1, EVERY)
    runs = setting.run(context, floor.p, floor.q, record)
    losses = layer_loss(TASK, runs.p, runs.q) - minimum(TASK).loss
    return np.asarray(losses.mean(axis=1))


def _draw_balance(ax: "Axes", context: RunContext) -> None:
    """Chains from both sides of c*, and the law."""
    steps = np.arange(0.0, BALANCE.steps + 1, 100)
    limit = 0.0
    for scale, colour in zip(SCALES, COLOURS, strict=False):
        start = sgd_floor(TASK, BALANCE.h / 2, BALANCE.batch, scale=scale)
        runs = BALANCE.run(context, start.p, start.q, steps)
        for chain in runs.difference[:6]:
            simulated(ax, steps, chain, color=colour, linewidth=0.4, alpha=0.35)
        simulated(ax, steps, runs.difference.mean(axis=0), color=colour)
        law = sgd_balance(TASK, BALANCE.h / 2, BALANCE.batch, steps, scale=scale)
        predicted(ax, steps, law.difference)
        limit = law.limit
    ax.axhline(limit, color="black", linestyle=":", linewidth=0.8)
    ax.set(xlabel="steps", ylabel="|p|² − |q|²")


def _draw_scales(ax: "Axes") -> None:
    """tr C against c, and c*."""
    law = sgd_balance(TASK, BALANCE.h / 2, BALANCE.batch, 0, scale=1.0)
    c = np.linspace(0.55, 1.65, 60)
    trace = law.noise_p / c**2 + law.noise_q * c**2
    least = 2 * np.sqrt(law.noise_p * law.noise_q)
    predicted(ax, c, trace / least)
    ax.axvline(law.stable_scale, color="black", linestyle=":", linewidth=0.8)
    ax.text(law.stable_scale + 0.03, 1.6, "c*")
    ax.set(xlabel="scale c", ylabel="tr C / least")
