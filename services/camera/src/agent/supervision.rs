//! The agent and its keeper: notices of settings from afar and of what commands changed go one way, orders and reports the other.

use bytes::Bytes;
use sightline_media::Instant;
use sightline_pusher::{Commanded, Input, ToDevice};
use sightline_signal::{Command, CommandName, ErrorCode, topic::Topic};
use tokio::sync::mpsc;

use super::Running;
use crate::cloud::outbox::Outgoing;

/// To the keeper.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The way to the cloud is open (again).
    Up,
    /// It can't be opened.
    Down(ErrorCode),
    /// `config/desired`, as it came.
    Desired(Vec<u8>),
    /// A command has changed what is asked of the stream.
    Commanded {
        /// What was asked before.
        before: Commanded,
        /// What is asked now.
        after: Commanded,
    },
}

/// From the keeper.
#[derive(Debug)]
pub(crate) enum Order {
    /// For the pusher.
    Input(Box<Input<'static, Bytes>>),
    /// `config/reported`.
    Report(Vec<u8>),
}

/// The agent's end.
#[derive(Debug)]
pub(crate) struct Supervision {
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) notices: mpsc::Sender<Notice>,
}

impl Running {
    /// Best effort: a keeper that lags is notified at the next connection.
    pub(super) fn notify(&self, notice: Notice) {
        if let Some(supervision) = &self.supervision
            && let Err(mpsc::error::TrySendError::Full(_)) = supervision.notices.try_send(notice)
        {
            tracing::warn!("no room for what the camera's keeper should know");
        }
    }

    pub(super) fn command(&mut self, now: Instant, command: Command) {
        if command.cmd == CommandName::Snapshot {
            return self.ask_for_still(now, &command);
        }
        let before = self.pusher.commanded();
        self.pusher.handle(now, Input::Signal(ToDevice::Command(&command)));
        let after = self.pusher.commanded();
        if before != after {
            self.notify(Notice::Commanded { before, after });
        }
    }

    pub(super) fn obey(&mut self, now: Instant, order: Order) {
        match order {
            Order::Input(input) => {
                let has_numbers = matches!(*input, Input::Quality(_));
                self.pusher.handle(now, *input);
                if has_numbers && self.idle.is_some() {
                    self.idle = Some(self.pusher.settings());
                    if !self.pusher.is_streaming() {
                        self.pipeline.order(sightline_encode::EncoderOrder::Change(self.pusher.settings()));
                    }
                }
            }
            Order::Report(payload) => {
                if let Some(mqtt) = &self.mqtt {
                    mqtt.publish(Outgoing::retained(Topic::ConfigReported, payload));
                }
            }
        }
    }
}
