"""
Memory that is passed instead of being copied: made, filled, sealed, mapped (src/transfer/README.md).

      allocate ──▶ mapped shared, writable ──▶ seal_allocated: mapped privately in its place, then sealed ──▶ descriptor
      copy     ──▶ written, never mapped   ──▶ sealed ──────────────────────────────────────────────────────▶ descriptor
                                                                    map_private: the consumer's view ◀──────────┘

Loaded with the first large body only: `ctypes` costs 4 ms. It is needed because `mmap.mmap` can neither replace a mapping in
its place nor do without a descriptor per mapping.

Source: thesis 6.3.2.1 (the runtime retains an immutable copy of the object), memfd_create(2), F_ADD_SEALS in fcntl(2).

Invariants:
  M1. A descriptor that leaves here has all of SEALS. The kernel refuses them while any writable shared mapping exists; so none is left,
      and whoever writes to a view afterwards writes to pages of their own.
  M2. A view stays valid for as long as anybody holds it or a part of it; its memory is unmapped with the last one.
  M3. No child process ever holds a writable shared mapping: they are not copied by a fork (MADV_DONTFORK), and a fork by Python finds
      them private already, so that the child reads what was there. (The parent pays for it with a copy when it gives that memory on.)
"""
from __future__ import annotations

import ctypes
import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

_F_ADD_SEALS, _F_GET_SEALS = 1033, 1034
# SEAL | SHRINK | GROW | WRITE
SEALS = 0x1 | 0x2 | 0x4 | 0x8

_PROT_READ_WRITE = 0x1 | 0x2
_MAP_SHARED, _MAP_PRIVATE, _MAP_FIXED = 0x1, 0x2, 0x10
# Copy-on-write pages are accounted as they are written: a gigabyte that is only read must not be refused.
_MAP_NORESERVE = 0x4000
_MADV_DONTFORK, _MADV_HUGEPAGE = 10, 14
# write(2) takes no more at once.
_WRITE_BYTES_MAX = 0x7FFF_F000

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_munmap = _libc.munmap
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_madvise = _libc.madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_MAP_FAILED = ctypes.c_void_p(-1).value

# Allocated and neither sealed nor gone: address → its descriptor and size. Who pops an entry owns the descriptor.
_unsealed: dict[int, tuple[int, int]] = {}
_watches_forks = False


class _Mapping:
    """Unmapped when the array that carries it goes, and that goes with the last view (M2)."""

    __slots__ = ('_address', '_size', '_pid')

    def __init__(self, address: int, size: int) -> None:
        self._address = address
        self._size = size
        self._pid = os.getpid()

    def __del__(self, getpid=os.getpid, close=os.close, munmap=_munmap) -> None:
        # In a child that the kernel forked behind Python's back, others may have these addresses by now.
        if getpid() != self._pid:
            return
        entry = _unsealed.pop(self._address, None)
        if entry is not None:
            close(entry[0])
        munmap(self._address, self._size)


def allocate(size: int) -> memoryview:
    """Memory to fill, `size` bytes of zeros. Raises OSError when there is none."""
    fd = os.memfd_create('skep', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        address = _map(None, fd, size, _MAP_SHARED)
        if _madvise(address, size, _MADV_DONTFORK) != 0:
            error = _last_error()
            _munmap(address, size)
            raise error
        # Where the system has some for shared memory. A refusal costs time, and nothing else.
        _madvise(address, size, _MADV_HUGEPAGE)
    except BaseException:
        os.close(fd)
        raise
    _watch_forks()
    _unsealed[address] = fd, size
    return _view(address, size)


def seal_allocated(view: memoryview) -> Optional[int]:
    """
    The sealed descriptor (the caller's) when these bytes are all of an allocated memory that is as it was made; None otherwise.

    The view stays what it is, and is private from here on. An array over it (numpy) counts too: what matters is the address.
    """
    if not _unsealed or view.readonly:
        return None
    address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    entry = _unsealed.get(address)
    if entry is None or entry[1] != view.nbytes or _unsealed.pop(address, None) is None:
        return None
    fd, size = entry
    try:
        _map(address, fd, size, _MAP_PRIVATE | _MAP_FIXED)
        seal(fd)
        return fd
    except OSError:
        # Code of another language keeps a mapping of its own, or has given the pages to a device. Then it is copied.
        os.close(fd)
        return None


def copy(view: memoryview) -> int:
    """A sealed descriptor with a copy of these bytes. Raises OSError."""
    fd = os.memfd_create('skep', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        offset = 0
        # Writing is faster than mapping and copying: no page has to be faulted in, or zeroed first.
        while offset < len(view):
            offset += os.write(fd, view[offset:offset + _WRITE_BYTES_MAX])
        seal(fd)
        return fd
    except BaseException:
        os.close(fd)
        raise


def seal(fd: int) -> None:
    """Raises OSError (EBUSY) while there is a writable shared mapping (M1)."""
    fcntl.fcntl(fd, _F_ADD_SEALS, SEALS)


def map_private(fd: int, size: int) -> memoryview:
    """A private, writable view of memory or of a file. The descriptor may be closed then. Raises OSError."""
    return _view(_map(None, fd, size, _MAP_PRIVATE), size) if size else memoryview(bytearray())


def _map(address: Optional[int], fd: int, size: int, flags: int) -> int:
    found = _mmap(address, size, _PROT_READ_WRITE, flags | _MAP_NORESERVE, fd, 0)
    if found == _MAP_FAILED:
        raise _last_error()
    return found


def _view(address: int, size: int) -> memoryview:
    array = (ctypes.c_ubyte * size).from_address(address)
    array.mapping = _Mapping(address, size)
    return memoryview(array).cast('B')


def _watch_forks() -> None:
    global _watches_forks
    if not _watches_forks:
        _watches_forks = True
        os.register_at_fork(before=_make_private)


def _make_private() -> None:
    """M3, before a fork."""
    for address in tuple(_unsealed):
        entry = _unsealed.pop(address, None)
        if entry is not None:
            _map(address, entry[0], entry[1], _MAP_PRIVATE | _MAP_FIXED)
            os.close(entry[0])


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
