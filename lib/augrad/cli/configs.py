"""Where the configuration files are: `configs` in the installed package; in a clone, at the top of the repository."""

from pathlib import Path

import augrad


def config_directory() -> str:
    """The absolute path of the folder that holds search.yaml, train.yaml, compare.yaml and the groups.

    Raises FileNotFoundError where there is none, that is, where augrad was copied without its configuration.
    """
    package = Path(augrad.__file__).resolve().parent
    places = package / "configs", package.parents[1] / "configs"
    for place in places:
        if (place / "search.yaml").is_file():
            return str(place)
    raise FileNotFoundError(f"augrad is not whole: its configuration is neither in {places[0]} nor in {places[1]}")
