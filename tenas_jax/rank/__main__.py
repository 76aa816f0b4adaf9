"""`python -m tenas_jax.rank`."""

import sys

from tenas_jax.rank import main

sys.exit(main())
