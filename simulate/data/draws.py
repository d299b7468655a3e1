"""Draws of a task's inputs and teachers from random numbers, the same for stored samples and fresh batches."""

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.checks import check_finite, real_array
from ...runtime.covariances import covariance_root, symmetric_root
from ...task import Task
from ...teachers import TeacherLaw


def inputs_of(task: Task, z: FloatArray) -> FloatArray:
    """x = mean + Λ^½ z of z (…, D), with the root that `input_root` gives.

    >>> inputs_of(Task([4], context_length=1), np.ones((2, 1)))
    array([[2.],
           [2.]])
    """
    # One product of matrices over all tokens: many small ones are slower.
    x = z.reshape(-1, task.dimension) @ input_root(task).T
    if np.any(task.input_mean):
        x += task.input_mean
    return x.reshape(z.shape)


def input_root(task: Task) -> FloatArray:
    """Λ^½ (D, D): the factor of Cholesky for Gaussian x, whose law does not depend on the root, else the symmetric."""
    if task.inputs.is_gaussian:
        return covariance_root(task.covariance)
    return symmetric_root(task.covariance)


def drawn_teachers(
    law: TeacherLaw, generator: np.random.Generator, count: int
) -> FloatArray:
    """So many teachers of a law, (count, K, D); ValueError for wrong shapes or numbers of a law of the user's own."""
    shape = (count, law.outputs, law.dimension)
    if count == 0:
        return np.empty(shape)
    W = real_array(law.draw(generator, count), "draws of the law of teachers")
    if W.shape != shape:
        raise ValueError(
            f"draw of the law of teachers must give shape {shape}, not {W.shape}"
        )
    check_finite(W, "draws of the law of teachers")
    return W


def add_noise(task: Task, y: FloatArray, draws: np.random.Generator) -> FloatArray:
    """The targets of labels y (P, N+1, K), to which their noise is added in place.

    They are y itself unless the query's noise differs; then one normal number of each row gives both the label that
    the context shows and the one that is asked for. The last row is a query always, and shows its target.
    """
    if not task.noise_variance and not task.query_noise_variance:
        return y
    noise = draws.standard_normal(y.shape)
    if task.query_noise_variance == task.noise_variance:
        noise *= np.sqrt(task.noise_variance)
        y += noise
        return y
    targets: FloatArray = y + np.sqrt(task.query_noise_variance) * noise
    y += np.sqrt(task.noise_variance) * noise
    y[:, -1] = targets[:, -1]
    return targets
