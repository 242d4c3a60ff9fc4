"""verl without an accelerator, active only under `VERL_PLATFORM=cpu`.

verl is imported first: its plug-in loading registers the platform, whichever module is imported first.
"""

import verl  # noqa: F401
