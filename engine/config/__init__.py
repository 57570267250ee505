"""The configuration of a run: every limit by its name, its unit last, its meaning beside it.

It never holds a secret: the key comes from the environment or from a file that is only named here.
"""

from engine.config.keys import describe_keys
from engine.config.run_config import RunConfig
from engine.config.sections import PRESETS

__all__ = ["PRESETS", "RunConfig", "describe_keys"]
