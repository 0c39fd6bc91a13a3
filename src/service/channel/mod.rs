//! The connections between threads. The timer sleeps in one place and never blocks: threads that
//! send to it wake it through [`wake`]. Workers take from a queue of their own, [`work_queue`].

pub mod wake;
pub mod work_queue;
