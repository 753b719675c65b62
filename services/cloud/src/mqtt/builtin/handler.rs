//! The library's events, handed to the uplink.

use super::packet::packet_of;
use crate::mqtt::uplink::Uplink;
use mqtt5::broker::{BrokerEventHandler, ClientPublishEvent, PublishAction, RetainedSetEvent, router::MessageRouter};
use sightline_signal::topic::Topic;
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
};

/// Listens to what clients publish.
pub(super) struct Handler {
    pub(super) uplink: Arc<Uplink>,
    /// Weak, because the router owns this through the broker's settings.
    pub(super) router: Weak<MessageRouter>,
}

impl BrokerEventHandler for Handler {
    fn on_client_publish<'a>(&'a self, event: ClientPublishEvent) -> Pin<Box<dyn Future<Output = PublishAction> + Send + 'a>> {
        Box::pin(async move {
            // The operator publishes only down topics, so an up topic's device is the connection's own.
            if let Some((device, topic)) = Topic::parse(&event.topic) {
                let reply = self.uplink.receive(&device, topic, &event.payload, event.correlation_data.as_deref()).await;
                if let (Some(reply), Some(router)) = (reply, self.router.upgrade()) {
                    router.route_message(&packet_of(&device, reply), None).await;
                }
            }
            PublishAction::Continue
        })
    }

    fn on_retained_set<'a>(&'a self, event: RetainedSetEvent) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            // Wills come only this way: no connection publishes them.
            if let Some((device, topic)) = Topic::parse(&event.topic) {
                self.uplink.receive_will(&device, topic, &event.payload).await;
            }
        })
    }
}
