"""Threads beside Blender's, as other add-ons have them; beside `scenes`, in the same process."""

import sys
import threading
import time

from scenes import host, scene

_calm = threading.Event()
_threads = []


def _raise_all_the_time():
    while not _calm.is_set():
        try:
            raise ValueError
        except ValueError:
            pass


def start_busy_threads(count):
    """Threads that always have an exception of their own, until they are stopped."""
    _calm.clear()
    _threads[:] = [threading.Thread(target=_raise_all_the_time, daemon=True) for _ in range(count)]
    for thread in _threads:
        thread.start()


def stop_busy_threads():
    _calm.set()
    for thread in _threads:
        thread.join()


def refresh_often(times):
    for _ in range(times):
        host("bl.sequencer").refresh(scene())


def stand_still(seconds):
    """Blender's main thread does nothing, and other threads go on."""
    time.sleep(seconds)


def hold_the_lock(seconds):
    """No other thread of this Python goes on meanwhile."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    sys.setswitchinterval(before)
