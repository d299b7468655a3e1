"""Writes docs/benchmarks.md from what was measured."""

import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from . import growth, ridge_fits, softmax_losses
from .fresh_prompts import DRAWING, EAGER, SMALL
from .fresh_prompts import OURS as OUR_STEP
from .problems import LOW_RANK, MERGED, SEPARATE, Problem
from .runs import OURS, OURS_TOKENS
from .speedups import LARGE, wins
from .steps import SHAPES
from .timing import Times, exponent, fastest, least, ratio, typical

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
RUNS = {"merged": MERGED, "separate": SEPARATE, "low_rank": LOW_RANK}
SOFTMAX = ("softmax", "softmax_large")
NAMES = {"merged": "merged", "separate": "separate, rank 1", "low_rank": "low rank"}
GOALS = {
    "separate": {
        "all rows": 10_000,
        "query row, eager": 2_000,
        "fastest compiled": 100,
    },
    "merged": {"all rows": 1_000, "query row, eager": 150, "fastest compiled": 10},
}
"""How many times as fast a whole run should be, at least."""

HEAD = """\
# Benchmarks

This page is for readers who ask how fast the package is. It compares the package with PyTorch, JAX and solvers of
differential equations, and with the speed that was aimed at. `make benchmarks` writes it; this one is from a machine
with {machine}.

How the numbers are measured, unless a section says otherwise:

- *Ratios* are ratios of medians over five or more rounds, in which the cases take turns in one process. Other work
  shared the machine, so that ratios are more reliable than times.
- *Precision*: the package always computes in float64. A peer's losses are compared with ours before it is timed, to
  1e-9 in float64 and 1e-4 in float32.
- *Cores*: PyTorch uses all cores, as it does by default, or one where this is faster and the row says so. JAX and the
  package on tokens use all cores, and the package on statistics uses one.
- *Cold* is a first call, with all compilation.
- *Correctness*: `tests/simulate/descent/test_kernels.py` compares all fast paths with the plain one on tokens, to 1e-9
  over 500 steps.
"""


def page(measured: Mapping[str, Times], missing: Sequence[str] = ()) -> str:
    """The page of all groups that were measured; those that were not are named."""
    parts = [HEAD.format(machine=machine())]
    if missing:
        parts.append(f"Not measured yet, so not shown: {', '.join(missing)}.\n")
    parts += [
        section(measured)
        for needs, groups, section in SECTIONS
        if needs(group in measured for group in groups)
    ]
    return "\n".join(parts)


def machine() -> str:
    """The machine in general words."""
    import numpy as np

    processor = f"{os.cpu_count()} cores ({platform.machine()})"
    return f"{processor}, Python {platform.python_version()}, NumPy {np.__version__}"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table of Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def runs(measured: Mapping[str, Times]) -> str:
    """Whole training runs against frameworks, and how far the goals are passed."""
    text = ["## Whole training runs\n", RUNS_TEXT]
    for name, problem in RUNS.items():
        if name not in measured:
            continue
        times = measured[name]
        rows = [
            (
                shown(peer, timing),
                quantity(typical(times, peer)),
                quantity(timing["cold"]),
                times_as(times, peer, OURS),
            )
            for peer, timing in sorted(
                times.items(), key=lambda item: median(item[1]["seconds"])
            )
        ]
        text += [
            f"### {title(name, problem)}\n",
            table(("", "whole run", "cold call", "relative"), rows),
        ]
    return "\n".join([*text, "### What was aimed at\n", goals(measured)])


RUNS_TEXT = """\
This section times full-batch gradient descent from start to end.

- *What is timed*: tokens are in memory for all. On statistics a run is timed as a whole, with the summing up of the
  statistics. In all other cases 20 steps are timed, and a whole run is extrapolated from them.
- *Cold* is the first whole run for the package, and the first two steps for a peer.
- *At the very least* is a peer's fastest round over our slowest.
- *Left out*: at low rank, peers that compute all rows take minutes for each round, and no aim was set for them.
"""


def title(name: str, problem: Problem) -> str:
    """The settings of a problem."""
    rank = "" if problem.rank is None else f", R = {problem.rank}"
    sizes = f"D = {problem.dimension}, H = {problem.heads}{rank}, N = {problem.context_length}"
    return f"{NAMES[name].capitalize()}: {sizes}, P = {problem.sequences:,}, {problem.steps:,} steps"


def goals(measured: Mapping[str, Times]) -> str:
    """The goals of the whole runs and what was reached: the slowest-written peer, eager, and the fastest of all."""
    rows = []
    for name, bounds in GOALS.items():
        times = measured.get(name, {})
        for what, bound in bounds.items() if times else ():
            peers = [peer for peer in times if matches(peer, what)]
            best = min(ratio(times, peer, OURS) for peer in peers)
            worst = min(least(times, peer, OURS) for peer in peers)
            row = (
                NAMES[name],
                what,
                f"{bound:,} ×",
                f"{best:,.0f} ×",
                f"{worst:,.0f} ×",
                verdict(best >= bound),
            )
            rows.append(row)
    head = (
        "run",
        "peer, in its faster precision",
        "aimed at",
        "measured",
        "at the very least",
        "",
    )
    return table(head, rows)


def matches(peer: str, what: str) -> bool:
    """Whether a peer is of the kind that a goal speaks of."""
    if what == "fastest compiled":
        return "compiled" in peer or "jit" in peer
    return what in peer and "eager" in peer


def verdict(reached: bool) -> str:
    """In a word."""
    return "reached" if reached else "**missed**"


def softmax(times: Times) -> str:
    """Steps of softmax attention on tokens."""
    rows = []
    for problem in dict.fromkeys(name.split(": ")[0] for name in times):
        mine = f"{problem}: {OURS_TOKENS}"
        for name in (
            case for case in times if case.startswith(problem) and case != mine
        ):
            relative = ratio(times, name, mine)
            who = "ours is faster" if relative >= 1 else "**the peer is faster**"
            cells = (
                problem,
                shown(name.split(": ")[1], times[name]),
                quantity(typical(times, name)),
                quantity(typical(times, mine)),
            )
            rows.append((*cells, f"{relative:.2f}", who))
    head = ("", "peer", "its step", "our step", "relative", "")
    return "\n".join(
        [
            "## Softmax, on tokens\n",
            "This section times steps of softmax attention. "
            "The package computes in float64, whatever the precision of the peer is.\n",
            table(head, rows),
        ]
    )


def process(times: Times) -> str:
    """Whole processes."""
    rows = [
        (name, quantity(typical(times, name)), quantity(times[name]["cold"]))
        for name in times
        if name != "MiB"
    ]
    text = f"Peak memory of the first: {times['MiB']['seconds'][0]:.0f} MiB. Aimed at: 4 s for 10,001 steps.\n"
    intro = (
        "`attndyn simulate`, separate attention at the published size: "
        "start-up, data, statistics, steps, file.\n"
    )
    return "\n".join(
        ["## Whole processes\n", intro, table(("", "warm", "cold"), rows), text]
    )


def floors(measured: Mapping[str, Times]) -> str:
    """What cannot be done without, and how much more is done."""
    return "\n".join(
        [
            "## Floors\n",
            FLOORS_TEXT,
            table(("", "step", "floor", "ratio", "aimed at", ""), _floors(measured)),
        ]
    )


FLOORS_TEXT = """\
A *floor* is an operation that a step cannot do without. This section says how much longer the whole step takes.

| case | floor |
| --- | --- |
| a step on statistics | one symmetric matrix-vector product; with 64 starts, the product with 64 columns |
| a step on moments, merged | one copy of the weights |
| summing up statistics | the general matrix product of the same size, and dsyrk, the symmetric one, of the aim |

Two cases miss their aims:

- *64 starts at D = 4*: a product with 64 columns takes 10 µs, and the weights of 64 models have to be unpacked,
  multiplied and moved as well.
- *Large merged moments*: a step reads and writes all weights once, as a copy does, but reads each head twice.
"""


def _floors(measured: Mapping[str, Times]) -> list[tuple[str, ...]]:
    rows = []
    for shape in SHAPES:
        times, bound = (
            measured["full_block"],
            1.5 if shape.startswith("D = 8") else None,
        )
        rows.append(_floor(shape, times, f"{shape}: step", f"{shape}: product", bound))
    for shape in SHAPES:
        rows.append(
            _floor(
                f"64 starts, {shape}",
                measured["many_starts"],
                f"{shape}: step",
                f"{shape}: product",
                2,
            )
        )
    wide = "D = H = 256, merged"
    rows.append(
        _floor(
            wide, measured["population_steps"], f"{wide}: step", f"{wide}: copy", 1.5
        )
    )
    aims = {
        "D = 4, P = 81,920": None,
        "D = 8, P = 16,384": None,
        "D = K = 8, N = 20, P = 8,192": 1.5,
    }
    for name, aim in aims.items():
        times = measured["accumulation"]
        for kind in ("general", "symmetric"):
            row = _floor(
                f"statistics, {name}, {kind}",
                times,
                f"{name}: statistics",
                f"{name}: {kind} product",
                aim if kind == "symmetric" else None,
            )
            rows.append(row)
    small = min(
        typical(measured["full_block"], f"{shape}: step")
        for shape in SHAPES
        if shape.startswith("D = 4")
    )
    rows.append(("D = 4, any", quantity(small), "", "", "8 µs", verdict(small < 8e-6)))
    for name in (
        "D = H = 256, rank 1",
        *(f"D = H = {d}, {k}" for d in (16, 32) for k in ("rank 1", "merged")),
    ):
        step = typical(measured["population_steps"], f"{name}: step")
        bound = ("10 ms", verdict(step < 1e-2)) if "256" in name else ("", "")
        rows.append((f"moments, {name}", quantity(step), "", "", *bound))
    return rows


def _floor(
    name: str, times: Times, step: str, floor: str, bound: float | None
) -> tuple[str, ...]:
    value = ratio(times, step, floor)
    aim = ("", "") if bound is None else (f"{bound:g}", verdict(value <= bound))
    return (
        name,
        quantity(typical(times, step)),
        quantity(typical(times, floor)),
        f"{value:.2f}",
        *aim,
    )


def courses(measured: Mapping[str, Times]) -> str:
    """Closed forms, reduced equations and flows against solvers."""
    closed = measured["closed_forms"]
    rows = [
        (
            name,
            quantity(typical(closed, name)),
            quantity(closed[name]["cold"]),
            times_as(closed, name, "attndyn"),
        )
        for name in closed
        if name not in LARGE
    ]
    limits = zip(LARGE, (1.0, 0.05), strict=True)
    large = [
        (
            name,
            quantity(typical(closed, name)),
            quantity(limit),
            verdict(typical(closed, name) < limit),
        )
        for name, limit in limits
    ]
    parts = [
        "## Time courses\n",
        "The first table is about 201 values of the amplitude of one head. "
        "All cases reach an accuracy of 1e-10 or better:\n",
    ]
    parts += [
        table(("", "warm", "cold", "relative"), rows),
        table(("", "time", "aimed at", ""), large),
    ]
    parts += [
        "The last table is about D = 32 at an accuracy of 1e-10: "
        "the reduced equations of merged attention, and the flow of all 2080 weights:\n"
    ]
    return "\n".join(
        [
            *parts,
            table(
                ("", "time", "LSODA's time, relative", ""),
                [*_beside(measured["reduced_flow"]), *_beside(measured["full_flow"])],
            ),
        ]
    )


def _beside(times: Times) -> list[tuple[str, ...]]:
    """Every solver beside LSODA's default use on the same problem."""
    rows = []
    for name in times:
        problem, solver = name.split(": ")
        value = ratio(times, f"{problem}: LSODA", name)
        who = (
            ""
            if solver == "LSODA"
            else "faster"
            if value > 1
            else "**LSODA is faster**"
        )
        rows.append((name, quantity(typical(times, name)), f"{value:.2f}", who))
    return rows


def grown(times: Times) -> str:
    """Fitted exponents beside the expected ones."""
    rows = []
    for name, (values, expected, why) in growth.SWEEPS.items():
        fitted = exponent(
            list(map(float, values)),
            [typical(times, f"{name}: {value}") for value in values],
        )
        rows.append(
            (
                name,
                ", ".join(f"{value:,}" for value in values),
                f"{fitted:.2f}",
                f"{expected:g}",
                why,
            )
        )
    text = (
        "This section fits the exponent in cost ∝ size^exponent. "
        "A fitted exponent is below the expected one where costs that do not grow still matter.\n"
    )
    return "\n".join(
        [
            "## Growth\n",
            text,
            table(("what, size", "values", "fitted", "expected", "because"), rows),
        ]
    )


def shown(peer: str, timing: Mapping[str, object]) -> str:
    """A peer's name, with its threads if they were not the default."""
    return (
        f"{peer}, one thread"
        if "PyTorch" in peer and timing.get("threads") == 1
        else peer
    )


def quantity(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return (
                f"{seconds / size:,.3g} {unit}"
                if seconds < 1_000
                else f"{seconds:,.0f} s"
            )
    raise ValueError(f"seconds must be a number, not {seconds}")


def times_as(times: Times, name: str, ours: str) -> str:
    """How many times as long as ours."""
    value = ratio(times, name, ours)
    return f"{value:,.0f} ×" if value >= 10 else f"{value:.2g} ×"


FRESH_TEXT = """\
This section times a step of Adam on 256 fresh prompts, which includes drawing them. The model is two softmax heads with
their own query, key, value and output, at D = 5 and N = 40, on one core.

- *Query row* does what the package does, with the fewest products. The weights are multiplied by the query first, so
  that no keys and values of other tokens are formed.
- *All keys and values* forms them, as a layer of a network does, for the query's row alone.
- *Times* are the least of 40 rounds of 50 steps, in processor time.
- *Precision*: the package computes in float64. The aim was set for the peer in float64 that runs eagerly. In
  float32 a peer draws and computes half as many bytes.
"""


def fresh_prompts(measured: Mapping[str, Times]) -> str:
    """A step of Adam on fresh prompts, beside PyTorch, and what was aimed at."""
    times = measured["fresh_prompts"]
    rows = []
    for name in times:
        ours = f"{SMALL}: {OUR_STEP}" if name.startswith(SMALL) else OUR_STEP
        relative = fastest(times, name) / fastest(times, ours)
        rows.append((name, quantity(fastest(times, name)), f"{relative:.2f} ×"))
    text = ["## Fresh prompts in every step\n", FRESH_TEXT]
    text.append(table(("", "one step", "relative"), rows))
    if times:
        text.append(
            table(("", "measured", "aimed at", ""), fresh_goals(times)),
        )
    return "\n".join(text)


def fresh_goals(times: Times) -> list[tuple[str, ...]]:
    """What steps on fresh prompts should reach, and do."""
    step = fastest(times, OUR_STEP)
    eager = fastest(times, EAGER) / step
    small = f"{SMALL}: {OUR_STEP}"
    share = fastest(times, f"{SMALL}: {DRAWING}") / fastest(times, small)
    return [
        ("a step", quantity(step), "at most 3 ms", verdict(step <= 3e-3)),
        (EAGER, f"{eager:.2f} ×", "more than 1 ×", verdict(eager > 1)),
        (
            f"{SMALL}: share of drawing the prompts",
            f"{share:.2f}",
            "at most 0.5",
            verdict(share <= 0.5),
        ),
    ]


RESTRICTED_TEXT = """\
The task is to sum up the statistics of 20,000 prompts at D = 40, N = 80, on the restricted block:
"""


def restricted(measured: Mapping[str, Times]) -> str:
    """Statistics of many dimensions: their time, and the memory that they take."""
    times = measured["restricted"]
    seconds, growth = typical(times, "statistics"), typical(times, "MB")
    rows = [
        ("time of the processor", quantity(seconds), "5 s", verdict(seconds <= 5)),
        (
            "memory beyond that of the process",
            f"{growth:.0f} MB",
            "50 MB",
            verdict(growth < 50),
        ),
    ]
    head = ("", "measured", "aimed at", "")
    return "\n".join(
        ["## Statistics of many dimensions\n", RESTRICTED_TEXT, table(head, rows)]
    )


LOSSES_TEXT = """\
This section compares the loss by quadrature with the mean of squared errors over drawn prompts, the usual
way to compute it. The heads are two, with ω = 0.3, −0.2 and μ = 1.2, −1.5, at D = 5, N = 40, σ² = 0.1, on one core.

- *Errors* are relative. The quadrature states its own error, and that of the average is its standard error.
- *Fastest* is the fastest of {rounds} rounds, since the calls are short. Aims are compared with it.
"""

EQUAL_TIME = """\
In the time of one loss {prompts:,.0f} prompts are drawn and averaged. At equal time the error of the average is
{errors:.1e} times that of the quadrature. N = 10,000 takes {spread:.2f} times as long as N = 5. The aim was at most 2.
"""

LOSSES_AIMS = {softmax_losses.LOSS: 10e-3, softmax_losses.GRADIENT: 30e-3}
"""Seconds on one core."""


def losses_of_heads(measured: Mapping[str, Times]) -> str:
    """The exact loss of softmax heads, beside averages over prompts."""
    times = measured["softmax_losses"]
    rows = []
    for name in times:
        if name in softmax_losses.ERROR.values():
            continue
        median_time, fastest = typical(times, name), min(times[name]["seconds"])
        aim = LOSSES_AIMS.get(name)
        goal = ("", "") if aim is None else (quantity(aim), verdict(fastest <= aim))
        error = softmax_losses.ERROR.get(name)
        shown_error = "" if error is None else f"{typical(times, error):.1e}"
        rows.append(
            (name, quantity(median_time), quantity(fastest), *goal, shown_error)
        )
    head = ("", "median", "fastest", "aimed at", "", "relative error")
    at_equal_time = EQUAL_TIME.format(
        prompts=softmax_losses.prompts_at_equal_time(times),
        errors=softmax_losses.ratio_of_errors(times),
        spread=ratio(times, softmax_losses.LONG, softmax_losses.SHORT),
    )
    return "\n".join(
        [
            "## The loss of softmax heads\n",
            LOSSES_TEXT.format(rounds=softmax_losses.ROUNDS),
            table(head, rows),
            at_equal_time,
        ]
    )


RIDGE_TEXT = """\
This section times ridge fits of the linear read-out at D = 32, α = τ = 10, ρ = 0.01,
λ = 1e-6, with {tasks} numbers of tasks and
{repeats} data sets of each. A fit includes drawing the data set and computing the exact errors on new and on
training tasks. Times are processor time on one core. *Plain NumPy* draws every token, forms all features and solves
the normal equations.
"""

RIDGE_LAW = """\
Both sample the same law. Their mean errors at each number of tasks differ by {deviation:.2f} standard errors in root
mean square, where 1.1 is expected.
"""


def fits(measured: Mapping[str, Times]) -> str:
    """Ridge solutions from drawn summaries, beside plain NumPy on tokens."""
    times = measured["ridge_fits"]
    gain = ridge_fits.gain(times)
    rows = []
    for name in (ridge_fits.OURS, ridge_fits.PLAIN):
        total = ridge_fits.seconds_of_all(times, name)
        count = ridge_fits.REPEATS * len(ridge_fits.TASKS)
        relative = times_as(times, name, ridge_fits.OURS)
        rows.append((name, quantity(total), quantity(total / count), relative))
    goal = (
        ridge_fits.PLAIN,
        f"{gain:.1f} ×",
        f"at least {ridge_fits.AIM:.0f} ×",
        verdict(gain >= ridge_fits.AIM),
    )
    text = RIDGE_TEXT.format(tasks=len(ridge_fits.TASKS), repeats=ridge_fits.REPEATS)
    law = RIDGE_LAW.format(deviation=typical(times, ridge_fits.DEVIATION))
    return "\n".join(
        [
            "## Ridge solutions\n",
            text,
            table(("", "all fits", "one fit", "relative"), rows),
            table(("", "measured", "aimed at", ""), [goal]),
            law,
        ]
    )


COMPARED = ("fresh_prompts", "closed_forms", "reduced_flow", "full_flow")
"""Further groups with peers."""

SECTIONS: tuple[
    tuple[
        Callable[[Iterable[bool]], bool],
        tuple[str, ...],
        Callable[[Mapping[str, Times]], str],
    ],
    ...,
] = (
    (any, tuple(RUNS), runs),
    (any, ("fresh_prompts",), fresh_prompts),
    (
        any,
        SOFTMAX,
        lambda measured: softmax(
            {**measured.get(SOFTMAX[0], {}), **measured.get(SOFTMAX[1], {})}
        ),
    ),
    (all, ("softmax_losses",), losses_of_heads),
    (all, ("ridge_fits",), fits),
    (all, ("process",), lambda measured: process(measured["process"])),
    (all, ("full_block", "many_starts", "population_steps", "accumulation"), floors),
    (all, ("restricted",), restricted),
    (all, ("closed_forms", "reduced_flow", "full_flow"), courses),
    (any, (*RUNS, *SOFTMAX, *COMPARED), wins),
    (all, ("growth",), lambda measured: grown(measured["growth"])),
)
"""Whether a section needs any or all of its groups, the groups, and the section."""
