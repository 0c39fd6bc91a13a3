//! The connections between threads, and how a thread is woken.
//!
//! - [`wake`]: the timer sleeps in one place. Threads that send to it wake it.
//! - [`byte_bound`]: the channels from sources to the timer, and from the timer to the ledger.
//! - [`work_queue`]: the queue from the timer and the ledger to the workers.
//!
//! All other channels are plain. They carry little, or they always have room.

pub mod byte_bound;
pub mod wake;
pub mod work_queue;
