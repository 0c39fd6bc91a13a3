//! The threads of the sources: all there before any begins.

use crossbeam_channel::bounded;

use super::{Source, SourceKind};
use crate::service::channel::byte_bound::BlockingSender;
use crate::service::drain::EndSignals;
use crate::service::intake::{Arrival, Intake};
use crate::service::threads::Threads;

/// What sources send into, and what they take.
pub struct Inlets {
    pub eager: BlockingSender<Arrival>,
    pub patient: BlockingSender<Arrival>,
    pub max_message_bytes: usize,
    /// Whether messages may name secrets.
    pub takes_secrets: bool,
}

/// Starts them so that all begin when all are there, and none does if one cannot be started.
pub fn start_sources(
    threads: &mut Threads,
    sources: Vec<Source>,
    inlets: Inlets,
    ends: &EndSignals,
) -> Result<(), String> {
    let count = sources.len();
    let (go, all_started) = bounded(count);
    for source in sources {
        let out = match source.kind {
            SourceKind::Eager => inlets.eager.clone(),
            SourceKind::Patient => inlets.patient.clone(),
        };
        let mut intake = Intake::new(out, &source.name, inlets.max_message_bytes);
        if !inlets.takes_secrets {
            intake.refuse_secrets();
        }
        let (ends, all_started) = (ends.clone(), all_started.clone());
        threads.spawn(&source.name, move || {
            if all_started.recv().is_ok() {
                (source.run)(&mut intake, &ends);
            }
        })?;
    }
    for _ in 0..count {
        go.send(()).expect("we hold a receiver");
    }
    Ok(())
}
