//! What an RTSP camera offers, by its description alone.

use retina::{client::Stream, codec::ParametersRef};
use std::sync::Arc;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    address::CameraUrl,
    outlet::{CONNECT_TIMEOUT, Trouble},
    rtsp::{self, Transport},
};

/// One stream of pictures.
#[derive(Clone, PartialEq, Debug)]
pub struct Offer {
    /// As RTP names it, in small letters.
    pub codec: String,
    /// Width and height, where they are told.
    pub size: Option<(u32, u32)>,
    /// Pictures a second, where they are told.
    pub fps: Option<f64>,
}

/// As its parameter sets have it.
fn rate_of(stream: &Stream) -> Option<f64> {
    let Some(ParametersRef::Video(parameters)) = stream.parameters() else { return None };
    let (numerator, denominator) = parameters.frame_rate()?;
    (numerator > 0).then(|| f64::from(denominator) / f64::from(numerator))
}

/// Asks a camera. It blocks: not for a thread that others wait for.
///
/// # Errors
/// It gives no description.
pub fn of(url: &CameraUrl, transport: Transport) -> Result<Vec<Offer>, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Trouble::passing(error.to_string()))?;
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let described = timeout(CONNECT_TIMEOUT, rtsp::describe(url, transport, Arc::default(), &mut tasks)).await;
        let camera = described.map_err(|_| Trouble::passing(format!("it does not answer within {} s", CONNECT_TIMEOUT.as_secs())))??;
        let videos = camera.streams().iter().filter(|stream| stream.media() == "video");
        let offers = videos.map(|stream| Offer {
            codec: stream.encoding_name().to_owned(),
            size: rtsp::size_of(stream),
            fps: stream.framerate().map(f64::from).or_else(|| rate_of(stream)),
        });
        Ok(offers.collect())
    })
}
