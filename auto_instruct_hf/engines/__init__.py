"""Who computes the units of a phase: Ray, or any scheduler that runs `auto-instruct work`."""

from .ray_engine import RayEngine
from .work_list import SHARED_PHASES, WorkList, parse_shard, run_shard

__all__ = ["SHARED_PHASES", "RayEngine", "WorkList", "parse_shard", "run_shard"]
