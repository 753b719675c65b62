//! What viewers get: RTMP, HTTP-FLV, HLS, WHEP, snapshots and decoded frames.

pub(crate) mod answers;
pub(crate) mod asker;
mod copied;
pub(crate) mod coverage;
mod flv;
pub(crate) mod frames;
pub(crate) mod hls;
pub(crate) mod http;
mod ranges;
mod refreshed;
pub(crate) mod rtmp_alone;
pub(crate) mod rtmp_fanout;
pub(crate) mod rtmp_viewer;
mod snapshot;
mod times;
pub(crate) mod vod;
pub(crate) mod waiting;
pub(crate) mod whep;

use crate::auth::viewing::{Admitted, Viewing};
use crate::auth::wish::{PlayRefusal, Wish};
use crate::callbacks::Callbacks;
use crate::clock::Clock;
use crate::control::wanted::Wanted;
use crate::live::hub::Hub;
use crate::live::stream::Stream;
use crate::pull::{Pulls, SearchError};
use crate::wire::Wire;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Bytes taken from the ring for an RTMP viewer at a time: it catches up in steps, and holds no more than this beyond the ring. Frames
/// that gather are written when they are as many, however early.
const BATCH_BYTES: usize = 256 * 1024;
/// What one read takes of a viewer: the answer to a ping, an acknowledgement.
const VIEWER_READ_BYTES: usize = 1024;

/// What outputs to viewers may touch.
pub(crate) struct Play {
    pub(crate) clock: Clock,
    pub(crate) hub: Arc<Hub>,
    /// Who may play.
    pub(crate) viewing: Arc<Viewing>,
    pub(crate) callbacks: Arc<Callbacks>,
    pub(crate) pace: Pace,
    /// Of the chunks that RTMP viewers get, in bytes.
    pub(crate) chunk_size: u32,
    /// How playlists are cut.
    pub(crate) hls: sightline_hls::Config,
    /// For streams that have a playlist of MPEG-TS.
    pub(crate) ts_places: Arc<Semaphore>,
    /// Of streams that are there, or were a moment ago.
    pub(crate) recent: hls::Recent,
    /// `None`: switched off.
    pub(crate) whep: Option<Arc<whep::Whep>>,
    /// Where the cloud is asked for streams that are not here; `None`: there is no cloud.
    pub(crate) wanted: Option<Arc<Wanted>>,
    /// Where streams come from that are not here; `None`: it is no edge.
    pub(crate) pulls: Option<Arc<Pulls>>,
    /// The name of this process on the way of a stream.
    pub(crate) own_name: String,
    /// How long a viewer waits for a camera that starts for it.
    pub(crate) start_wait: Duration,
    /// What decodes for analysis.
    pub(crate) decoders: Arc<frames::Decoders>,
    pub(crate) tasks: TaskTracker,
}

/// How RTMP viewers are served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// One that takes nothing for this long is disconnected.
    pub(crate) stuck: Duration,
    /// How long a frame may wait for those after it; zero: not at all.
    pub(crate) merge: Duration,
}

/// Why there is nothing to watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Missing {
    Right(PlayRefusal),
    Stream,
    /// Its camera would start for its viewers, and has no connection to the cloud.
    Offline,
    /// Another origin has it, at `http://host:port`.
    Elsewhere(String),
    /// Its camera was told to start, and sent no picture in this time.
    NotStarted(Duration),
    /// It was to come from another origin, and does not.
    Upstream(SearchError),
    /// It is there, or on its way from another origin, and had no picture in this time.
    Silent(Duration),
}

impl Play {
    /// Lets someone watch a stream by a connection of its own. The right comes first: without one nobody learns which streams there are.
    pub(crate) fn begin(&self, wish: Wish<'_>) -> Result<(Arc<Stream>, Admitted), Missing> {
        let admitted = self.viewing.begin(wish).map_err(Missing::Right)?;
        let stream = self.hub.find(wish.playback).ok_or(Missing::Stream)?;
        self.join(&stream, wish.address);
        Ok((stream, admitted))
    }

    fn rtmp(&self) -> Wire {
        Wire::Rtmp { chunk_size: self.chunk_size }
    }
}
