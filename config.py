"""pyinfra's own defaults for every run here: a plain `pyinfra INVENTORY deploy.py` must be safe."""

from pyinfra import config

config.REQUIRE_PYINFRA_VERSION = "~=3.10.0"
config.FAIL_PERCENT = 0  # stop everywhere at the first failed host
