//! The asking side of a control socket, for programs that may block: `poolerd ctl`.

use std::io::{self, BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

/// The lines of an answer, without their newlines, as they come. They end when the program closes the connection;
/// the asker stops reading earlier when it has its reply.
#[derive(Debug)]
pub struct Answers {
    reader: BufReader<UnixStream>,
}

/// Connects to the control socket `path` (abstract behind a leading `@`) and sends `line`, which ends in a newline.
/// Blocks.
///
/// # Errors
/// When nobody listens there or the line cannot be sent.
pub fn request(path: &str, line: &[u8]) -> io::Result<Answers> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let mut stream = UnixStream::connect_addr(&address)?;
    stream.write_all(line)?;
    Ok(Answers { reader: BufReader::new(stream) })
}

impl Iterator for Answers {
    type Item = io::Result<Vec<u8>>;

    /// Blocks until there is a line.
    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                Some(Ok(line))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
