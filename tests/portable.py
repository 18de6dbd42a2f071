"""The check as it runs where only psutil is: without Linux's room, and without what psutil lacks.

A program, like scripts/mm_preflight; and `psutil`, what it sees of psutil.
"""

import sys
from pathlib import Path
from types import ModuleType

import psutil as real

sys.path[:0] = [str(Path(__file__).parent.parent / "scripts"), str(Path(__file__).parent)]

HIDDEN = {"PROCFS_PATH", "STATUS_TRACING_STOP", "sensors_battery", "disk_swaps"}
HIDDEN_OF_A_PROCESS = {"terminal", "uids", "gids", "num_fds", "rlimit", "ionice", "cpu_num"}


class Process(real.Process):
    """A process without what Windows lacks; psutil itself may still use it."""

    def __getattribute__(self, name):
        asks = sys._getframe(1).f_globals.get("__name__", "")
        if name in HIDDEN_OF_A_PROCESS and not asks.startswith("psutil"):
            raise AttributeError(name)
        return super().__getattribute__(name)

    def parent(self):
        parent = super().parent()
        return parent and Process(parent.pid)


class StandIn(ModuleType):
    """`module` as it is, but for its Process and for these names, which it lacks."""

    def __init__(self, module, process, lacks=frozenset()):
        super().__init__("psutil")
        self._module, self.Process, self._lacks = module, process, lacks

    def __getattr__(self, name):
        if name in self._lacks:
            raise AttributeError(name)
        return getattr(self._module, name)


psutil = StandIn(real, Process, HIDDEN)  # as far as every platform has it

if __name__ == "__main__":
    from mm_preflight import main, table

    table.psutil, table.system = psutil, table.PORTABLE
    sys.exit(main())
