"""The theory of a setting at finite size: its deterministic equivalent, averaged over pools of training tasks."""

from functools import cache

from ....theory.asymptotics import Equivalent, deterministic_equivalent
from .readout_runs import Setting


@cache  # a control that reads another number of it needs the same equivalent
def equivalent_of(setting: Setting, pools: int = 100, seed: int = 0) -> Equivalent:
    """The equivalent of a setting, averaged over pools that the seeds from `seed` on draw; `test_loss` is e_ICL."""
    D = setting.dimension
    return deterministic_equivalent(
        setting.fresh,
        setting.fresh,
        setting.sequences,
        ridge=setting.ridge / D**3,
        label_row=True,
        label_weight=float(D**2),
        tasks=setting.tasks,
        pools=pools,
        seed=seed,
    )
