"""Von Oswald et al. 2023 (arXiv 2212.07677): inputs uniform on (-1/2, 1/2)^10, contexts of 10 pairs.

One layer of linear attention at its best is one preconditioned step of gradient descent; Gaussian inputs of the same
covariance would give another error.
"""

from attndyn import Merged, Task
from attndyn.theory import population

uniform = Task([1 / 12] * 10, inputs="uniform", context_length=10)
gaussian = Task([1 / 12] * 10, context_length=10)

loss = population(uniform, Merged(heads=1)).minimum_loss
other = population(gaussian, Merged(heads=1)).minimum_loss
print(f"least loss, uniform inputs: published 0.41246, here {loss:.5f}")
print(f"least loss, Gaussian inputs of the same covariance: {other:.5f}")
