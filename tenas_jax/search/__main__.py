"""`python -m tenas_jax.search`."""

import sys

from tenas_jax.search import main

sys.exit(main())
