//! The traits of `embedded-io` and `embedded-io-async` for streams: whatever protocol crate is
//! written for them runs over a connection.

use embedded_io::{ErrorKind, ErrorType};

use super::{TcpError, TcpStream};

impl embedded_io::Error for TcpError {
    fn kind(&self) -> ErrorKind {
        match self {
            TcpError::Reset => ErrorKind::ConnectionReset,
            TcpError::Closed => ErrorKind::NotConnected,
            TcpError::TimedOut => ErrorKind::TimedOut,
        }
    }
}

impl ErrorType for TcpStream {
    type Error = TcpError;
}

impl embedded_io::Read for TcpStream {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, TcpError> {
        TcpStream::read(self, into)
    }
}

impl embedded_io::Write for TcpStream {
    fn write(&mut self, from: &[u8]) -> Result<usize, TcpError> {
        TcpStream::write(self, from)
    }

    fn flush(&mut self) -> Result<(), TcpError> {
        TcpStream::flush(self)
    }
}

impl embedded_io_async::Read for TcpStream {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, TcpError> {
        self.read_async(into).await
    }
}

impl embedded_io_async::Write for TcpStream {
    async fn write(&mut self, from: &[u8]) -> Result<usize, TcpError> {
        self.write_async(from).await
    }

    async fn flush(&mut self) -> Result<(), TcpError> {
        self.flush_async().await
    }
}
