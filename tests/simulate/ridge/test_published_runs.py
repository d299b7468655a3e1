"""Ridge solutions on drawn summaries against simulations that Lu et al. published with their code.

The task gap e_ICL − e_IDG at d = 10, α = τ = 10, ρ = 0.01, λ = 1e-6: its mean and standard deviation over 20 data
sets of the repository Pehlevan-Group/incontext-asymptotics-experiments, commit 9f9b562.
"""

import numpy as np
import pytest

from attndyn import Task
from attndyn.simulate import exact_risk, ridge_fit, sample_summaries
from attndyn.teachers import Sphere

D, N, NOISE, RIDGE = 10, 100, 0.01, 1e-6
PUBLISHED_SETS, OUR_SETS = 20, 30

# Tasks, sequences, and the published mean and standard deviation.
PUBLISHED = [
    (4, 1000, 0.9249750964130745, 0.09182368137750448),
    (8, 1000, 0.42930889405157946, 0.0693311154027634),
    (12, 996, 0.15430742216831309, 0.046430166731072926),
    (20, 1000, 0.04552148167045085, 0.020456160481375555),
    (80, 960, 0.00424146849431678, 0.0039705917927632325),
]


def task_gap(tasks, sequences, seed, dimension=D, ridge=RIDGE):
    """e_ICL − e_IDG of the ridge solution on one data set."""
    settings = {"context_length": N * dimension // D, "noise_variance": NOISE}
    Λ = [1 / dimension] * dimension
    pool = Sphere(dimension).pool(tasks, seed=seed)
    training = Task(Λ, teachers=pool, **settings)
    data = sample_summaries(training, sequences, seed=1000 + seed, balanced=True)
    M = ridge_fit(
        data, ridge=ridge / dimension**3, label_row=True, label_weight=dimension**2
    )
    fresh = Task(Λ, teachers=Sphere(dimension), **settings)
    return exact_risk(fresh, M) - exact_risk(training, M)


def z_score(gaps, mean, deviation):
    """The difference of two means in standard errors, with that of our sets and that of the published ones."""
    ours = np.std(gaps, ddof=1) / np.sqrt(len(gaps))
    theirs = deviation / np.sqrt(PUBLISHED_SETS - 1)  # of a population, as stored
    return (np.mean(gaps) - mean) / np.hypot(ours, theirs)


@pytest.mark.parametrize(("tasks", "sequences", "mean", "deviation"), PUBLISHED)
def test_gaps_are_those_of_the_published_runs(tasks, sequences, mean, deviation):
    gaps = [task_gap(tasks, sequences, seed) for seed in range(OUR_SETS)]
    assert abs(z_score(gaps, mean, deviation)) < 3.5


def test_gaps_of_other_settings_are_told_apart():
    tasks, sequences, mean, deviation = PUBLISHED[1]
    few = [task_gap(tasks, sequences // 4, seed) for seed in range(OUR_SETS)]
    assert z_score(few, mean, deviation) > 5
    # The gap of another dimension at the same ratios: what the limit d → ∞ would be taken for.
    larger = [task_gap(16, 4 * sequences, seed, dimension=20) for seed in range(20)]
    assert z_score(larger, mean, deviation) < -3.5


def test_the_peak_of_double_descent_is_at_as_many_sequences_as_features():
    d = 12
    Λ = [1 / d] * d
    settings = {"context_length": d, "noise_variance": NOISE}
    fresh = Task(Λ, teachers=Sphere(d), **settings)

    def error(ratio, ridge):
        """e_ICL at n = ratio · d (d + 1), the median over data sets: the mean has heavy tails at the pole."""
        errors = []
        for seed in range(10):
            pool = Sphere(d).pool(d // 2, seed=seed)
            training = Task(Λ, teachers=pool, **settings)
            sequences = round(ratio * d * (d + 1))
            data = sample_summaries(training, sequences, seed=seed, balanced=True)
            M = ridge_fit(data, ridge=ridge / d**3, label_row=True, label_weight=d**2)
            errors.append(exact_risk(fresh, M))
        return float(np.median(errors))

    below, at_pole, above = (error(ratio, 0.0) for ratio in (0.5, 1.0, 3.0))
    assert at_pole > 10 * max(below, above)
    below, at_pole, above = (error(ratio, 0.1) for ratio in (0.5, 1.0, 3.0))
    assert at_pole < 1.5 * max(below, above)
