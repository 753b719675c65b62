//! Streams that someone wants to watch and that are not here: the cloud is asked whose they are, and tells an on-demand camera to start.
//! Only whoever has shown a right comes here.

use super::report::{CloudLink, ReportError};
use crate::clock::Clock;
use crate::questions::{Askers, is_playback_id};
use sightline_listen::{Rarely, shortened};
use sightline_media::Instant;
use sightline_signal::report::{WantedAnswer, WantedState, WantedStream};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long an answer counts while a camera starts: each question lengthens its lease, and may find it on another origin.
const STARTING_KEPT: Duration = Duration::from_secs(1);
/// How long another answer counts. A device that was added, or a camera that has connected, is found after that.
const OTHER_KEPT: Duration = Duration::from_secs(5);
/// How long the cloud is not asked again where it did not answer.
const FAILED_KEPT: Duration = Duration::from_secs(2);
/// Playback ids whose answers are kept. Above it those that are no longer good go, then new ones have no question.
const ANSWERS_MAX: usize = 10_000;
/// Questions to the cloud at a time: more wait for their turn.
const QUESTIONS_MAX: usize = 16;

/// The cloud that does not answer is told of once for all.
static FAILED: Rarely = Rarely::new();

/// Asks the cloud.
pub(crate) struct Wanted {
    link: CloudLink,
    clock: Clock,
    asking: Semaphore,
    answers: Mutex<HashMap<String, Arc<Answer>>>,
    askers: Askers,
}

/// What the cloud has said of one id; held while it is asked, so that a thousand viewers are one question.
#[derive(Default)]
struct Answer(tokio::sync::Mutex<Option<Said>>);

#[derive(Clone)]
struct Said {
    answer: WantedAnswer,
    until: Instant,
}

impl Wanted {
    pub(crate) fn new(link: CloudLink, clock: Clock) -> Self {
        Self { link, clock, asking: Semaphore::new(QUESTIONS_MAX), answers: Mutex::default(), askers: Askers::default() }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<String, Arc<Answer>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the stream is, as the cloud says; a camera that may be started is.
    pub(crate) async fn ask(&self, playback: &str, address: IpAddr) -> WantedAnswer {
        let nothing = WantedAnswer::default();
        if !is_playback_id(playback) {
            return nothing;
        }
        let Some(answer) = self.answer_of(playback, address) else { return nothing };
        let mut said = answer.0.lock().await;
        if let Some(said) = said.as_ref().filter(|said| self.clock.now() < said.until) {
            return said.answer.clone();
        }
        let (answer, kept) = self.question(WantedStream { playback: playback.to_owned(), gave_up_after_sec: None }).await;
        *said = Some(Said { answer: answer.clone(), until: self.clock.now() + kept });
        answer
    }

    /// Viewers have waited in vain, and the camera's people should hear of it.
    pub(crate) async fn gave_up(&self, playback: &str, after: Duration) {
        self.question(WantedStream { playback: playback.to_owned(), gave_up_after_sec: Some(after.as_secs()) }).await;
    }

    async fn question(&self, wanted: WantedStream) -> (WantedAnswer, Duration) {
        let Ok(_one) = self.asking.acquire().await else { return (WantedAnswer::default(), FAILED_KEPT) };
        match self.link.want(&wanted).await {
            Ok(answer) => {
                let kept = if answer.state == WantedState::Starting { STARTING_KEPT } else { OTHER_KEPT };
                (answer, kept)
            }
            Err(error) => {
                tell(&wanted, &error);
                (WantedAnswer::default(), FAILED_KEPT)
            }
        }
    }

    /// The place of an id's answer. `None`: this address, or all together, have asked for too many that are not here.
    fn answer_of(&self, playback: &str, address: IpAddr) -> Option<Arc<Answer>> {
        let mut answers = self.answers();
        if let Some(answer) = answers.get(playback) {
            return Some(answer.clone());
        }
        let now = self.clock.now();
        if !self.askers.may_ask(address, now) {
            return None;
        }
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, answer| {
                let is_used = Arc::strong_count(answer) > 1;
                is_used || answer.0.try_lock().is_ok_and(|said| said.as_ref().is_some_and(|said| now < said.until))
            });
        }
        (answers.len() < ANSWERS_MAX).then(|| answers.entry(playback.to_owned()).or_default().clone())
    }
}

fn tell(wanted: &WantedStream, error: &ReportError) {
    let playback = shortened(&wanted.playback);
    FAILED
        .write(|others| tracing::warn!(playback, %error, others, "the cloud could not be asked for a stream that someone wants to watch"));
}
