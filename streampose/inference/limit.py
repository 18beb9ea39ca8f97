"""How large a batch the device's memory allows, learned from its refusals."""

from __future__ import annotations

__all__ = ["BatchLimit", "is_lost", "is_out_of_memory"]

# The runtime raises one class for everything, so its words have to do (onnxruntime issue 16307).
_OUT_OF_MEMORY = (
    "failed to allocate memory",  # the arena, on any device
    "out of memory",
    "bfcarena",
    "bad_alloc",
    "bad allocation",
    "_status_alloc_failed",  # cuBLAS, cuDNN
    "cudaerrormemoryallocation",
    "outofmemory",  # TensorRT
)
_LOST = (
    "illegal memory access",
    "illegal address",
    "unspecified launch failure",
    "device-side assert",
    "uncorrectable ecc",
    "cudaerrorillegaladdress",
    "cudaerrorlaunchfailure",
    "cudaerrordevicesunavailable",
    "cudaerrornodevice",
    "no cuda-capable device",
    "driver shutting down",
    "context is destroyed",
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device had no room for a run: a smaller one may do."""
    return isinstance(error, MemoryError) or any(mark in str(error).lower() for mark in _OUT_OF_MEMORY)


def is_lost(error: Exception) -> bool:
    """Whether the device's context is gone: after such an error CUDA fails every later call of the process too."""
    return any(mark in str(error).lower() for mark in _LOST)


class BatchLimit:
    """Halves when memory runs out, and doubles again after many good runs; each failure makes it twice as patient.

    Args:
        most: never more than this.
    """

    _PATIENCE = 256
    _LONGEST = 1 << 16

    def __init__(self, most: int) -> None:
        self.most = self.now = most
        self.refusals = 0
        """How often memory ran out."""
        self._good, self._patience = 0, 0

    @property
    def reached(self) -> bool:
        """Whether memory, not the caller, is what limits the batch."""
        return self.now < self.most

    def failed(self, size: int) -> None:
        """A batch of this size found no room."""
        self.now = max(1, min(self.now, size) // 2)
        self.refusals += 1
        self._good = 0
        self._patience = min(self._LONGEST, self._patience * 2 or self._PATIENCE)

    def passed(self, size: int) -> None:
        """A batch of this size ran. Only those at the limit say that there may be room for more."""
        if not self.reached or size < self.now:
            return
        self._good += 1
        if self._good >= self._patience:
            self.now, self._good = min(self.most, self.now * 2), 0
