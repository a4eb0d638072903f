"""The build is configured in pyproject.toml; this adds the configuration files, which are at the top of the repository.

The package carries them as augrad/configs. Nothing is linked: a checkout without symbolic links builds the same wheel.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

ROOT = Path(__file__).resolve().parent
NEEDED = ("configs/search.yaml", "configs/train.yaml", "configs/compare.yaml", "lib/augrad/cli/search.py")


class BuildWithConfigs(build_py):
    """Copies configs/**/*.yaml into the package; an editable installation finds them where they are."""

    def configs(self) -> dict[str, str]:
        """Where each file comes from, relative to the repository, by where it goes."""
        files = sorted(path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml"))
        return {str(Path(self.build_lib, "augrad", path)): str(path) for path in files}

    def run(self) -> None:
        if missing := [name for name in NEEDED if not (ROOT / name).is_file()]:
            raise SetupError(f"this copy of the repository is not whole: it lacks {', '.join(missing)}")
        super().run()
        if self.editable_mode:
            return
        shutil.rmtree(Path(self.build_lib, "augrad", "configs"), ignore_errors=True)  # of an earlier build
        for target, source in self.configs().items():
            self.mkpath(str(Path(target).parent))
            self.copy_file(str(ROOT / source), target)

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *self.configs().values()]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *([] if self.editable_mode else self.configs())]


setup(cmdclass={"build_py": BuildWithConfigs})
