//! The heap: jemalloc, for this program and for ONNX Runtime in it.

/// From this size on jemalloc keeps allocations in an arena of their own.
#[cfg(not(fuzzing))]
const LARGE_BYTES: usize = 8 << 20;

/// Has what is large given back to the system when it is freed, and the rest within seconds. To be called before there are
/// threads: jemalloc does the first only for a process without threads of its own when it allocates something large for the
/// first time, and the second only with them. Four instances of a model whose weights take 64 MiB held 270 MiB after they
/// were loaded, for ten seconds.
#[cfg(not(fuzzing))]
pub fn settle() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE_BYTES)));
    // Nothing depends on it but the size of the process.
    let _ = tikv_jemalloc_ctl::background_thread::write(true);
}

/// Bytes that this thread has allocated, less those that it has freed: what two looks differ by was made in between and is
/// still there. What other threads allocate or free at its bidding is not counted.
#[cfg(not(fuzzing))]
pub fn held_by_this_thread() -> i64 {
    use tikv_jemalloc_ctl::thread;
    let count = |bytes: Option<u64>| i64::try_from(bytes.unwrap_or_default()).unwrap_or(i64::MAX);
    let allocated = thread::allocatedp::read().ok();
    let freed = thread::deallocatedp::read().ok();
    count(allocated.map(|bytes| bytes.get())) - count(freed.map(|bytes| bytes.get()))
}

/// Gives the system the memory that is free within this process, at once: whether the next model fits is decided by what is
/// free outside of it.
#[cfg(not(fuzzing))]
pub fn give_back() {
    // `arena.<i>.purge` of all arenas, whose number is MALLCTL_ARENAS_ALL; it neither takes a value nor has one.
    const PURGE_ALL: &std::ffi::CStr = c"arena.4096.purge";
    let nothing = std::ptr::null_mut::<std::ffi::c_void>();
    #[expect(unsafe_code, reason = "no crate wraps a control without a value")]
    // SAFETY: the name ends with a zero, and the control reads and writes nothing.
    unsafe {
        tikv_jemalloc_sys::mallctl(PURGE_ALL.as_ptr(), nothing, std::ptr::null_mut(), nothing, 0)
    };
}

/// The sanitizer that watches a fuzz target has a heap of its own.
#[cfg(fuzzing)]
pub fn give_back() {}

/// That heap does not tell of threads.
#[cfg(fuzzing)]
pub fn held_by_this_thread() -> i64 {
    0
}
