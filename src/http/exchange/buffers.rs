//! The bytes of one exchange, as ureq wants to see them.

use std::mem;

use ureq::unversioned::transport::Buffers;

/// This many bytes are read at once. Heads and bodies of answers to webhooks are small.
pub const INPUT: usize = 4 * 1024;

/// Room that is made for output where more comes than was expected.
const MORE: usize = 16 * 1024;

/// See the module's header. ureq appends to the output, so that head and body of the request go out in
/// one write.
#[derive(Debug, Default)]
pub struct ExchangeBuffers {
    output: Vec<u8>,
    filled: usize,
    /// How much output is made room for at first.
    room: usize,
    input: Vec<u8>,
    /// Of `input`: what has been consumed, and what has come.
    from: usize,
    to: usize,
    progress: bool,
}

impl ExchangeBuffers {
    /// `room`: how long the request is expected to be.
    pub fn new(room: usize) -> ExchangeBuffers {
        ExchangeBuffers {
            room,
            ..ExchangeBuffers::default()
        }
    }

    /// How many bytes of the request are to be sent now: see [`ExchangeBuffers::taken`].
    pub fn take_output(&mut self) -> usize {
        mem::take(&mut self.filled)
    }

    /// The bytes that were taken last. They stay until there is more output.
    pub fn taken(&mut self, length: usize) -> &mut [u8] {
        &mut self.output[..length]
    }

    /// While the answer is awaited nothing of the request is needed.
    pub fn free_output(&mut self) {
        self.output = Vec::new();
    }

    /// Notes that ureq has written `amount` bytes. Answers how many wait to be sent now.
    pub fn output_added(&mut self, amount: usize) -> usize {
        self.filled += amount;
        self.filled
    }

    /// The bytes that were read last and have not been handed on.
    pub fn just_read(&self, amount: usize) -> &[u8] {
        &self.input[self.to..self.to + amount]
    }

    fn make_room(&mut self) {
        if self.output.len() - self.filled.min(self.output.len()) < 64 {
            let more = if self.output.is_empty() {
                self.room
            } else {
                MORE
            };
            self.output.resize(self.filled + more.max(64), 0);
        }
    }

    /// Puts `input` in place of what was read so far.
    pub fn replace_input(&mut self, input: Vec<u8>) {
        (self.from, self.to, self.progress) = (0, input.len(), true);
        self.input = input;
    }
}

impl Buffers for ExchangeBuffers {
    fn output(&mut self) -> &mut [u8] {
        self.make_room();
        &mut self.output[self.filled..]
    }

    fn input(&self) -> &[u8] {
        &self.input[self.from..self.to]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
        if self.input.len() < self.to + INPUT / 2 {
            self.input.drain(..self.from);
            (self.from, self.to) = (0, self.to - self.from);
            self.input.resize(self.to + INPUT, 0);
        }
        &mut self.input[self.to..]
    }

    fn input_appended(&mut self, amount: usize) {
        self.to += amount;
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.from += amount;
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.make_room();
        // Only chunked requests would use the first, and there are none.
        (&mut [], &mut self.output[self.filled..])
    }

    fn can_use_input(&self) -> bool {
        self.progress && self.from < self.to
    }
}
