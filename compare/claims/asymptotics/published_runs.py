"""Numbers of simulations that Lu et al. published with their code, MIT licence.

The task gap e_ICL − e_IDG at α = τ = 10, ρ = 0.01, λ = 1e-6, of the repository
Pehlevan-Group/incontext-asymptotics-experiments (commit 9f9b562), and errors around the interpolation threshold at
d = 100, κ = 1/2, ρ = 0.01, λ = 1e-8, of Pehlevan-Group/icl-asymptotic (commit 1252a4f). Deviations are standard
deviations over data sets.
"""

from typing import NamedTuple


class PublishedGap(NamedTuple):
    """The gap at k tasks and n sequences: its mean over 20 data sets, and its standard deviation."""

    tasks: int
    sequences: int
    mean: float
    deviation: float


class PublishedErrors(NamedTuple):
    """Errors at n sequences in contexts of l tokens: means over 10 data sets, and standard deviations."""

    context_length: int
    sequences: int
    icl: float
    icl_deviation: float
    idg: float
    idg_deviation: float


GAP_SETS = 20
GAP_NOISE, GAP_RIDGE = 0.01, 1e-6
GAPS = {
    10: (
        PublishedGap(2, 1000, 1.452082665, 0.216922),
        PublishedGap(4, 1000, 0.9249750964, 0.0918237),
        PublishedGap(6, 1002, 0.6760891226, 0.0899711),
        PublishedGap(8, 1000, 0.4293088941, 0.0693311),
        PublishedGap(10, 1000, 0.2662416268, 0.0524483),
        PublishedGap(12, 996, 0.1543074222, 0.0464302),
        PublishedGap(16, 992, 0.06372931011, 0.025792),
        PublishedGap(20, 1000, 0.04552148167, 0.0204562),
        PublishedGap(40, 1000, 0.01128747071, 0.00542165),
        PublishedGap(80, 960, 0.004241468494, 0.00397059),
        PublishedGap(160, 960, 0.001936136055, 0.00349918),
        PublishedGap(320, 960, 0.001073458922, 0.00380159),
    ),
    32: (
        PublishedGap(6, 10242, 1.009860492, 0.0433937),
        PublishedGap(12, 10236, 0.749811135, 0.030787),
        PublishedGap(19, 10241, 0.5063599191, 0.0167368),
        PublishedGap(25, 10250, 0.3259759196, 0.0101544),
        PublishedGap(32, 10240, 0.1906524138, 0.0176168),
        PublishedGap(38, 10222, 0.1250774336, 0.0125594),
        PublishedGap(51, 10251, 0.05272509895, 0.00621961),
        PublishedGap(64, 10240, 0.03316175802, 0.00462778),
        PublishedGap(128, 10240, 0.009804560151, 0.00127552),
        PublishedGap(256, 10240, 0.004012970649, 0.0010645),
        PublishedGap(512, 10240, 0.001795294118, 0.000860451),
        PublishedGap(1024, 10240, 0.0007767850108, 0.000743416),
    ),
}
"""d → gaps, in contexts of 10 d tokens."""

THRESHOLD_SETS = 10
THRESHOLD_DIMENSION, THRESHOLD_TASKS = 100, 50
THRESHOLD_NOISE, THRESHOLD_RIDGE = 0.01, 1e-8
THRESHOLD = (
    PublishedErrors(100, 2000, 1.04656736, 0.0040435, 0.80638483, 0.00490392),
    PublishedErrors(100, 5000, 1.30500792, 0.00852497, 0.82931829, 0.00973484),
    PublishedErrors(100, 8500, 3.27416878, 0.07146102, 2.16371212, 0.05534399),
    PublishedErrors(100, 11500, 4.16739165, 0.12035215, 2.62900041, 0.07425574),
    PublishedErrors(100, 15000, 1.76982488, 0.02255135, 0.95845633, 0.01423293),
    PublishedErrors(100, 20000, 1.27852296, 0.01218264, 0.62503899, 0.00878982),
    PublishedErrors(1000, 2000, 0.86685409, 0.00518978, 0.55307697, 0.00978126),
    PublishedErrors(1000, 5000, 0.8321207, 0.00737516, 0.2524425, 0.00673408),
    PublishedErrors(1000, 8500, 2.20047919, 0.06252752, 0.41896703, 0.01572619),
    PublishedErrors(1000, 11500, 3.10658233, 0.1293751, 0.46766386, 0.02038636),
    PublishedErrors(1000, 15000, 1.29963055, 0.03050853, 0.17348921, 0.00327455),
    PublishedErrors(1000, 20000, 0.94377867, 0.01579622, 0.1148372, 0.00128032),
)
"""Errors around n = d (d + 1)."""
