"""What Linux lets a process forbid itself for good without privileges: files by Landlock, calls by a seccomp filter.

Kernel interfaces of linux/landlock.h (from 5.13 on) and linux/seccomp.h, linux/filter.h (from 3.17 on), called by
number, since the C library has no names for them. There is no kept library that does both without a compiler.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22
_KILL = 9
_SECCOMP_MODE_FILTER = 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
# Rights over files that each version of Landlock knows: 13 at first, then REFER, TRUNCATE and IOCTL_DEV.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
# Binding and connecting TCP; abstract sockets and signals of processes outside.
_NET, _SCOPED = 0b11, 0b11

# Calls that reach other processes, the network, terminals or the kernel's less used parts; that keep memory beyond the
# process; and that change attributes of files, which Landlock does not know. Numbers of x86-64 and of ARM64.
_FORBIDDEN = {
    "x86_64": (
        (41, 42, 43, 49, 50, 53, 288)  # socket connect accept bind listen socketpair accept4
        + (57, 58, 59, 322, 101, 310, 311)  # fork vfork execve execveat ptrace process_vm_readv process_vm_writev
        + (62, 200, 129, 297, 424)  # kill tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal
        + (141, 142, 144, 203, 314, 251)  # setpriority sched_setparam _setscheduler _setaffinity _setattr ioprio_set
        + (256, 279, 440, 448, 312, 274)  # migrate_pages move_pages process_madvise _mrelease kcmp get_robust_list
        + (29, 30, 31, 67, 64, 65, 66, 220)  # shmget shmat shmctl shmdt semget semop semctl semtimedop
        + (68, 69, 70, 71, 240, 241)  # msgget msgsnd msgrcv msgctl mq_open mq_unlink
        + (272, 308, 165, 166, 155, 161)  # unshare setns mount umount2 pivot_root chroot
        + (321, 298, 323, 248, 249, 250)  # bpf perf_event_open userfaultfd add_key request_key keyctl
        + (425, 426, 427, 434, 438, 304)  # io_uring_setup _enter _register pidfd_open pidfd_getfd open_by_handle_at
        + (175, 313, 246, 16)  # init_module finit_module kexec_load ioctl
        + (90, 91, 92, 93, 94, 260, 268, 452)  # chmod fchmod chown fchown lchown fchownat fchmodat fchmodat2
        + (132, 235, 261, 280, 188, 189, 190)  # utime utimes futimesat utimensat setxattr lsetxattr fsetxattr
        + (197, 198, 199)  # removexattr lremovexattr fremovexattr
    ),
    "aarch64": (
        (198, 203, 202, 200, 201, 199, 242)
        + (221, 281, 117, 270, 271)
        + (129, 130, 138, 240, 424)
        + (140, 118, 119, 122, 274, 30)
        + (238, 239, 440, 448, 272, 100)
        + (194, 196, 195, 197, 190, 193, 191, 192)
        + (186, 189, 188, 187, 180, 181)
        + (97, 268, 40, 39, 41, 51)
        + (280, 241, 282, 217, 218, 219)
        + (425, 426, 427, 434, 438, 265)
        + (105, 273, 104, 29)
        + (52, 53, 54, 55, 452)
        + (88, 5, 6, 7)
        + (14, 15, 16)
    ),
}
# Calls that concern this process alone where their first argument is its number or 0: prlimit64, tgkill.
_OF_OWN = {"x86_64": (302, 234), "aarch64": (261, 131)}
# Calls, which of their arguments counts, and its values that are refused: fcntl with F_SETOWN, F_SETSIG, F_SETOWN_EX,
# by which the kernel signals others; prctl with PR_SET_PDEATHSIG.
_REFUSED_WITH = {
    "x86_64": ((72, 1, (8, 10, 15)), (157, 0, (_PR_SET_PDEATHSIG,))),
    "aarch64": ((25, 1, (8, 10, 15)), (167, 0, (_PR_SET_PDEATHSIG,))),
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3, _CLONE_THREAD = 435, 0x10000
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
# Classic BPF: load a word of the call's data, compare, answer. Offsets into struct seccomp_data.
_LOAD, _EQUAL, _AT_LEAST, _SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT, _ARGUMENT_SIZE = 0, 4, 16, 8
_ALLOW, _KILL_PROCESS, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
# linux/capability.h: version 3 of the call, which takes two words of each set; reading files of other users, such as a
# film that root was asked to dub, is the only privilege that is kept.
_CAPABILITIES_3, _DAC_READ_SEARCH = 0x20080522, 1 << 2

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """Version of the kernel's Landlock, 0 where there is none."""
    return max(0, _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG))


def knows_calls() -> bool:
    """Whether the numbers of this processor's calls are known here."""
    return platform.machine() in _FORBIDDEN


def end_with_parent() -> None:
    """The kernel ends this process when the one that made it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, _KILL, 0, 0, 0)


def drop_privileges() -> None:
    """Of root's privileges only that to read is kept; others have none to lose.

    Raises:
        OSError: where that fails.
    """
    header = struct.pack("=Ii", _CAPABILITIES_3, 0)
    held = (ctypes.c_uint32 * 6)()
    _checked(_libc.capget(header, held))
    permitted = held[1] & _DAC_READ_SEARCH
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)(permitted, permitted, 0, 0, 0, 0)))


def forbid(readable: Sequence[Path]) -> None:
    """For good: no files but these and those in these folders, read only; no network, no other process, no rights.

    Raises:
        OSError: where that fails.
    """
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if landlock_version():
        _forbid_files(readable)
    if knows_calls():
        _forbid_calls()


def _forbid_files(readable: Sequence[Path]) -> None:
    version = landlock_version()
    rights = (1 << _RIGHTS[min(version, max(_RIGHTS))]) - 1
    attributes = struct.pack("=QQQ", rights, _NET if version >= 4 else 0, _SCOPED if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _checked(_libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0))
    for path in readable:
        file = os.open(path, getattr(os, "O_PATH", 0) | os.O_CLOEXEC)
        rule = struct.pack("=Qi", _READ_FILE | (_READ_FOLDER if path.is_dir() else 0), file)
        _checked(_libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0))
        os.close(file)
    _checked(_libc.syscall(_RESTRICT_SELF, rules, 0))
    os.close(rules)


def _forbid_calls() -> None:
    program = _filter(platform.machine())
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    _checked(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0))


def _filter(machine: str) -> bytes:
    """The program: another architecture ends the process, forbidden calls fail, threads may be made, processes not."""
    allow, refuse = _step(_RETURN, _ALLOW), _step(_RETURN, _REFUSE | _EPERM)
    steps = [_step(_LOAD, _ARCHITECTURE_AT), _step(_EQUAL, _ARCHITECTURE[machine], 1, 0), _step(_RETURN, _KILL_PROCESS)]
    steps += [_step(_LOAD, _NUMBER_AT), _step(_AT_LEAST, _X32, 0, 1), refuse]
    for number in _FORBIDDEN[machine]:
        steps += [_step(_EQUAL, number, 0, 1), refuse]
    # The C library then makes its threads by `clone`, whose flags are seen.
    steps += [_step(_EQUAL, _CLONE3, 0, 1), _step(_RETURN, _REFUSE | _ENOSYS)]
    steps += _where(_CLONE[machine], 0, [_step(_SET, _CLONE_THREAD, 0, 1), allow, refuse])
    for number in _OF_OWN[machine]:
        own = [_step(_EQUAL, one, 0, 1) + allow for one in (0, os.getpid())]
        steps += _where(number, 0, [*own, refuse])
    for number, argument, values in _REFUSED_WITH[machine]:
        steps += _where(number, argument, [*(_step(_EQUAL, one, 0, 1) + refuse for one in values), allow])
    return b"".join([*steps, allow])


def _where(number: int, argument: int, steps: Sequence[bytes]) -> list[bytes]:
    """Steps that decide on a call by one of its arguments, of which they find the lower word."""
    loaded = _step(_LOAD, _ARGUMENTS_AT + _ARGUMENT_SIZE * argument) + b"".join(steps)
    return [_step(_EQUAL, number, 0, len(loaded) // len(_step(0, 0))), loaded]


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
