//! Where one thread waits for one name. Each has its own, so that an answer wakes nobody else.

use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

/// News for a thread that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    Answer(Result<Vec<IpAddr>, Arc<str>>),
    ShutDown,
}

#[derive(Debug, Default)]
pub struct Waiter {
    news: Mutex<Option<News>>,
    came: Condvar,
}

impl Waiter {
    /// The first news count.
    pub fn notify(&self, news: News) {
        let mut slot = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(news);
        // It is unlocked first: the woken thread would run at once, only to wait for the lock.
        drop(slot);
        self.came.notify_one();
    }

    /// Waits for news, until `deadline` at the longest.
    pub fn wait(&self, deadline: Instant) -> Option<News> {
        let mut slot = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(news) = slot.take() {
                return Some(news);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.came.wait_timeout(slot, left);
            slot = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
