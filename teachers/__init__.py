"""Laws of teachers W (K, D): the labels of a prompt are y = W x + noise, K of them for every x."""

from .checking import checked_law
from .gaussian import Gaussian
from .identity import law_identity, laws_within
from .law import LAWS, law_from_dict, law_settings
from .mixture import Mixture
from .named_gaussians import reader_of
from .pool import POOL_STREAM, Pool, PoolRecipe
from .protocol import TeacherLaw
from .sphere import Sphere

__all__ = [
    "LAWS",
    "POOL_STREAM",
    "Gaussian",
    "Mixture",
    "Pool",
    "PoolRecipe",
    "Sphere",
    "TeacherLaw",
    "checked_law",
    "law_from_dict",
    "law_identity",
    "law_settings",
    "laws_within",
]

LAWS.update(
    gaussian=Gaussian.from_dict,
    sphere=Sphere.from_dict,
    pool=Pool.from_dict,
    mixture=Mixture.from_dict,
    shared_basis=reader_of(Gaussian.shared_basis),
    kronecker=reader_of(Gaussian.kronecker),
    on_supports=reader_of(Gaussian.on_supports),
)
