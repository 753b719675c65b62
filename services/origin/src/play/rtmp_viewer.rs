//! The reading half of an RTMP viewer over plain TCP, whose frames come from the fan-out.

use super::rtmp_fanout::{Fanout, ViewerLink};
use super::{Play, VIEWER_READ_BYTES};
use crate::auth::viewing::Admitted;
use crate::live::stream::Stream;
use crate::reading::read_with;
use sightline_rtmp::server::{Output, Session};
use std::sync::Arc;
use tokio::net::TcpStream;

/// Plays until the viewer leaves or the stream ends. Only answers are read here: pings, acknowledgements, the goodbye.
pub(crate) async fn play(play: &Play, socket: TcpStream, mut session: Box<Session>, stream: Arc<Stream>, admitted: Admitted) {
    let (mut reader, writer) = socket.into_split();
    let link = Arc::new(ViewerLink::default());
    Fanout::of(&stream).join(play, &stream, writer, link.clone());
    loop {
        let goes_on = tokio::select! {
            () = link.left() => return,
            () = stream.ended.cancelled() => return,
            () = admitted.over.cancelled() => break,
            goes_on = read_with::<VIEWER_READ_BYTES, _, _>(&mut reader, |bytes| {
                session.handle_bytes(play.clock.now(), bytes).is_ok() && answer(&mut session, |bytes| link.send_control(bytes))
            }) => goes_on,
        };
        if !matches!(goes_on, Ok(Some(true))) {
            break;
        }
    }
    link.leave();
}

/// The stream is over, or the right to watch it.
pub(super) async fn over(stream: &Stream, admitted: &Admitted) {
    tokio::select! {
        () = stream.ended.cancelled() => {}
        () = admitted.over.cancelled() => {}
    }
}

/// Passes a playing session's answers on; false when the viewer has stopped.
pub(super) fn answer(session: &mut Session, mut send: impl FnMut(&[u8])) -> bool {
    loop {
        match session.poll_output() {
            Output::Transmit(bytes) => send(&bytes),
            Output::Event(_) => return false,
            Output::Timeout(_) => return session.is_playing(),
        }
    }
}
