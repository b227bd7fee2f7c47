"""pyinfra's own defaults for every run here: a plain `pyinfra INVENTORY deploy.py` must be safe, and easy to read."""

import logging

from pyinfra import config

from kubestage.output.hook import begin

config.REQUIRE_PYINFRA_VERSION = "~=3.10.0"
config.FAIL_PERCENT = 0  # stop everywhere at the first failed host

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # a traceback, where pyinfra prints what failed in a line
begin()
