"""What pyproject.toml cannot say: the compiled modules are translated and compiled side by side, not one by one."""

from __future__ import annotations

import os
import sys

from Cython.Build import cythonize
from setuptools import setup
from setuptools.command.build_ext import build_ext


class BuildInParallel(build_ext):
    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def run(self) -> None:
        # Cython's workers are forked; elsewhere they would begin by running this file again.
        workers = os.cpu_count() if sys.platform == "linux" else 0
        translated = cythonize(self.extensions, nthreads=workers or 0, language_level=3)
        for extension, done in zip(self.extensions, translated, strict=True):
            extension.sources = done.sources
        super().run()


setup(cmdclass={"build_ext": BuildInParallel})
