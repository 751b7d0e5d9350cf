//! How many builds or machines run at once, whatever the number of test threads.

use std::sync::{Condvar, Mutex, PoisonError};

static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// A turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn;

/// Waits until fewer than `at_once` others have a turn. More would slow each other down into their timeouts.
pub(crate) fn turn(at_once: usize) -> Turn {
    let running = RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut running =
        RUNNING.1.wait_while(running, |running| *running >= at_once).unwrap_or_else(PoisonError::into_inner);
    *running += 1;
    Turn
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        RUNNING.1.notify_one();
    }
}
