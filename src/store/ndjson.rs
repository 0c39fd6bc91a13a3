//! Dead letters as JSON lines, for `outhook deliver`.

use std::io::Write;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{Store, StoreError};
use crate::delivery::receipt::Unmoved;
use crate::delivery::record::{Move, MoveKind};
use crate::delivery::{DeadLetter, Field};

/// Writes one JSON object a line.
pub struct Ndjson<W> {
    out: W,
    place: String,
}

impl<W: Write> Ndjson<W> {
    /// `place` is what to call `out` in the log.
    pub fn new(out: W, place: impl Into<String>) -> Self {
        Ndjson {
            out,
            place: place.into(),
        }
    }
}

impl<W: Write + Send> Store for Ndjson<W> {
    fn write(&mut self, _: MoveKind, moves: &[Move], _: Duration) -> Result<Unmoved, StoreError> {
        let mut lines = Vec::new();
        for one in moves {
            let Move::Bury(letter) = one else {
                return Err(StoreError::new(
                    "a file keeps dead letters, and nothing else",
                ));
            };
            serde_json::to_writer(&mut lines, &object(letter)).expect("a map of plain values");
            lines.push(b'\n');
        }
        let written = self.out.write_all(&lines).and_then(|()| self.out.flush());
        written.map_err(|e| StoreError::new(format!("{}: {e}", self.place)))?;
        Ok(Unmoved::new())
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

/// Bytes become a string where they are UTF-8, else base64 under `<name>_base64`.
pub fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) -> Option<Value> {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.into(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    }
}

fn object(letter: &DeadLetter) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, field) in letter.fields() {
        match field {
            Field::Text(text) => object.insert(name.into(), text.into()),
            Field::Number(number) => object.insert(name.into(), number.into()),
            Field::Bytes(bytes) => insert_bytes(&mut object, name, bytes),
        };
    }
    object
}
