"""Tasks that tests of this wing share."""

import numpy as np

from attndyn import Merged, Task
from attndyn.teachers import Gaussian


def modes(eigenvalues, N, teachers=None, noise=0.0):
    """A task in the coordinates of its modes, all of whose teachers vary by 1 unless said."""
    teachers = [1] * len(eigenvalues) if teachers is None else teachers
    return Task(
        eigenvalues,
        teachers=Gaussian.shared_basis(teachers),
        context_length=N,
        noise_variance=noise,
    )


def hostile_task(generator):
    """A rotated task with equal, tiny and vanishing variances, some of its context lengths several."""
    D = int(generator.integers(2, 6))
    basis = np.linalg.qr(generator.normal(size=(D, D)))[0]
    inputs = generator.choice([2, 1, 0.5, 0.3, 0.01, 0], size=D)
    variances = generator.choice([1, 0, 2.0, 0.3], size=D)
    inputs[0] = variances[0] = 1
    N = (2, 5, 9) if generator.random() < 0.3 else int(generator.integers(1, 20))
    task = Task(
        covariance=basis @ np.diag(inputs) @ basis.T,
        teachers=Gaussian.shared_basis(variances, basis),
        context_length=N,
        noise_variance=generator.choice([0, 0.1, 2.0]),
    )
    divisor = generator.choice(["tokens", "context"])
    return task, Merged(heads=1, outputs=D, divisor=str(divisor))
