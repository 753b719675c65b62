//! What only the kernel knows of a connection: how much the far end has acknowledged. Linux.
#![expect(
    unsafe_code,
    reason = "TCP_INFO, SIOCOUTQ and TCP_NOTSENT_LOWAT have no safe wrapper in a crate that we already build; three calls, checked here"
)]

use std::os::fd::{AsRawFd as _, OwnedFd};

/// Unsent bytes that the kernel may hold besides what is in flight. More of it is latency that no one can take back;
/// less costs wake-ups. 16 KiB is 65 ms at 2 Mbit/s.
const NOTSENT_BYTES_MAX: libc::c_int = 16 * 1024;

/// A second handle on a connection, to look at it while others read and write it.
#[derive(Debug)]
pub(crate) struct Probe(OwnedFd);

/// What the far end has and has not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    /// Bytes acknowledged since the connection was made.
    pub(crate) acknowledged: u64,
    /// Bytes handed to the kernel and not acknowledged.
    pub(crate) outstanding: u64,
}

impl Probe {
    /// Sets the connection up for low latency, and keeps a handle on it.
    pub(crate) fn attach(stream: &tokio::net::TcpStream) -> std::io::Result<Self> {
        use std::os::fd::AsFd as _;
        stream.set_nodelay(true)?;
        let fd = stream.as_fd().try_clone_to_owned()?;
        let bytes = NOTSENT_BYTES_MAX;
        // SAFETY: the option takes an int, and is given the address and the size of one. A kernel without it says so, and nothing is lost.
        unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_NOTSENT_LOWAT,
                (&raw const bytes).cast(),
                size_of_val(&bytes) as libc::socklen_t,
            );
        }
        Ok(Self(fd))
    }

    /// Once all handles are closed, the far end gets a reset instead of what was not sent yet.
    pub(crate) fn reset_when_closed(&self) {
        // A connection that is gone already has no linger to set.
        let _ = socket2::SockRef::from(&self.0).set_linger(Some(std::time::Duration::ZERO));
    }

    /// How far the connection has come; `None` where the kernel does not say.
    pub(crate) fn progress(&self) -> Option<Progress> {
        // SAFETY: tcp_info is plain integers, for which zero is a value.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut info_bytes = size_of::<libc::tcp_info>() as libc::socklen_t;
        // SAFETY: the buffer and its size are those of `info`; the kernel writes at most that much.
        let got =
            unsafe { libc::getsockopt(self.0.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut info_bytes) };
        let mut queued: libc::c_int = 0;
        // SAFETY: SIOCOUTQ (TIOCOUTQ) writes one int.
        let asked = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) };
        (got == 0 && asked == 0).then(|| Progress { acknowledged: info.tcpi_bytes_acked, outstanding: u64::try_from(queued).unwrap_or(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn what_the_far_end_has_read_is_acknowledged() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let probe = Probe::attach(&client).unwrap();
        client.write_all(&[7; 5000]).await.unwrap();
        server.read_exact(&mut [0; 5000]).await.unwrap();
        let mut progress = probe.progress().unwrap();
        for _ in 0..100 {
            if progress.outstanding == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            progress = probe.progress().unwrap();
        }
        assert_eq!(progress.outstanding, 0);
        // The kernel may count the SYN.
        assert!((5000..=5001).contains(&progress.acknowledged), "{progress:?}");
    }
}
