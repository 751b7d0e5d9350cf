//! One build or machine at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for its turn, and keeps it until the guard is dropped. Two cores are enough for one build or machine: two of
/// them would slow each other down into their timeouts, and timings would say nothing.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}
