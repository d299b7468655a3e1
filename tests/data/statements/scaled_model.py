class Scaled:
    """One merged head whose scores are divided by the root of the size of a token, as most code does."""

    def shapes(self, dimension):
        return {
            "value": (1, dimension + 1),
            "key_query": (1, dimension + 1, dimension + 1),
        }

    def heads(self, weights):
        return weights["value"], weights["key_query"][..., :-1] / weights[
            "key_query"
        ].shape[-1] ** 0.5


class ScaledNumpy(Scaled):
    def heads(self, weights):
        import numpy as np

        return weights["value"], weights["key_query"][..., :-1] / np.sqrt(
            weights["key_query"].shape[-1]
        )


class ScaledSympy(Scaled):
    def heads(self, weights):
        import sympy as sp

        return weights["value"], weights["key_query"][..., :-1] / sp.sqrt(
            weights["key_query"].shape[-1]
        )
