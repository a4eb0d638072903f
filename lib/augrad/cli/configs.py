"""Where Hydra finds the configuration files."""

from augrad.paths import config_directory

__all__ = ["config_directory"]
