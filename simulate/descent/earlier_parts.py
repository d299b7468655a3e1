"""Runs that go on: what an earlier part of a run says of it, and whether it is a part of this one."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..trajectory import Trajectory
from .optimizers import (
    OWN,
    GradientDescent,
    Optimizer,
    is_state_after,
    optimizer_from_settings,
    rates_taken,
    settings_of,
    without_rate,
)
from .options import DescentOptions

SAME_RATE = 1e-12
"""Part of itself that a scheduled learning rate may be off: another machine rounds a cosine differently."""

ANEW = "pass run.final to start anew"


class EarlierPart(NamedTuple):
    """The first steps of a run, and the checkpoint file that they were read from, if they were."""

    run: Trajectory
    path: Path | None

    def refuse_other_run(
        self, settings: dict[str, Any], options: DescentOptions, keeps_state: bool
    ) -> None:
        """ValueError unless a run with these settings and options may go on from here."""
        run = self.run
        if run.settings.get("digest") != settings["digest"]:
            self.refuse(_difference(run, settings, options.rule))
        if not self._has_rates_of(options):
            self.refuse("learning rate")
        last = run.weight_time[-1] if len(run.weight_time) else -1
        if len(run.loss) != last:
            raise ValueError(
                f"{self.name} does not hold the weights after its last step, as of a run that diverged: {ANEW}"
            )
        has_state = run.state is not None
        if has_state != keeps_state:
            self.refuse("optimizer's state")
        if keeps_state and not is_state_after(
            options.rule, run.state, run.final, len(run.loss)
        ):
            self.refuse("optimizer's state")
        if len(run.loss) > options.steps:
            raise ValueError(
                f"{self.name} has {len(run.loss)} steps already, more than {options.steps}: steps counts from the "
                f"beginning, so ask for at least {len(run.loss)}"
            )

    @property
    def name(self) -> str:
        """What a message calls it."""
        return "the run" if self.path is None else str(self.path)

    def refuse(self, part: str) -> None:
        """ValueError: it is of another run, which this part of it shows."""
        if self.path is None:
            raise ValueError(
                f"the run cannot go on here, since its {part} is another one: {ANEW}"
            )
        raise ValueError(
            f"{self.path} is a checkpoint of another run: choose another file or delete it (its {part} is another one)"
        )

    def _has_rates_of(self, options: DescentOptions) -> bool:
        """Whether the learning rates of all its steps are those that the options name."""
        run, done = self.run, len(self.run.loss)
        if options.plain_rate is not None and run.learning_rate is not None:
            return run.learning_rate == options.plain_rate
        if options.rates is None:
            return run.learning_rates is None
        if run.learning_rates is None or done > options.steps:
            # Too many steps have a message of their own.
            return run.learning_rates is not None
        taken = rates_taken(options.rule, options.rates[:done], run.gradient_norm)
        return np.allclose(run.learning_rates, taken, rtol=SAME_RATE, atol=0.0)


def _difference(run: Trajectory, settings: dict[str, Any], optimizer: Optimizer) -> str:
    """Which part of a run differs from these settings."""
    theirs = run.optimizer or settings_of(GradientDescent(1.0))
    if without_rate(theirs) != without_rate(settings_of(optimizer)):
        return "optimizer"
    for name in ("batch", "source"):
        if run.settings.get(name) != settings.get(name):
            return {"source": "data"}.get(name, name)
    if _differently_frozen(run.settings.get("frozen"), settings.get("frozen")):
        return "set of frozen weights"
    # Experiments keep a seed of their own, which is no batch's without batches.
    if "batch" in settings and run.settings.get("seed") != settings.get("seed"):
        return "seed"
    same_model = run.settings.get("model") == settings["model"]
    return "model or start" if same_model else "model"


def _differently_frozen(theirs: Any, ours: Any) -> bool:
    """Whether two runs keep other weights as they are: masks by name, or an experiment's names of whole weights."""
    if isinstance(theirs, dict):
        return bool(theirs != ours)
    return sorted(theirs or ()) != sorted(ours or ())


def refuse_foreign(run: Trajectory) -> None:
    """ValueError for a run that has no steps of ours to go on from."""
    if run.is_external:
        raise ValueError(
            f"a run that was brought from outside cannot go on, since its optimizer's state is not known: {ANEW}"
        )
    if run.is_flow:
        raise ValueError(f"a gradient flow has no steps to go on from: {ANEW}")
    if "digest" not in run.settings or len(run.steps) != len(run.loss):
        raise ValueError(f"only a run that train returned can go on: {ANEW}")


class Choices(NamedTuple):
    """What was chosen for a run besides its numbers of steps: by the caller, or for a run that goes on, by that run."""

    learning_rate: Any
    optimizer: Any
    batch: int | None
    seed: int | None
    frozen: Any

    def completed_by(self, run: Trajectory) -> "Choices":
        """The same, with what was left out as in an earlier run; ValueError where that does not hold it."""
        learning_rate, optimizer = self.learning_rate, self.optimizer
        if learning_rate is None and optimizer is None:
            optimizer = _optimizer_of(run)
        batch = self.batch
        if batch is None:
            batch = run.settings.get("batch")
        seed = self.seed
        if seed is None and batch is not None:
            seed = run.settings.get("seed")
        frozen = self.frozen
        # What is no collection is refused where frozen weights are checked.
        if isinstance(frozen, Collection) and len(frozen) == 0:
            frozen = run.settings.get("frozen") or ()
        return Choices(learning_rate, optimizer, batch, seed, frozen)


def _optimizer_of(run: Trajectory) -> GradientDescent | Any:
    """The optimizer of a run that goes on; ValueError where a run cannot hold it."""
    settings = run.optimizer
    if settings is None:
        return GradientDescent(run.learning_rate or 0.0)
    if settings["name"] == OWN:
        raise ValueError(
            f"the run was made with an optimizer of your own ({settings['called']}), which a run does not hold: pass "
            "it as optimizer="
        )
    if settings["learning_rate"] is None:
        raise ValueError(
            "the run was made with a function as learning rate, which a run does not hold: pass optimizer= with it"
        )
    return optimizer_from_settings(settings)
