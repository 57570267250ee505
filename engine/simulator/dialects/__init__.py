"""The providers that the simulator can speak like, by name: one file each, written from the vendor's documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from engine.simulator.dialects.bfl import Bfl
from engine.simulator.dialects.fal import Fal
from engine.simulator.dialects.luma import Luma
from engine.simulator.dialects.openai import OpenAi
from engine.simulator.dialects.replicate import Replicate
from engine.simulator.dialects.runway import Runway
from engine.simulator.dialects.segmind import Segmind
from engine.simulator.dialects.segmind_sync import SegmindSync
from engine.simulator.scenario import DialectName

if TYPE_CHECKING:
    from engine.simulator.dialects.dialect import Dialect

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (Segmind(), SegmindSync(), Fal(), Replicate(), Runway(), Bfl(), Luma(), OpenAi())
}
assert set(DIALECTS) == set(get_args(DialectName))
