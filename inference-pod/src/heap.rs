//! The C library's heap, from which ONNX Runtime takes the memory for weights.

/// From this size on an allocation is a mapping of its own, which goes back to the system when it is freed.
///
/// Left to itself glibc raises the limit to 32 MiB as soon as blocks of that size were freed. The weights that ONNX Runtime
/// reads, repacks and frees then leave holes in the heap that nothing fills: a model of 100 MB took 185 MB, and four
/// instances of it 740 MB instead of 390 MB.
const MAPPING_BYTES: i32 = 4 << 20;

/// Settles the heap's limits. To be called before there are threads.
pub fn settle() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "there is no other way to tell the C library")]
    // SAFETY: mallopt only changes settings of the allocator and is thread-safe.
    let settled = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPING_BYTES) } == 1;
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let settled = true;
    if !settled {
        // Nothing depends on it but the size of the process.
        tracing::debug!("the C library keeps its own limits of the heap");
    }
}

/// Gives the system the memory that is free within this process. The allocator keeps most of it otherwise, in the hope of
/// needing it again: a container that loads one model after the other would grow up to its limit.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "there is no other way to tell the C library")]
    // SAFETY: malloc_trim only looks for pages that nothing uses, under the allocator's locks.
    unsafe {
        libc::malloc_trim(0)
    };
}
