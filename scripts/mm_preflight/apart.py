"""A call that cannot hold the program: it runs in a child, which can be left behind.

A call to a file system that does not answer (sshfs, rclone, a dying disk) waits uninterruptibly: no
signal ends its thread, nor the process that the thread belongs to. So all that touches files of
others runs in a forked child with streams of its own; what it is about to touch stands in memory
that both share. Windows has no fork: there a thread does it, which ends with the program.
"""

from __future__ import annotations

import gc
import marshal
import os
import time
from contextlib import suppress

from mm_preflight import files
from mm_preflight.records import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Tell = Callable[[Any], None]
    Work = Callable[[Tell], None]

STEP_SIZE = 8192  # bytes of what a call is about to touch
FILES_CLOSED = 1024  # descriptors, where the system does not list those that are open
ENDING_SECONDS = 0.1  # for a child that was killed; one that hangs is still there then


class Late(Exception):
    """A call did not end in time. Its arguments: who was looked at, the path that was about to be
    touched ("" if none was), and for how many seconds it had been at that."""


def call(work: Work, seconds: float) -> tuple[Any, Late | None, int]:
    """What `work` told last; why it did not end, if so; and the PID of a child left behind, or 0.

    `work` is given a function that tells: values of marshal's types, any number of times. Raises
    OSError or RuntimeError where no child, or no thread, can be had.
    """
    return _in_a_child(work, seconds) if hasattr(os, "fork") else _in_a_thread(work, seconds)


def is_there(pid: int) -> bool:
    """Whether a child that was left behind still hangs."""
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except OSError:  # somebody else has waited for it
        return False


def _in_a_child(work: Work, seconds: float) -> tuple[Any, Late | None, int]:
    import mmap

    step = mmap.mmap(-1, STEP_SIZE)
    read, write = os.pipe()
    parent, pid = os.getpid(), -1
    try:
        pid = os.fork()
        if pid == 0:
            _be_the_child(work, step, write)
    except BaseException:  # in the child too: it must not go on as a second parent
        if os.getpid() != parent:
            os._exit(1)
        os.close(read)
        raise
    finally:
        os.close(write)
    done = False
    try:
        told, done = _listen(read, time.monotonic() + seconds)
    finally:
        os.close(read)
        hangs = not done and not _end(pid)
        if done:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
    return told, None if done else _late(bytes(step)), pid if hangs else 0


def _be_the_child(work: Work, step: Any, write: int) -> None:
    """Work, tell, and end: this never returns."""
    os.setsid()  # Ctrl-C is for the parent
    gc.disable()  # it ends soon, and each collection would copy the memory that both share
    while write < 3:  # the parent's own standard streams were closed
        write = os.dup(write)
    null = _nothing()
    for each in range(3):
        os.dup2(null, each)
    try:
        opened = [int(each) for each in os.listdir("/dev/fd")]
    except OSError:  # without /proc there is no list
        opened = list(range(FILES_CLOSED))
    for each in {*opened} - {0, 1, 2, write}:  # a pipe of the parent's would stay open
        with suppress(OSError):
            os.close(each)
    files.watch(lambda *what: _note(step, *what))

    def tell(value: Any) -> None:
        data = marshal.dumps(value)
        left = memoryview(len(data).to_bytes(8, "little") + data)
        while left:
            left = left[os.write(write, left) :]

    work(tell)
    os._exit(0)


def _nothing() -> int:
    """A descriptor that nothing comes from; in a bare chroot, a pipe without its other end."""
    with suppress(OSError):
        return os.open(os.devnull, os.O_RDWR)
    read, write = os.pipe()
    os.close(write)
    return read


def _note(step: Any, who: str, path: str) -> None:
    data = marshal.dumps((who[:200], path[: STEP_SIZE // 8], time.monotonic()))
    step[: len(data)] = data


def _late(step: bytes) -> Late:
    try:
        who, path, since = marshal.loads(step)
        return Late(who, path, time.monotonic() - since)
    except (ValueError, TypeError, EOFError):  # nothing was noted, or only half
        return Late("", "", 0.0)


def _listen(read: int, end: float) -> tuple[Any, bool]:
    """What came last before `end`, and whether the child had ended by then.

    Also what lies there after `end` is read: this process may have been stopped meanwhile (Ctrl-Z).
    """
    told, data = None, bytearray()
    while _is_ready(read, max(0.0, end - time.monotonic())):
        if not (more := os.read(read, 1 << 20)):
            return told, True
        data += more
        while len(data) >= 8 and len(data) >= (size := 8 + int.from_bytes(data[:8], "little")):
            told = marshal.loads(data[8:size])
            del data[:size]
    return told, False


def _is_ready(read: int, seconds: float) -> bool:
    """Whether something came, or the other end was closed, within so many seconds."""
    import select

    if not hasattr(select, "poll"):
        return bool(select.select([read], [], [], seconds)[0])
    poll = select.poll()  # select.select takes no descriptor above 1023
    poll.register(read, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _end(pid: int) -> bool:
    """Kill a child without waiting for one that hangs; whether it is gone."""
    with suppress(OSError):
        os.kill(pid, 9)
    end = time.monotonic() + ENDING_SECONDS
    while is_there(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def _in_a_thread(work: Work, seconds: float) -> tuple[Any, Late | None, int]:
    import threading

    told: list[Any] = [None]
    step = bytearray(STEP_SIZE)
    files.watch(lambda *what: _note(step, *what))
    thread = threading.Thread(target=work, args=(told.append,), daemon=True)
    thread.start()
    end = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < end:
        thread.join(0.1)  # in steps: on Windows, a longer wait does not hear Ctrl-C
    return told[-1], _late(bytes(step)) if thread.is_alive() else None, 0
