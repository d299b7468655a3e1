"""The task of the papers on softmax heads, in the sizes that tests need."""

import numpy as np

from attndyn import Task


def white(dimension=5, length=40, noise=0.1, **settings):
    """x ~ N(0, 1) and teachers w ~ N(0, 1/D), at the published sizes if these are left out."""
    return Task(
        [1] * dimension,
        teacher_covariance=np.eye(dimension) / dimension,
        noise_variance=noise,
        context_length=length,
        **settings,
    )
