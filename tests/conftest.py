"""What every test may lean on.

Test files are imported on their own (``--import-mode=importlib``), so the helper
modules beside them are put on the path here, once.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
