"""The picture of the landing page, once for light pages and once for dark ones: a run and its theory."""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

FOLDER = Path(__file__).parents[1] / "_static" / "generated"
COLOURS = {
    "light": {"text": "#222832", "line": "#c9ced6", "run": "#0072b2"},
    "dark": {"text": "#ced6dd", "line": "#48566b", "run": "#56b4e9"},
}


def staircase_and_run() -> tuple[Any, Any, Any]:
    """Gradient descent from small random weights, the predicted time course, and the predicted staircase."""
    from attndyn import Separate, Task
    from attndyn.simulate import initial_weights, sample, statistics, train
    from attndyn.theory import staircase, time_course

    task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
    model = Separate(heads=5, rank=1, divisor="none")
    start = initial_weights(model, task, scale=0.02, seed=1, scheme="zhang2025")
    data = statistics(sample(task, 80_000, seed=0), model)
    run = train(model, data, start, learning_rate=0.02, steps=16_000)
    return (
        run,
        time_course(task, model, run.flow_time, start),
        staircase(task, model, start),
    )


def draw(theme: str, run: Any, curve: Any, predicted: Any) -> None:
    """Write `landing-light.svg` or `landing-dark.svg`, on a transparent ground."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    colour = COLOURS[theme]
    settings = {
        "svg.hashsalt": "attndyn",  # the same bytes from every build
        "svg.fonttype": "path",
        "font.size": 11,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "xtick.color", "ytick.color"),
            colour["text"],
        ),
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(6.8, 3.9), layout="constrained")
        axes = figure.add_subplot()
        for loss, subset in zip(predicted.plateaus, predicted.subsets, strict=True):
            name = "{" + ",".join(map(str, subset)) + "}" if subset else "∅"
            axes.axhline(loss, color=colour["line"], lw=0.9, zorder=0)
            axes.annotate(
                name, (1.01, loss), xycoords=("axes fraction", "data"), va="center"
            )
        axes.plot(
            run.flow_time,
            run.loss,
            color=colour["run"],
            lw=3.2,
            label="gradient descent",
        )
        axes.plot(
            run.flow_time,
            curve.loss,
            color=colour["text"],
            lw=1.4,
            ls=(0, (5, 3)),
            label="theory, nothing fitted",
        )
        axes.set(
            xlabel="flow time",
            ylabel="loss",
            ylim=(0, 1.06),
            xlim=(0, run.flow_time[-1]),
        )
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(colour["line"])
        axes.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.68))
        figure.savefig(
            FOLDER / f"landing-{theme}.svg", transparent=True, metadata={"Date": None}
        )


def draw_both(app: Sphinx) -> None:
    """Draw them before the pages are read, unless this script's pictures are there already."""
    files = [FOLDER / f"landing-{theme}.svg" for theme in COLOURS]
    newest = Path(__file__).stat().st_mtime
    if all(file.is_file() and file.stat().st_mtime > newest for file in files):
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    shown = staircase_and_run()
    for theme in COLOURS:
        draw(theme, *shown)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", draw_both)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
