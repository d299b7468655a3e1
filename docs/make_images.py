"""Writes the pictures of pages, docs/images, from scripts of the gallery: `python docs/make_images.py`."""

import runpy
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOCS = Path(__file__).parent
GALLERY = DOCS / "gallery_src"

IMAGES = {
    "fixed_points.png": "derivations/plot_fixed_points.py",
    "in_context_in_weight.png": "merged/plot_in_context_in_weight.py",
    "one_drop.png": "merged/plot_one_drop.py",
    "ranks.png": "separate/plot_ranks.py",
    "regression_along_training.png": "separate/plot_regression_along_training.py",
    "staircase.png": "separate/plot_staircase.py",
}
"""Each picture of docs/images that a script of the gallery draws."""

DOTS_PER_INCH = 200
"""Twice those of the site, for screens of high density."""


class GalleryRun(NamedTuple):
    """What a script printed, the figures that it left, its names, and its seconds of processor time."""

    output: str
    figures: "list[Figure]"
    names: dict[str, Any]
    seconds: float


def scripts() -> list[str]:
    """The scripts of the gallery, as SECTION/plot_NAME.py."""
    return sorted(
        path.relative_to(GALLERY).as_posix() for path in GALLERY.glob("*/plot_*.py")
    )


def run_script(path: Path) -> GalleryRun:
    """Run a script as the gallery does, on one thread, with warnings as errors."""
    import gallery_style
    import matplotlib.pyplot as plt
    from threadpoolctl import threadpool_limits

    plt.close("all")
    gallery_style.reset()
    printed = StringIO()
    begin = process_time()
    # Threads that wait for each other would cost more than the small matrices do.
    one_thread = threadpool_limits(1)
    with one_thread, warnings.catch_warnings(), redirect_stdout(printed):
        warnings.simplefilter("error")
        names = runpy.run_path(str(path))
    seconds = process_time() - begin
    figures = [plt.figure(number) for number in plt.get_fignums()]
    return GalleryRun(printed.getvalue(), figures, names, seconds)


def main() -> None:
    """Write every picture."""
    for image, script in IMAGES.items():
        (figure,) = run_script(GALLERY / script).figures
        # Without the version of matplotlib, so that the same figure has the same bytes.
        figure.savefig(
            DOCS / "images" / image, dpi=DOTS_PER_INCH, metadata={"Software": None}
        )
        print(f"docs/images/{image} from docs/gallery_src/{script}")


if __name__ == "__main__":
    main()
