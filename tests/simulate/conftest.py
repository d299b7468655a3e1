"""The objective of batches, in place of that of the package until it is there."""

from attndyn.simulate.attention import objectives
from attndyn.simulate.attention.forward import token_loss
from attndyn.simulate.attention.gradients import pullback
from attndyn.simulate.attention.heads import heads_of


def batch_objective(model, batches):
    to_weights = pullback(model)

    def evaluate(weights, step):
        heads = heads_of(model, weights)
        loss, (grad_a, grad_B) = token_loss(
            model, heads, batches.at(step).tokens, batches.context_lengths
        )
        return loss, to_weights(weights, grad_a, grad_B)

    return evaluate


if not hasattr(objectives, "batch_objective"):
    objectives.batch_objective = batch_objective
