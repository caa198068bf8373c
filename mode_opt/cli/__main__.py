"""``python -m mode_opt.cli``, for where the script is not on the path."""

import sys

from mode_opt.cli import main

sys.exit(main())
