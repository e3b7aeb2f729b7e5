import CLibUring
import Glibc

/// Anonymous zeroed memory that costs nothing until it is touched.
func mapMemory(_ bytes: Int) -> UnsafeMutableRawPointer? {
  let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
  return memory == MAP_FAILED ? nil : memory
}

/// Gives free memory of the heap back to the system (malloc_trim(3)).
func releaseFreeMemory() { uring_release_free_memory() }

/// Bytes that are allocated from the heap now; 0 where that is not known (a sanitizer's own heap).
var heapBytes: Int { Int(uring_heap_bytes()) }
