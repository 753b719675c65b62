//! What an agent and the one that started it tell each other: settings from afar, what commands changed, and reports.

use bytes::Bytes;
use sightline_media::Instant;
use sightline_pusher::{Commanded, Input};
use sightline_signal::{Command, CommandName, ErrorCode, topic::Topic};
use tokio::sync::mpsc;

use super::{Running, ToDevice};
use crate::mqtt::Outgoing;

/// To the one that started the agent.
#[derive(Debug)]
pub(crate) enum Told {
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

/// From the one that started the agent.
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
    pub(crate) told: mpsc::Sender<Told>,
}

impl Running {
    /// Nobody is waited for: one that does not listen hears it at the next connection.
    pub(super) fn tell(&self, told: Told) {
        if let Some(supervision) = &self.supervision
            && let Err(mpsc::error::TrySendError::Full(_)) = supervision.told.try_send(told)
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
            self.tell(Told::Commanded { before, after });
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
                    mqtt.publish(Outgoing { topic: Topic::ConfigReported, payload, retain: true });
                }
            }
        }
    }
}

pub(super) async fn order(supervision: &mut Option<Supervision>) -> Option<Order> {
    match supervision {
        Some(supervision) => supervision.orders.recv().await,
        None => std::future::pending().await,
    }
}
