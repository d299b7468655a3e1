"""Python files of the user's own, and the models in them."""

import inspect
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from ...models.protocol import Parametrization
from ...runtime.files import AnyPath, as_path


def load_module(path: AnyPath) -> ModuleType:
    """The Python file at `path`, run as a module of its own. This is the user's code: it may do anything.

    It imports the modules in its folder, as a script does.
    ValueError if it is no Python file or fails; FileNotFoundError if it is not there.
    """
    path = as_path(path)
    spec = spec_from_file_location(path.stem, path) if path.suffix == ".py" else None
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file: its name must end in .py")
    if not path.is_file():
        raise FileNotFoundError(2, "No such file", str(path))
    module = module_from_spec(spec)
    # Last on the path, so that no file beside it hides a module of the standard library or of a package.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    # Whatever the code of the user raises is a mistake in that file.
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{path} cannot be run: {type(error).__name__}: {error}"
        ) from error
    return module


def load_model(place: str, folder: Path = Path(), **settings: Any) -> Parametrization:
    """The model at "FILE.py:NAME", a class that is called with the settings, or an object if there are none.

    A relative file is looked for in `folder`. ValueError if the file has no such name, or it makes no model.
    """
    file, _, name = place.rpartition(":")
    if not file:
        raise ValueError(f"{place} does not say which model: write {place}:NAME")
    model = getattr(load_module(folder / file), name, None)
    if model is None:
        raise ValueError(f"{file} has no {name!r}: name the model as FILE.py:NAME")
    if inspect.isclass(model) or settings:
        try:
            model = model(**settings)
        except TypeError as error:
            raise ValueError(
                f"{name} of {file} does not take these settings: {error}"
            ) from None
    if not isinstance(model, Parametrization):
        raise ValueError(
            f"{name} of {file} is no model: it needs shapes(dimension) and heads(weights)"
        )
    return model
