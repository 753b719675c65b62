//! A connection that was let in, up to the point where its protocol begins.

use crate::admission::Permit;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// A connection and its place. It is pending until [`Permit::set_pending`] says otherwise.
#[derive(Debug)]
pub struct Arrival {
    /// The connection, unread.
    pub socket: TcpStream,
    /// Whom it comes from.
    pub peer: SocketAddr,
    /// Its place; keep it as long as the connection.
    pub permit: Permit,
    /// Until when it must have shown what it is: first byte and handshakes together.
    pub deadline: Instant,
    pub(crate) shutdown: CancellationToken,
}

/// Why there is no first byte.
#[derive(Debug, thiserror::Error)]
pub enum FirstByteError {
    /// The peer closed the connection, or it broke: a port scan, a health check. Or this program is ending.
    #[error("the connection ended before its first byte")]
    Closed,
    /// Nothing came in time.
    #[error("nothing came in time")]
    Timeout,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// What the peer sent is no handshake that can be accepted.
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    /// It did not end in time.
    #[error("the TLS handshake took too long")]
    Timeout,
}

impl Arrival {
    /// Waits for the first byte and leaves it unread.
    ///
    /// # Errors
    /// [`FirstByteError`]
    pub async fn first_byte(&self) -> Result<u8, FirstByteError> {
        let mut byte = [0];
        let peeked = tokio::select! {
            () = self.shutdown.cancelled() => return Err(FirstByteError::Closed),
            peeked = tokio::time::timeout_at(self.deadline, self.socket.peek(&mut byte)) => peeked,
        };
        match peeked {
            Ok(Ok(1..)) => Ok(byte[0]),
            Ok(Ok(0) | Err(_)) => Err(FirstByteError::Closed),
            Err(_) => Err(FirstByteError::Timeout),
        }
    }

    /// Does the TLS handshake, within the deadline.
    ///
    /// # Errors
    /// [`TlsError`]
    pub async fn accept_tls(self, tls: &TlsAcceptor) -> Result<(TlsStream<TcpStream>, Permit), TlsError> {
        let accepted = tokio::time::timeout_at(self.deadline, tls.accept(self.socket)).await.map_err(|_| TlsError::Timeout)?;
        Ok((accepted.map_err(TlsError::Handshake)?, self.permit))
    }
}
