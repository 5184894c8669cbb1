"""One script per performance goal, each beside its baseline and its limit."""

import warnings

# The embedded server's folder library warns about desktop sessions.
warnings.filterwarnings("ignore", message=".*XDG_RUNTIME_DIR.*")
