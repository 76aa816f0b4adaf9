"""`python -m tenas_jax.report`."""

import sys

from tenas_jax.command_line import interrupted
from tenas_jax.report import main

try:
    sys.exit(main())
except KeyboardInterrupt:  # while modules are loaded; afterwards the command itself answers
    sys.exit(interrupted())
