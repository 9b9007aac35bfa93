"""What pyproject.toml cannot say: config.yaml, which lies outside the package, comes with it.

There is one, in the root, which Snakemake reads and users edit. An editable installation reads that
one; of all others the built package has a copy (`spikereach.config.default`).
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfig(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib, "spikereach", "paper")
            self.mkpath(str(folder))
            self.copy_file("config.yaml", str(folder))


setup(cmdclass={"build_py": BuildWithConfig})
