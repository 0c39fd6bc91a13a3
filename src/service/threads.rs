//! Starts the threads of the pipeline, and says what fits when the system refuses one.

use std::thread::{Builder, JoinHandle};

/// Threads that others start meanwhile, for which there must be room too.
const RESERVE: usize = 8;

/// Virtual memory for a worker's stack, of which an idle one touches 8 KiB, and an attempt with
/// TLS less than a tenth. Less than the 2 MiB that are usual, so that thousands fit where address
/// space is counted, and that the kernel cannot make one huge page of a stack.
const WORKER_STACK: usize = 1 << 20;

/// Counts what is started, of what there is to start.
pub struct Threads {
    workers: usize,
    missing: usize,
}

impl Threads {
    /// So many workers, and so many others.
    pub fn new(workers: usize, others: usize) -> Threads {
        Threads {
            workers,
            missing: workers + others,
        }
    }

    /// Starts a thread. The error names the setting, and what fits.
    pub fn spawn<T: Send + 'static>(
        &mut self,
        name: &str,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, String> {
        self.start(Builder::new(), name, body)
    }

    /// Starts a worker's thread.
    pub fn spawn_worker(
        &mut self,
        number: usize,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), String> {
        let builder = Builder::new().stack_size(WORKER_STACK);
        self.start(builder, &format!("worker-{number}"), body)
            .map(drop)
    }

    fn start<T: Send + 'static>(
        &mut self,
        builder: Builder,
        name: &str,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, String> {
        let started = builder.name(name.to_owned()).spawn(body);
        let thread = started.map_err(|error| {
            let advice = match workers_that_fit(self.workers, self.missing) {
                0 => String::new(),
                fits => format!(" --workers {fits} fits, or"),
            };
            format!(
                "the thread {name} cannot be started: {error}; --workers {} asks for too \
                 many:{advice} raise the limit of threads (docker --pids-limit, TasksMax, \
                 ulimit -u) or of memory",
                self.workers
            )
        })?;
        self.missing -= 1;
        Ok(thread)
    }
}

/// How many workers fit where the last so many threads did not.
fn workers_that_fit(workers: usize, missing: usize) -> usize {
    workers.saturating_sub(missing + RESERVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_leaves_room_for_all_other_threads() {
        assert_eq!(workers_that_fit(4096, 3000), 1088);
        assert_eq!(workers_that_fit(16, 20), 0);
    }

    #[test]
    fn a_thread_that_the_system_refuses_is_an_error_that_names_the_setting() {
        let mut threads = Threads::new(100, 2);
        threads.spawn("first", || ()).unwrap().join().unwrap();
        // More address space than there is.
        let builder = Builder::new().stack_size(1 << 60);
        let error = threads.start(builder, "worker-7", || ()).unwrap_err();
        assert!(error.contains("worker-7") && error.contains("--workers 100"));
        assert!(threads.start(Builder::new(), "worker-8", || ()).is_ok());
    }
}
