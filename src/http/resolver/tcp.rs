//! One question over TCP, for an answer that is too long for a datagram. Never blocks.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Socket, Type};

pub struct TcpQuery {
    tcp: TcpStream,
    question: Vec<u8>,
    written: usize,
    /// Its length before it.
    answer: Vec<u8>,
}

impl TcpQuery {
    /// Begins to connect. `question`: with its length before it.
    pub fn connect(server: SocketAddr, question: Vec<u8>) -> io::Result<TcpQuery> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&server.into()) {
            Err(e) if !is_under_way(&e) => return Err(e),
            _ => {}
        }
        Ok(TcpQuery {
            tcp: socket.into(),
            question,
            written: 0,
            answer: Vec::new(),
        })
    }

    /// Whether it waits to write, and not to read.
    pub fn is_writing(&self) -> bool {
        self.written < self.question.len()
    }

    /// Goes on as far as it can without waiting. The answer, when all of it is there.
    pub fn progress(&mut self) -> Option<io::Result<&[u8]>> {
        match self.try_progress() {
            Ok(false) => None,
            Ok(true) => Some(Ok(&self.answer[2..])),
            Err(e) if is_under_way(&e) => None,
            Err(e) => Some(Err(e)),
        }
    }

    /// Ends with an error when it would have to wait.
    fn try_progress(&mut self) -> io::Result<bool> {
        if let Some(e) = self.tcp.take_error()? {
            return Err(e);
        }
        while self.is_writing() {
            match self.tcp.write(&self.question[self.written..])? {
                0 => return Err(ErrorKind::WriteZero.into()),
                n => self.written += n,
            }
        }
        loop {
            let wanted = match self.answer.get(..2) {
                Some(length) => 2 + usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => 2,
            };
            if self.answer.len() == wanted && wanted > 2 {
                return Ok(true);
            }
            if self.answer.len() == wanted && self.answer.len() == 2 {
                return Err(io::Error::other("its answer has no bytes"));
            }
            let mut part = [0; 4096];
            let room = (wanted - self.answer.len()).min(part.len());
            match self.tcp.read(&mut part[..room])? {
                0 => return Err(io::Error::other("it closed the TCP connection")),
                n => self.answer.extend_from_slice(&part[..n]),
            }
        }
    }
}

impl AsFd for TcpQuery {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

fn is_under_way(e: &io::Error) -> bool {
    let in_progress = rustix::io::Errno::INPROGRESS.raw_os_error();
    // A socket that is still connecting says "not connected" on some systems.
    matches!(
        e.kind(),
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NotConnected
    ) || e.raw_os_error() == Some(in_progress)
}
