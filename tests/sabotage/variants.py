"""The table of known-bad variants, one module for each kind of promise."""

from __future__ import annotations

from tests.sabotage.downloads import DOWNLOADS
from tests.sabotage.durability import DURABILITY
from tests.sabotage.limits import LIMITS
from tests.sabotage.submissions import SUBMISSIONS
from tests.sabotage.words import WORDS

VARIANTS = (*SUBMISSIONS, *DURABILITY, *DOWNLOADS, *LIMITS, *WORDS)
