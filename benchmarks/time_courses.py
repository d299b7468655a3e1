"""Closed forms and reduced equations against solvers: scipy, diffrax, mpmath."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from attndyn import Merged, Separate, Task
from attndyn.runtime.arrays import FloatArray
from attndyn.simulate import flow, from_moments, initial_weights
from attndyn.theory import population, time_course
from attndyn.theory.linear_attention import rank_one_amplitude
from attndyn.theory.linear_attention.merged import aligned_amplitudes

from .steps import task_of
from .timing import Times, alternating

ALPHA, GAMMA, FIRST = 0.16, 2.6, 0.01
ONSET = 1 / (ALPHA * FIRST)
TIMES = np.linspace(0, 3 * ONSET, 201)
ACCURACY = 1e-10


def closed_forms() -> Times:
    """201 values of one head's amplitude to 1e-10; 10⁶ inversions; a staircase of 1000 directions."""
    wide = task_of(1_000)
    rng, many = np.random.default_rng(0), 10**6
    alpha, gamma = rng.uniform(0.01, 1, many), rng.uniform(0.5, 12, many)
    first = np.exp(rng.uniform(np.log(1e-6), np.log(0.9), many)) / np.cbrt(gamma)
    moments = rng.uniform(0, 3, many) / (alpha * first)
    stairs = np.linspace(0, 6e9, 200)
    cases: dict[str, tuple[int, Callable[[], object]]] = {
        "attndyn": (1, _amplitude),
        "LSODA": (1, lambda: _solved("LSODA")),
        "DOP853": (1, lambda: _solved("DOP853")),
        "diffrax, Tsit5": (1, _diffrax("Tsit5")),
        "diffrax, Kvaerno5": (1, _diffrax("Kvaerno5")),
        "mpmath": (1, _mpmath),
    }
    exact, cold = _mpmath(), {}
    for name, (_, work) in cases.items():
        begin = time.perf_counter()
        amplitudes = np.ravel(work())
        cold[name] = time.perf_counter() - begin
        _refuse_inexact(name, amplitudes, exact)
    single = alternating(cases, cold=cold)
    big = {
        "10⁶ inversions": (1, lambda: rank_one_amplitude(moments, first, alpha, gamma)),
        "staircase, D = 1000": (
            1,
            lambda: time_course(wide, Separate(heads=1_000), stairs, 1e-3),
        ),
    }
    return single | alternating(big)


def _amplitude() -> FloatArray:
    return rank_one_amplitude(TIMES, FIRST, ALPHA, GAMMA)


def _solved(method: str) -> FloatArray:
    def slope(_: float, v: FloatArray) -> FloatArray:
        return ALPHA * v**2 - ALPHA * GAMMA * v**5

    solution = solve_ivp(
        slope,
        (0, TIMES[-1]),
        [FIRST],
        method=method,
        t_eval=TIMES,
        rtol=1e-12,
        atol=1e-15,
    )
    return np.asarray(solution.y[0])


def _diffrax(solver: str) -> Callable[[], FloatArray]:
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    terms = diffrax.ODETerm(lambda t, v, args: ALPHA * v**2 - ALPHA * GAMMA * v**5)

    @jax.jit
    def solve() -> Any:
        return diffrax.diffeqsolve(
            terms,
            getattr(diffrax, solver)(),
            0.0,
            TIMES[-1],
            None,
            jnp.asarray(FIRST),
            saveat=diffrax.SaveAt(ts=jnp.asarray(TIMES)),
            stepsize_controller=diffrax.PIDController(rtol=1e-12, atol=1e-15),
            max_steps=100_000,
        ).ys

    return lambda: np.asarray(solve())


def _mpmath() -> FloatArray:
    """The implicit solution at 20 digits, one root at a time, in the variable in which the root is plain."""
    import mpmath

    g = mpmath.cbrt(GAMMA)
    with mpmath.workdps(20):

        def primitive(v: Any) -> Any:
            y = g * v
            logs = -mpmath.log(1 - y) / 3 + mpmath.log(1 + y + y * y) / 6
            return -1 / v + g * (
                logs - mpmath.atan((2 * y + 1) / mpmath.sqrt(3)) / mpmath.sqrt(3)
            )

        begin = mpmath.mpf(FIRST)
        ends = (begin * (1 - mpmath.mpf(10) ** -12), (1 - mpmath.mpf(10) ** -18) / g)
        goals = [primitive(begin) + ALPHA * t for t in TIMES]
        return np.array(
            [
                float(_root(lambda v, goal=goal: primitive(v) - goal, ends))
                for goal in goals
            ]
        )


def _root(gap: Callable[[Any], Any], ends: tuple[Any, Any]) -> Any:
    """Where the gap closes, or the upper end, which is the fixed point to every digit shown."""
    import mpmath

    return (
        ends[1]
        if gap(ends[1]) < 0
        else mpmath.findroot(gap, ends, solver="anderson", verify=False)
    )


def _refuse_inexact(name: str, amplitudes: FloatArray, exact: FloatArray) -> None:
    gap = float(np.max(np.abs(amplitudes / exact - 1)))
    if gap > 100 * ACCURACY:
        raise ValueError(
            f"{name} is off by {gap:.1e}: a faster wrong answer is no peer"
        )


def reduced_flow() -> Times:
    """The merged aligned equations at D = 32, from the saddle to rest, against solvers at the same accuracy."""
    moments, cases = population(task_of(32), Merged(heads=8)), {}
    b, rate, w0 = moments.b, moments.a * moments.lam, 1e-3
    u0 = w0 * b / np.linalg.norm(b)
    for span in (2e3, 2e4, 2e5):
        times = np.linspace(0, span, 201)

        def solved(method: str, times: FloatArray = times) -> FloatArray:
            def slope(_: float, x: FloatArray) -> FloatArray:
                g = b - rate * x[0] * x[1:]
                return np.concatenate(([x[1:] @ g], x[0] * g))

            begin = np.append(w0, u0)
            return np.asarray(
                solve_ivp(
                    slope,
                    (0, times[-1]),
                    begin,
                    method=method,
                    t_eval=times,
                    rtol=1e-12,
                    atol=1e-15,
                ).y
            )

        cases[f"flow time {span:g}: attndyn"] = (
            1,
            lambda times=times: aligned_amplitudes(moments, times, w0, u0),
        )
        for method in ("LSODA", "DOP853"):
            cases[f"flow time {span:g}: {method}"] = (
                1,
                lambda solved=solved, method=method: solved(method),
            )
    return alternating(cases)


def full_flow() -> Times:
    """The flow of all weights of 32 rank-one heads at D = 32 on exact moments, to 1e-10, beside LSODA."""
    task: Task = task_of(32)
    model = Separate(heads=32)
    moments = population(task, model)
    source = from_moments(
        moments.c, moments.A, moments.B, moments.Lambda, model, task.context_lengths
    )
    measured: Times = {}
    for title, scale, span in (("saddle alone", 0.05, 2e3), ("to rest", 0.3, 2e5)):
        start, times = (
            initial_weights(model, task, scale, scheme="restricted"),
            np.linspace(0, span, 21),
        )

        def run(method: str, start: Any = start, times: FloatArray = times) -> object:
            return flow(model, source, start, times, rtol=1e-10, method=method)

        cases = {
            f"{title}: {method}": (1, lambda run=run, method=method: run(method))
            for method in ("DOP853", "LSODA")
        }
        measured |= alternating(cases)
    return measured


GROUPS: dict[str, Callable[[], Times]] = {
    "closed_forms": closed_forms,
    "reduced_flow": reduced_flow,
    "full_flow": full_flow,
}
