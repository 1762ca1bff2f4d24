"""Faults that studios meet, made on purpose on real processes, sockets and disks; `make faults` runs them all.

    python -m tests.faults.run              # all, each in a process of its own, with a table in the end
    python -m tests.faults.run kill_server  # one; --scale 0.1 for a tenth of its repetitions, --list for all names

A case ends with all frames byte-identical to an undisturbed run or with one sentence, and leaves no process, thread,
file handle, temporary file or port behind.
"""
