"""Training of a network with PyTorch, in steps that go on from a file to the same bits."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray
from ...runtime.checks import is_whole_number, whole_number
from ...runtime.executors import require_extra
from ...runtime.files import AnyPath, as_path
from ...runtime.progress import with_progress
from ..data.prompts import stream
from .checkpoint_files import STATE, NetworkRun, load_network_run
from .protocol import Problem, Tensor, TorchNetwork

SAVE_EVERY = 200
"""Steps after which the state is written between checkpoints: some seconds of work."""

MEANS = {"mean": "exp_avg", "square": "exp_avg_sq"}
"""What the state calls Adam's means, and what PyTorch calls them."""


def train_torch_network(
    network: TorchNetwork,
    *,
    steps: int,
    out: AnyPath | None = None,
    checkpoints: Sequence[int] | None = None,
    seed: int = 0,
    anew: bool = False,
) -> NetworkRun:
    """Train a network from random weights until `steps` steps are taken in all; needs PyTorch.

    `checkpoints` are the steps before which the weights are stored: those of the network if left out, and the last. The
    run is written to `out` at each of them and every 200 steps, and goes on from that file if it is there, also to
    more steps than before: to the same bits, with the same version of PyTorch. Weights are in single precision, on
    one thread. `seed` draws weights, data and batches; with `anew` a file that is there is replaced.

    ValueError if PyTorch is missing, or the file is of another run; ArithmeticError if the loss is no longer finite.

    >>> from attndyn.simulate.torch_models import ModularAddition, train_torch_network
    >>> train_torch_network(ModularAddition(), steps=0)
    Traceback (most recent call last):
    ValueError: steps must be a whole number of at least 1, not 0
    """
    if not hasattr(network, "problem") or isinstance(network, type):
        raise ValueError(
            f"network must be one, such as ModularAddition() or AttentionOnly(), not {network!r}"
        )
    whole_number(steps, "steps")
    whole_number(seed, "seed", least=0)
    planned = _planned(network, steps, checkpoints)
    path = None if out is None else as_path(out)
    torch = require_extra("torch", "torch")
    earlier = None
    if path is not None and path.exists() and not anew:
        earlier = _earlier(path, network, seed, steps)
        _refuse_passed_checkpoints(path, earlier, planned)
    with _one_thread(torch):
        run = _Run(torch, network, seed, earlier)
        run.until(steps, planned, path)
        return run.result()


def _planned(
    network: TorchNetwork, steps: int, checkpoints: Sequence[int] | None
) -> set[int]:
    """The steps of the checkpoints; ValueError for what is no step of the run."""
    if checkpoints is None:
        return {step for step in network.checkpoint_steps if step < steps} | {steps}
    for step in checkpoints:
        if not is_whole_number(step, 0) or step > steps:
            raise ValueError(
                f"checkpoints must be whole numbers from 0 to the {steps} steps, not {step!r}"
            )
    return {int(step) for step in checkpoints} | {steps}


def _earlier(path: Path, network: TorchNetwork, seed: int, steps: int) -> NetworkRun:
    """The run in a file; ValueError if it is of other settings, or has more steps."""
    run = load_network_run(path)
    stated = {**run.settings["network"], "seed": run.settings["seed"]}
    wanted = {**network.to_dict(), "seed": seed}
    for name in sorted({*stated, *wanted}):
        if stated.get(name) != wanted.get(name):
            raise ValueError(
                f"{path} is a run with {name} = {stated.get(name)!r}, not {wanted.get(name)!r}: choose another file"
            )
    _refuse_other_state(path, run, network)
    if run.last_step > steps:
        raise ValueError(
            f"{path} has {run.last_step} steps already, and {steps} are asked for: choose another file"
        )
    return run


def _refuse_other_state(path: Path, run: NetworkRun, network: TorchNetwork) -> None:
    """ValueError unless a file has all that a run goes on from, in the network's shapes."""
    kinds = ["weight", *MEANS] if run.last_step else ["weight"]
    for name, shape in network.shapes().items():
        for kind in kinds:
            value = run.state.get(f"{kind}_{name}")
            if value is None or value.shape != shape or value.dtype != np.float32:
                raise ValueError(
                    f"{path} has no {STATE}{kind}_{name} of shape {shape} in single precision to go on from: choose "
                    "another file"
                )


def _refuse_passed_checkpoints(
    path: Path, earlier: NetworkRun, planned: set[int]
) -> None:
    """ValueError for checkpoints before the end of the earlier part that it does not have."""
    passed = {step for step in planned if step <= earlier.last_step}
    missing = sorted(passed - set(earlier.steps.tolist()))
    if missing:
        raise ValueError(
            f"{path} has passed step {missing[0]} without a checkpoint there: choose another file, or other checkpoints"
        )


@contextmanager
def _one_thread(torch: Any) -> Iterator[None]:
    """PyTorch on one thread: the matrices are small, and sums do not depend on how they are divided."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def initial_weights(network: TorchNetwork, seed: int) -> dict[str, NDArray[np.float32]]:
    """The first weights: biases of 0, and all others normal with the network's scales, in single precision.

    >>> from attndyn.simulate.torch_models import ModularAddition
    >>> initial_weights(ModularAddition(), seed=0)["Q"].shape
    (2, 24, 48)
    """
    shapes = network.shapes()
    random = stream(seed, "weights")
    weights = {}
    for name, shape in shapes.items():
        value = np.zeros(shape)
        if len(shape) > 1:
            value = network.initial_scale(name) * random.standard_normal(shape)
        weights[name] = value.astype(np.float32)
    return weights


class _Run:
    """A run on its way: tensors, the optimizer, and what has been recorded."""

    def __init__(
        self,
        torch: Any,
        network: TorchNetwork,
        seed: int,
        earlier: NetworkRun | None,
    ) -> None:
        self._torch = torch
        self._network = network
        self._seed = seed
        self._problem: Problem = network.problem(torch, seed)
        self.step = 0 if earlier is None else earlier.last_step
        self._steps: list[int] = []
        self._log: list[tuple[float, ...]] = []
        self._stored: list[dict[str, FloatArray]] = []
        start = initial_weights(network, seed)
        if earlier is not None:
            self._steps = [int(step) for step in earlier.steps]
            self._log = [tuple(row) for row in earlier.log.tolist()]
            self._stored = [
                {name: array[index] for name, array in earlier.weights.items()}
                for index in range(len(self._steps))
            ]
            start = {name: earlier.state[f"weight_{name}"] for name in start}
        self._weights: dict[str, Tensor] = {
            name: torch.tensor(value, requires_grad=True)
            for name, value in start.items()
        }
        self._optimizer = network.optimizer(torch, self._weights.values())
        if earlier is not None and self.step:
            self._restore_means(earlier)

    def until(self, steps: int, planned: set[int], path: Path | None) -> None:
        """Take all steps up to `steps`, and record and write on the way."""
        remaining = range(self.step, steps + 1)
        for step in with_progress(remaining, len(remaining), "training"):
            self.step = step
            self._record(step, is_checkpoint=step in planned, is_last=step == steps)
            is_due = step in planned or step % SAVE_EVERY == 0
            if path is not None and is_due:
                self.result().save(path)
            if step < steps:
                self._descend(step)

    def result(self) -> NetworkRun:
        """What has been recorded, and the present state."""
        constants = self._network.constants(self._seed)
        names = self._stored[0]
        settings = {
            "network": self._network.to_dict(),
            "seed": self._seed,
            "torch": str(self._torch.__version__),
            "constants": sorted(constants),
        }
        return NetworkRun(
            settings=settings,
            steps=np.array(self._steps),
            weights={
                name: np.stack([stored[name] for stored in self._stored])
                for name in names
            },
            log=np.array(self._log),
            log_columns=self._network.log_columns,
            constants=constants,
            state=self._state(),
        )

    def _record(self, step: int, *, is_checkpoint: bool, is_last: bool) -> None:
        """Log and store what is due before this step, unless an earlier part has it."""
        is_logged = bool(self._log) and self._log[-1][0] >= step
        if not is_logged and (is_last or step % self._network.log_every == 0):
            with self._torch.no_grad():
                numbers = self._problem.measured(self._weights)
            self._log.append((float(step), *numbers))
        # The first weights are always stored, so that there are some in every file.
        is_due = is_checkpoint or not self._steps
        if is_due and step not in self._steps:
            self._steps.append(step)
            self._stored.append(self._network.stored(self._numbers()))

    def _descend(self, step: int) -> None:
        """One step; ArithmeticError if the loss is not finite."""
        self._optimizer.zero_grad()
        loss = self._problem.loss(self._weights, step)
        if not math.isfinite(float(loss.detach())):
            raise ArithmeticError(
                f"the training diverged: the loss is not finite at step {step}; choose a smaller learning rate"
            )
        loss.backward()
        self._optimizer.step()

    def _numbers(self) -> dict[str, Any]:
        """Copies of the present weights."""
        return {
            name: weight.detach().numpy().copy()
            for name, weight in self._weights.items()
        }

    def _state(self) -> dict[str, NDArray[Any]]:
        """The step, the weights and the means of the optimizer."""
        state: dict[str, NDArray[Any]] = {"step": np.array(self.step)}
        for name, value in self._numbers().items():
            state[f"weight_{name}"] = value
        for name, weight in self._weights.items():
            own = self._optimizer.state.get(weight, {})
            for mean, key in MEANS.items():
                if key in own:
                    state[f"{mean}_{name}"] = own[key].numpy().copy()
        return state

    def _restore_means(self, earlier: NetworkRun) -> None:
        """Give the optimizer the means and the count of steps that it had."""
        for name, weight in self._weights.items():
            own = {"step": self._torch.tensor(float(self.step))}
            for mean, key in MEANS.items():
                own[key] = self._torch.tensor(earlier.state[f"{mean}_{name}"])
            self._optimizer.state[weight] = own
