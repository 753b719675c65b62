//! An RTMP viewer with a task of its own: over TLS the bytes of each viewer differ, so there is nothing to share but the frames.

use super::rtmp_viewer::{answer, over};
use super::{BATCH_BYTES, Play, VIEWER_READ_BYTES};
use crate::auth::viewing::Admitted;
use crate::live::stream::Stream;
use crate::live::traffic::Protocol;
use crate::reading::read_with;
use crate::wire::{Scratch, WireCursor};
use bytes::Bytes;
use sightline_rtmp::server::{Session, shared as messages};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

/// How long a viewer may take to read that the stream has ended.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a viewer was disconnected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlayError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Protocol(#[from] sightline_rtmp::Error),
    #[error("the viewer took nothing for too long")]
    Stuck,
}

/// Plays until the viewer leaves or the stream ends.
pub(crate) async fn play<S: AsyncRead + AsyncWrite>(
    play: &Play,
    socket: S,
    mut session: Session,
    stream: &Arc<Stream>,
    admitted: &Admitted,
) -> Result<(), PlayError> {
    let _count = stream.count_lone_viewer(Protocol::Rtmps);
    let (mut reader, mut writer) = tokio::io::split(socket);
    let mut head = stream.watch();
    let (mut cursor, mut scratch, mut out) = (WireCursor::default(), Scratch::new(), VecDeque::new());
    loop {
        head.borrow_and_update();
        cursor.fill(stream, play.rtmp(), &mut scratch, &mut out, BATCH_BYTES);
        if !out.is_empty() && !admitted.over.is_cancelled() {
            while let Some(bytes) = out.pop_front() {
                stream.traffic.send(Protocol::Rtmps, bytes.len());
                tokio::time::timeout(play.pace.stuck, writer.write_all(&bytes)).await.map_err(|_| PlayError::Stuck)??;
            }
            tokio::time::timeout(play.pace.stuck, writer.flush()).await.map_err(|_| PlayError::Stuck)??;
            continue;
        }
        tokio::select! {
            () = over(stream, admitted) => {
                let goodbye = async { writer.write_all(&messages::end_message()).await?; writer.shutdown().await };
                return tokio::time::timeout(GOODBYE_TIMEOUT, goodbye).await.map_err(|_| PlayError::Stuck)?.map_err(PlayError::from);
            }
            _ = head.changed() => {}
            handled = read_with::<VIEWER_READ_BYTES, _, _>(&mut reader, |bytes| session.handle_bytes(play.clock.now(), bytes)) => {
                let Some(handled) = handled? else { return Ok(()) };
                handled?;
                if !answer(&mut session, |bytes| out.push_back(Bytes::copy_from_slice(bytes))) {
                    return Ok(());
                }
            }
        }
    }
}
