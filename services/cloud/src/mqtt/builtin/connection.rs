//! One client's task: reads its packets, obeys them, and sends what waits for it.

use super::{
    access::{Access, Refusal},
    broker::Broker,
    budget::Cost,
    connections::{Entry, Owner},
    decode::Decoder,
    encode,
    packet::{Answer, Connect, End, Entry as Wanted, Granted, Incoming, Level, Publication, Taken, Terms, Unreadable},
    router::{ClientKey, Connected, Link},
    topics::Filter,
    tree::SessionId,
};
use crate::{identity::authority::Subject, secrets::command_id, store::actor::Action};
use sightline_signal::{DeviceId, topic::Topic};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// From the end of TLS to CONNECT. A client sends it at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The keep-alive that a client of MQTT 5 is given where it asks for none: it finds out whether it is still there.
const KEEP_ALIVE_DEFAULT_SEC: u16 = 300;
/// The longest keep-alive of MQTT 5, and how long a client of 3.1.1 without one may be silent: a dead connection is not kept for a day.
const KEEP_ALIVE_MAX_SEC: u16 = 3600;
/// A client that takes nothing for this long, while there is something to send, is cut.
const STUCK_TIMEOUT: Duration = Duration::from_secs(30);
/// For the first packet and the last, and for the end of TLS.
const PACKET_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes that wait to be written, above which no more are made, and no more packets are read: their answers would add to them.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Packets of one client that are obeyed before others have their turn.
const PACKETS_PER_TURN: u32 = 16;
/// What is read at a time. Each idle connection has such a buffer.
const READ_BYTES: usize = 4 << 10;

/// Serves one connection, whose certificate names the entry's identity, until it ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Send>(broker: Arc<Broker>, stream: S, entry: Entry, stop: CancellationToken) {
    let (reader, writer) = tokio::io::split(stream);
    let access = broker.access(entry.listed.subject.clone());
    let mut client = Client {
        broker,
        access,
        entry,
        reader,
        writer,
        decoder: Decoder::default(),
        input: Vec::new(),
        output: Vec::new(),
        written: 0,
        needs_flush: false,
        last_packet: Instant::now(),
        stuck_since: Instant::now(),
    };
    if let Some(session) = client.welcome(&stop).await {
        let gauge = metrics::gauge!("sightline_mqtt_connections");
        gauge.increment(1.0);
        client.run(session, &stop).await;
        gauge.decrement(1.0);
    }
}

/// A client.
struct Client<S> {
    broker: Arc<Broker>,
    access: Access,
    entry: Entry,
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    decoder: Decoder,
    input: Vec<u8>,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
    needs_flush: bool,
    last_packet: Instant,
    stuck_since: Instant,
}

/// What a client that was let in has.
struct Session {
    id: SessionId,
    level: Level,
    packet_bytes_max: usize,
    silence_max: Duration,
    /// What DISCONNECT said of the session's life.
    expiry_sec: Option<u32>,
}

impl<S: AsyncRead + AsyncWrite + Send> Client<S> {
    /// Waits for CONNECT and answers it. `None`: there is no session.
    async fn welcome(&mut self, stop: &CancellationToken) -> Option<Session> {
        let handle = Arc::clone(&self.entry.listed.handle);
        let connect = tokio::select! {
            connect = tokio::time::timeout(CONNECT_TIMEOUT, self.connect()) => connect.unwrap_or(Err(End::Silent)),
            () = handle.ended.cancelled() => Err(handle.why()),
            () = stop.cancelled() => Err(End::Stopping),
        };
        let connect = match connect {
            Ok(connect) => connect,
            Err(end) => {
                metrics::counter!("sightline_mqtt_no_connect_total").increment(1);
                tracing::debug!(owner = %self.entry.owner, %end, "no CONNECT");
                if end == End::Unreadable(Unreadable::Version) {
                    self.put(encode::connack_unknown_version().ok());
                }
                self.farewell().await;
                return None;
            }
        };
        let session = self.admit(connect).await;
        if session.is_none() {
            self.farewell().await;
        }
        session
    }

    /// Reads up to the end of CONNECT.
    async fn connect(&mut self) -> Result<Connect, End> {
        loop {
            if let Some((packet, length)) = self.decoder.next(&self.input, self.broker.clock.now())? {
                self.input.drain(..length);
                let Incoming::Connect(connect) = packet else { return Err(End::Unreadable(Unreadable::Protocol)) };
                return Ok(*connect);
            }
            self.input.reserve(READ_BYTES);
            match self.reader.read_buf(&mut self.input).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(End::Gone),
            }
        }
    }

    async fn admit(&mut self, mut connect: Connect) -> Option<Session> {
        let level = connect.level;
        let (assigned, enrolled_at) = match self.check(&mut connect).await {
            Ok(checked) => checked,
            Err(answer) => {
                self.put(encode::connack(level, answer, &Terms::default()).ok());
                return None;
            }
        };
        let (keep_alive_sec, silence_max) = keep_alive(level, connect.keep_alive_sec);
        let key = ClientKey { owner: self.entry.owner.clone(), client_id: connect.client_id.clone() };
        let listed = &self.entry.listed;
        let link = Link { number: listed.number, address: listed.address, handle: Arc::clone(&listed.handle) };
        if let Some((device, at)) = self.device().zip(enrolled_at) {
            self.broker.router().enrolled(&device, at);
        }
        let connected = self.broker.router().connect(&key, &connect, link);
        let Some(Connected { session: id, has_session, expiry, taken_from, wills }) = connected else {
            self.put(encode::connack(level, Answer::Unavailable, &Terms::default()).ok());
            return None;
        };
        self.entry.set_in(true);
        for will in wills {
            self.broker.publish_will(will).await;
        }
        let asked_sec = u64::from(connect.session_expiry_sec);
        let granted_sec = (asked_sec != expiry.as_secs()).then(|| u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX));
        let terms = Terms { has_session, session_expiry_sec: granted_sec, keep_alive_sec, client_id: assigned };
        self.put(encode::connack(level, Answer::Accepted, &terms).ok());
        // Before the database is asked: a fleet that comes back at once must not wait for each other's events.
        self.send_out().await;
        if let Some(device) = self.device() {
            let address = self.entry.listed.address.ip();
            match taken_from {
                Some(older) => self.broker.taken_over(&device, older.address.ip(), address).await,
                None => self.broker.connected(&device, address).await,
            }
            self.broker.presence.connected(&device, self.entry.listed.number).await;
        }
        let packet_bytes_max = usize::try_from(connect.packet_bytes_max).unwrap_or(usize::MAX);
        Some(Session { id, level, packet_bytes_max, silence_max, expiry_sec: None })
    }

    /// Whether the client may come in: the client id that it was given, if it named none, and when its device was enrolled.
    async fn check(&mut self, connect: &mut Connect) -> Result<(Option<String>, Option<i64>), Answer> {
        if let Err(exceeded) = self.broker.budgets.pay(&self.entry.owner, Cost::Connect, self.broker.clock.now()) {
            self.broker.exceeded(&self.access, exceeded).await;
            return Err(Answer::TooOften);
        }
        let mut assigned = None;
        if connect.client_id.is_empty() && matches!(self.entry.owner, Owner::Operator(_)) {
            if connect.level == Level::Three && !connect.is_clean {
                return Err(Answer::BadClientId);
            }
            connect.client_id = format!("auto-{}", command_id());
            assigned = Some(connect.client_id.clone());
        }
        let will_topic = connect.will.as_ref().map(|will| &*will.publication.topic);
        // A resumed session of TLS does not look at that again.
        let has_expired = self.entry.listed.valid_until <= self.broker.clock.unix_secs();
        let admitted = if has_expired { Err(Refusal::Expired) } else { self.access.admit(&connect.client_id, will_topic).await };
        let refusal = match admitted {
            Ok(enrolled_at) => return Ok((assigned, enrolled_at)),
            Err(refusal) => refusal,
        };
        let address = self.entry.listed.address;
        if self.broker.may_log(&self.entry.owner) {
            tracing::warn!(%address, owner = %self.entry.owner, client_id = connect.client_id, %refusal, "MQTT connection refused");
        }
        metrics::counter!("sightline_mqtt_connections_refused_total", "reason" => "not_allowed").increment(1);
        self.access.refused(&connect.client_id, address, &refusal.to_string()).await;
        Err(if refusal == Refusal::NoDatabase { Answer::Unavailable } else { Answer::Forbidden })
    }

    /// Runs until the connection ends, then clears up.
    async fn run(&mut self, mut session: Session, stop: &CancellationToken) {
        let end = match self.turn(&mut session, stop).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        self.entry.set_in(false);
        tracing::debug!(owner = %self.entry.owner, address = %self.entry.listed.address, %end, "an MQTT connection ended");
        if let End::Unreadable(why) = end
            && self.broker.may_log(&self.entry.owner)
        {
            tracing::warn!(owner = %self.entry.owner, address = %self.entry.listed.address, %why, "an MQTT client was cut");
        }
        // A revoked client says nothing any more, and a broker that stops is no sign of a client's end.
        let keeps_will = !matches!(end, End::Goodbye | End::Revoked | End::Stopping);
        let (number, now) = (self.entry.listed.number, self.broker.clock.now());
        let will = self.broker.router().disconnect(session.id, number, keeps_will, session.expiry_sec, now);
        if let Some(will) = will {
            self.broker.publish_will(will).await;
        }
        if let Some(device) = self.device() {
            self.broker.presence.disconnected(&device, number).await;
        }
        self.put(encode::disconnect(session.level, end));
        self.farewell().await;
    }

    /// One turn after the other: sends what waits, and takes what comes.
    async fn turn(&mut self, session: &mut Session, stop: &CancellationToken) -> Result<std::convert::Infallible, End> {
        let handle = Arc::clone(&self.entry.listed.handle);
        self.last_packet = Instant::now();
        loop {
            self.take_in(session).await?;
            self.fill(session);
            let has_output = self.needs_flush;
            let silent_at = self.last_packet + session.silence_max;
            let deadline = if has_output { silent_at.min(self.stuck_since + STUCK_TIMEOUT) } else { silent_at };
            let may_read = self.output.len() - self.written < OUTPUT_BYTES_MAX;
            self.input.reserve(READ_BYTES);
            tokio::select! {
                () = handle.ended.cancelled() => return Err(handle.why()),
                () = stop.cancelled() => return Err(End::Stopping),
                () = handle.wake.notified() => {}
                read = self.reader.read_buf(&mut self.input), if may_read => match read {
                    Ok(bytes @ 1..) => self.pay(Cost::Bytes(bytes)).await?,
                    Ok(0) | Err(_) => return Err(End::Gone),
                },
                written = write(&mut self.writer, &self.output, &mut self.written, &mut self.stuck_since), if has_output => {
                    written.map_err(|_| End::Gone)?;
                    self.output.clear();
                    (self.written, self.needs_flush) = (0, false);
                    if self.output.capacity() > OUTPUT_BYTES_MAX {
                        self.output = Vec::new();
                    }
                }
                () = tokio::time::sleep_until(deadline) => {
                    let is_stuck = has_output && self.stuck_since + STUCK_TIMEOUT <= Instant::now();
                    return Err(if is_stuck { End::Stuck } else { End::Silent });
                }
            }
        }
    }

    /// Obeys the packets that are whole.
    async fn take_in(&mut self, session: &mut Session) -> Result<(), End> {
        let (mut at, mut packets) = (0, 0_u32);
        while let Some((packet, length)) = self.decoder.next(&self.input[at..], self.broker.clock.now())? {
            // One that was ended is obeyed no more: an operator's commands, above all.
            let handle = &self.entry.listed.handle;
            if handle.ended.is_cancelled() {
                return Err(handle.why());
            }
            at += length;
            self.last_packet = Instant::now();
            self.obey(session, packet).await?;
            packets += 1;
            // Those who get the messages have their turn before the next ones come: their queues are bounded.
            if packets.is_multiple_of(PACKETS_PER_TURN) {
                tokio::task::yield_now().await;
            }
        }
        self.input.drain(..at);
        if self.input.is_empty() && self.input.capacity() > 4 * READ_BYTES {
            self.input = Vec::new();
        }
        Ok(())
    }

    async fn obey(&mut self, session: &mut Session, packet: Incoming) -> Result<(), End> {
        let (id, number) = (session.id, self.entry.listed.number);
        match packet {
            Incoming::Publish { publication, id: packet } => self.publish(session, publication, packet).await,
            Incoming::Puback { id: packet } => {
                // Those of messages that were sent are bounded by the window, and free; others are not.
                if self.broker.router().acknowledged(id, number, packet) { Ok(()) } else { self.pay(Cost::Packet).await }
            }
            Incoming::Subscribe { id: packet, entries } => {
                let mut granted = Vec::with_capacity(entries.len());
                for wanted in entries {
                    self.pay(Cost::Packet).await?;
                    granted.push(self.subscribe(session, &wanted).await?);
                }
                self.put(encode::suback(session.level, packet, &granted).ok());
                Ok(())
            }
            Incoming::Unsubscribe { id: packet, filters } => {
                let mut existed = Vec::with_capacity(filters.len());
                for filter in filters {
                    self.pay(Cost::Packet).await?;
                    existed.push(self.broker.router().unsubscribe(id, number, &filter));
                }
                self.put(encode::unsuback(session.level, packet, &existed).ok());
                Ok(())
            }
            Incoming::Pingreq => {
                self.pay(Cost::Packet).await?;
                self.put(Some(encode::pingresp(session.level)));
                Ok(())
            }
            Incoming::Disconnect { with_will, session_expiry_sec } => {
                session.expiry_sec = session_expiry_sec;
                Err(if with_will { End::Gone } else { End::Goodbye })
            }
            Incoming::Connect(_) => Err(End::Unreadable(Unreadable::Protocol)),
        }
    }

    async fn publish(&mut self, session: &Session, publication: Publication, packet: Option<u16>) -> Result<(), End> {
        self.pay(Cost::Message).await?;
        let parsed = Topic::parse(&publication.topic).filter(|_| self.access.may_publish(&publication.topic));
        let taken = match parsed {
            Some((device, topic)) => self.pass_on(session, &device, topic, publication).await,
            None => {
                self.violation(Action::MqttPublishRefuse, &publication.topic).await?;
                Taken::Forbidden
            }
        };
        if let Some(packet) = packet {
            self.put(encode::puback(session.level, packet, taken));
        }
        Ok(())
    }

    async fn pass_on(&self, session: &Session, device: &DeviceId, topic: Topic, publication: Publication) -> Taken {
        let correlation = publication.properties.as_ref().and_then(|properties| properties.correlation.clone());
        let received = self.broker.uplink.receive(device, topic, &publication.payload, correlation.as_deref(), self.access.sender()).await;
        let Ok(reply) = received else { return Taken::NotStored };
        self.broker.route(Some(session.id), device, topic, publication);
        if let Some(reply) = reply {
            self.broker.publish(device, reply);
        }
        Taken::Yes
    }

    async fn subscribe(&mut self, session: &Session, wanted: &Wanted) -> Result<Granted, End> {
        let text = wanted.filter.as_str();
        let Some(filter) = Filter::parse(text) else { return Ok(Granted::BadFilter) };
        if filter.group.is_some() && wanted.options.no_local {
            return Err(End::Unreadable(Unreadable::Protocol));
        }
        if !self.access.may_subscribe(text) {
            self.violation(Action::MqttSubscribeRefuse, text).await?;
            return Ok(Granted::Forbidden);
        }
        let is_in = self.broker.router().subscribe(session.id, self.entry.listed.number, text, filter, wanted.options);
        Ok(if is_in { Granted::Qos(wanted.options.qos) } else { Granted::TooMany })
    }

    /// A forbidden topic; the error says that it was one too many.
    async fn violation(&mut self, action: Action, topic: &str) -> Result<(), End> {
        if self.broker.may_log(&self.entry.owner) {
            let topic = sightline_listen::shortened(topic);
            tracing::warn!(owner = %self.entry.owner, action = action.as_str(), topic, "forbidden topic");
        }
        if self.access.violation(action, topic).await { Err(End::Forbidden) } else { Ok(()) }
    }

    async fn pay(&mut self, cost: Cost) -> Result<(), End> {
        let paid = self.broker.budgets.pay(&self.entry.owner, cost, self.broker.clock.now());
        let Err(exceeded) = paid else { return Ok(()) };
        self.broker.exceeded(&self.access, exceeded).await;
        Err(exceeded.end())
    }

    /// Encodes what waits for the client, up to what may wait to be written.
    fn fill(&mut self, session: &Session) {
        while self.output.len() - self.written < OUTPUT_BYTES_MAX {
            let (number, now) = (self.entry.listed.number, self.broker.clock.now());
            let Some(delivery) = self.broker.router().next(session.id, number, now) else { return };
            let bytes = encode::publish(session.level, &delivery, now).ok().filter(|bytes| bytes.len() <= session.packet_bytes_max);
            if bytes.is_none()
                && let Some(id) = delivery.id
            {
                // Longer than the client takes: as if it had been sent (MQTT 5, 3.1.2.11.4).
                self.broker.router().acknowledged(session.id, number, id);
            }
            self.put(bytes);
        }
    }

    /// Appends a packet to what is written next.
    fn put(&mut self, bytes: Option<Vec<u8>>) {
        let Some(bytes) = bytes else { return };
        if !self.needs_flush {
            self.needs_flush = true;
            self.stuck_since = Instant::now();
        }
        self.output.extend_from_slice(&bytes);
    }

    /// Sends what is left, for a moment.
    async fn send_out(&mut self) {
        let written = write(&mut self.writer, &self.output, &mut self.written, &mut self.stuck_since);
        if let Ok(Ok(())) = tokio::time::timeout(PACKET_TIMEOUT, written).await {
            self.output.clear();
            (self.written, self.needs_flush) = (0, false);
        }
    }

    /// Sends what is left, and ends the stream.
    async fn farewell(&mut self) {
        self.send_out().await;
        let _ = tokio::time::timeout(PACKET_TIMEOUT, self.writer.shutdown()).await;
    }

    fn device(&self) -> Option<DeviceId> {
        match &self.entry.listed.subject {
            Subject::Device { id, .. } => Some(id.clone()),
            Subject::Operator { .. } => None,
        }
    }
}

/// Writes all of `output` from `written` on. It may be dropped at any time and goes on from there.
async fn write<S: AsyncRead + AsyncWrite>(
    writer: &mut WriteHalf<S>,
    output: &[u8],
    written: &mut usize,
    stuck_since: &mut Instant,
) -> std::io::Result<()> {
    while *written < output.len() {
        let bytes = writer.write(&output[*written..]).await?;
        if bytes == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        *written += bytes;
        *stuck_since = Instant::now();
    }
    writer.flush().await
}

/// The keep-alive that a client of MQTT 5 is given instead of its own, and how long it may be silent.
fn keep_alive(level: Level, asked_sec: u16) -> (Option<u16>, Duration) {
    let granted_sec = match level {
        Level::Five if asked_sec == 0 => Some(KEEP_ALIVE_DEFAULT_SEC),
        Level::Five if asked_sec > KEEP_ALIVE_MAX_SEC => Some(KEEP_ALIVE_MAX_SEC),
        Level::Three | Level::Five => None,
    };
    let seconds = match (granted_sec, asked_sec) {
        (Some(granted_sec), _) => granted_sec,
        // A client of 3.1.1 can't be given another one.
        (None, 0) => KEEP_ALIVE_MAX_SEC,
        (None, asked_sec) => asked_sec,
    };
    (granted_sec, Duration::from_secs(u64::from(seconds)) * 3 / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_a_keep_alive_is_given_one_and_none_is_silent_for_a_day() {
        let seconds = |level, asked_sec| {
            let (granted_sec, silence) = keep_alive(level, asked_sec);
            (granted_sec, silence.as_secs())
        };
        assert_eq!((seconds(Level::Five, 60), seconds(Level::Three, 60)), ((None, 90), (None, 90)));
        assert_eq!(seconds(Level::Five, 0), (Some(300), 450));
        assert_eq!(seconds(Level::Five, u16::MAX), (Some(3600), 5400));
        assert_eq!(seconds(Level::Three, 0), (None, 5400), "3.1.1 can't be given another one");
    }
}
