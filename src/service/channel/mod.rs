//! The ways between threads. The timer sleeps in one place and never blocks: [`wake`] is how
//! whoever sends to it wakes it. Workers take from a queue of their own, [`work_queue`].

pub mod wake;
pub mod work_queue;
