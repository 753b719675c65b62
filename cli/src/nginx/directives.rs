//! Each directive of the RTMP module, and what it becomes (its documentation: nginx-rtmp-module's wiki, "Directives").

use super::{Finding, Imported, Outcome, Placed, values};
use nginx_lint_parser::ast::Directive;
use std::fmt::Write as _;

/// One relay as it will stand.
struct Relay {
    name: String,
    url: String,
}

/// One application.
#[derive(Default)]
struct App {
    name: String,
    rules: Vec<String>,
}

/// The settings as far as they are known.
#[derive(Default)]
pub(super) struct Import {
    findings: Vec<Finding>,
    servers: usize,
    listen: Option<String>,
    apps: Vec<App>,
    /// Directives stand in an application.
    is_in_app: bool,
    /// Rules that hold for all applications.
    rules: Vec<String>,
    relays: Vec<Relay>,
    /// `(table, key, value)`, in the order in which they came.
    settings: Vec<(&'static str, &'static str, String)>,
    hls_fragment_ms: Option<u64>,
    hls_playlist_ms: Option<u64>,
}

/// What a directive has become.
enum Become {
    Setting(&'static str, &'static str, String),
    Said(Outcome, String),
}

fn mapped(note: impl Into<String>) -> Become {
    Become::Said(Outcome::Mapped, note.into())
}

fn always(note: &str) -> Become {
    Become::Said(Outcome::AlwaysSo, note.to_owned())
}

fn not(note: impl Into<String>) -> Become {
    Become::Said(Outcome::NotMapped, note.into())
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A directive as it stands there; of an address scheme, host and application stay.
fn shown(directive: &Directive) -> String {
    let words = directive.args.iter().map(|argument| match argument.as_str().split_once("://") {
        Some((scheme, rest)) => {
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            let mut parts = rest.splitn(3, '/');
            let (host, app) = (parts.next().unwrap_or_default(), parts.next());
            let host = host.rsplit('@').next().unwrap_or_default();
            let key = if parts.next().is_some_and(|key| !key.is_empty()) { "/***" } else { "" };
            format!("{scheme}://{host}{}{key}", app.map(|app| format!("/{app}")).unwrap_or_default())
        }
        None => argument.raw.clone(),
    });
    let words: Vec<String> = words.collect();
    let block = if directive.block.is_some() { " { … }" } else { "" };
    format!("{} {}{block}", directive.name, words.join(" ")).trim().to_owned()
}

impl Import {
    pub(super) fn is_empty(&self) -> bool {
        self.servers == 0 && self.apps.is_empty()
    }

    pub(super) fn server(&mut self) {
        self.servers += 1;
    }

    fn find(&mut self, placed: &Placed<'_>, outcome: Outcome, note: impl Into<String>) {
        let Placed { file, directive } = placed;
        let (file, line, directive) = ((*file).to_owned(), directive.span.start.line, shown(directive));
        self.findings.push(Finding { file, line, directive, outcome, note: note.into() });
    }

    /// Outside of `rtmp { }`: those that belong to the RTMP module all the same.
    pub(super) fn outside(&mut self, placed: &Placed<'_>) {
        match placed.directive.name.as_str() {
            "rtmp_auto_push" | "rtmp_auto_push_reconnect" | "rtmp_socket_dir" => {
                self.find(placed, Outcome::AlwaysSo, "one process serves all: there are no workers to push between");
            }
            "http"
            | "events"
            | "worker_processes"
            | "user"
            | "pid"
            | "error_log"
            | "worker_rlimit_nofile"
            | "load_module"
            | "daemon"
            | "master_process"
            | "env"
            | "stream"
            | "worker_cpu_affinity" => {}
            _ => {}
        }
        if placed.directive.name == "http" {
            self.http(placed);
        }
    }

    /// Of `http { }` what stands there for the RTMP module.
    fn http(&mut self, placed: &Placed<'_>) {
        let mut blocks: Vec<&Directive> = vec![placed.directive];
        while let Some(directive) = blocks.pop() {
            for inner in directive.block.iter().flat_map(nginx_lint_parser::ast::Block::directives) {
                let placed = Placed { file: placed.file, directive: inner };
                match inner.name.as_str() {
                    "rtmp_stat" | "rtmp_stat_stylesheet" => {
                        self.find(
                            &placed,
                            Outcome::NotMapped,
                            "no page of statistics in XML: /metrics (Prometheus), GET /api/v1/streams and the console",
                        );
                    }
                    "rtmp_control" => {
                        self.find(&placed, Outcome::NotMapped, "no control module: the cloud's API, POST /api/v1/devices/{id}/command");
                    }
                    _ => {}
                }
                blocks.push(inner);
            }
        }
    }

    pub(super) fn application(&mut self, placed: &Placed<'_>) {
        let name = placed.directive.first_arg().unwrap_or("live").to_owned();
        self.find(placed, Outcome::Mapped, format!("[[apps]] name = {}", quoted(&name)));
        self.apps.push(App { name, rules: Vec::new() });
        self.is_in_app = true;
    }

    pub(super) fn end_application(&mut self) {
        self.is_in_app = false;
    }

    /// `recorder name { … }`: further recordings of the same stream.
    pub(super) fn recorder(&mut self, placed: &Placed<'_>, inner: &[&Directive]) {
        let wants = |directive: &&&Directive| directive.name == "record" && !directive.first_arg_is("off");
        let note = if inner.iter().any(|directive| wants(&directive)) {
            "an origin records each stream once, as fragmented MP4 and, where record.flv asks for it, FLV"
        } else {
            "it records nothing"
        };
        self.find(placed, Outcome::NotMapped, note);
    }

    pub(super) fn directive(&mut self, placed: &Placed<'_>) {
        let directive = placed.directive;
        let first = directive.first_arg().unwrap_or_default().to_owned();
        let became = self.becomes(directive, &first);
        match became {
            Become::Said(outcome, note) => self.find(placed, outcome, note),
            Become::Setting(table, key, value) => {
                let known = self.settings.iter().find(|(of, name, _)| (*of, *name) == (table, key)).map(|(.., value)| value.clone());
                match known {
                    Some(known) if known != value => {
                        let known = if table == "callbacks" { "set" } else { known.as_str() };
                        let note = format!("{table}.{key} is {known} already, from above: an origin has one for all applications");
                        self.find(placed, Outcome::NotMapped, note);
                    }
                    Some(_) => self.find(placed, Outcome::Mapped, format!("{table}.{key}")),
                    None => {
                        // An endpoint's address may hold its key.
                        let note = if table == "callbacks" { format!("{table}.{key}") } else { format!("{table}.{key} = {value}") };
                        self.find(placed, Outcome::Mapped, note);
                        self.settings.push((table, key, value));
                    }
                }
            }
        }
    }

    fn becomes(&mut self, directive: &Directive, first: &str) -> Become {
        match directive.name.as_str() {
            "listen" => self.listen(first),
            "allow" | "deny" => self.rule(directive),
            "push" => self.push(first),
            "hls"
            | "hls_path"
            | "hls_fragment"
            | "hls_playlist_length"
            | "hls_nested"
            | "hls_cleanup"
            | "hls_continuous"
            | "hls_sync"
            | "hls_base_url"
            | "hls_fragment_naming"
            | "hls_fragment_naming_granularity"
            | "hls_fragment_slicing"
            | "hls_variant"
            | "hls_type"
            | "hls_keys"
            | "hls_key_path"
            | "hls_key_url"
            | "hls_fragments_per_key"
            | "hls_max_fragment" => self.hls(directive, first),
            "record" | "record_path" | "record_suffix" | "record_unique" | "record_append" | "record_lock" | "record_max_size"
            | "record_max_frames" | "record_interval" | "record_notify" => record(directive, first),
            "on_publish"
            | "on_play"
            | "on_publish_done"
            | "on_play_done"
            | "on_record_done"
            | "on_update"
            | "on_connect"
            | "on_done"
            | "on_disconnect"
            | "notify_method"
            | "notify_update_timeout"
            | "notify_update_strict"
            | "notify_relay_redirect"
            | "notify_send_redirect" => notify(directive, first),
            _ => session(directive, first),
        }
    }

    fn listen(&mut self, first: &str) -> Become {
        let Some(address) = values::listen(first) else {
            return not(format!("{first} is no address that an origin can listen on: set rtmp.listen"));
        };
        match &self.listen {
            None => {
                self.listen = Some(address.to_string());
                mapped(format!("rtmp.listen = \"{address}\""))
            }
            Some(known) if *known == address.to_string() => mapped(format!("rtmp.listen = \"{known}\"")),
            // Most files name the port for IPv4 and for IPv6.
            Some(known) if known.ends_with(&format!(":{}", address.port())) && address.ip().is_unspecified() => {
                self.listen = Some(format!("[::]:{}", address.port()));
                mapped(format!("rtmp.listen = \"[::]:{}\", for IPv4 and IPv6", address.port()))
            }
            Some(known) => {
                not(format!("an origin listens on one RTMP address, {known}: run another origin with a data_dir of its own for {address}"))
            }
        }
    }

    fn rule(&mut self, directive: &Directive) -> Become {
        let words: Vec<&str> = directive.args.iter().map(nginx_lint_parser::ast::Argument::as_str).collect();
        let rule = format!("{} {}", directive.name, words.join(" "));
        match self.apps.last_mut().filter(|_| self.is_in_app) {
            Some(app) => app.rules.push(rule.clone()),
            None => self.rules.push(rule.clone()),
        }
        mapped(format!("a rule of [[apps]]: {}", quoted(&rule)))
    }

    fn push(&mut self, first: &str) -> Become {
        let url = if first.contains("://") { first.to_owned() } else { format!("rtmp://{first}") };
        let host = url.split("://").nth(1).unwrap_or_default().split(['/', ':']).next().unwrap_or_default();
        if host.is_empty() || host.starts_with('$') {
            return not("a target that is made of variables: give [[relays]] an address of its own");
        }
        let same = self.relays.iter().filter(|relay| relay.name == host || relay.name.starts_with(&format!("{host}-"))).count();
        let name = if same == 0 { host.to_owned() } else { format!("{host}-{}", same + 1) };
        let note = if self.apps.len() > 1 {
            format!("[[relays]] name = {}, for the streams of all applications: narrow it with `streams`", quoted(&name))
        } else {
            format!("[[relays]] name = {}", quoted(&name))
        };
        self.relays.push(Relay { name, url });
        mapped(note)
    }

    fn hls(&mut self, directive: &Directive, first: &str) -> Become {
        match directive.name.as_str() {
            "hls" if first == "off" => {
                not("HLS is made when someone asks for it, and costs nothing before; to deny it, limit a key's ways")
            }
            "hls" => always("each stream plays as HLS, low latency too, at /live/{playback}/index.m3u8, made while someone asks for it"),
            "hls_path" => always("segments are served from memory: there is no directory to serve or clean"),
            "hls_fragment" => match values::time_ms(first, 1000) {
                Some(ms) => {
                    self.hls_fragment_ms = Some(ms);
                    let secs = ms.div_ceil(1000).max(1);
                    Become::Setting("http", "hls_segment_sec", secs.to_string())
                }
                None => not(format!("{first} is no time")),
            },
            "hls_playlist_length" => match values::time_ms(first, 1000) {
                Some(ms) => {
                    self.hls_playlist_ms = Some(ms);
                    mapped("http.hls_segments, as many as fit into it")
                }
                None => not(format!("{first} is no time")),
            },
            "hls_nested" | "hls_cleanup" | "hls_continuous" => {
                always("each stream has a directory of its own, old segments go, and numbers go on over a restart")
            }
            "hls_sync" | "hls_fragment_slicing" | "hls_max_fragment" => {
                always("times are the stream's own, and segments begin at key frames as long as those come")
            }
            "hls_fragment_naming" | "hls_fragment_naming_granularity" => {
                not("segments have names that never repeat; players take them from the playlist")
            }
            "hls_base_url" => not("addresses in playlists are relative: a proxy or CDN may serve them under any path"),
            "hls_type" => not("playlists are live; a recording is played from the archive"),
            "hls_variant" => not("one rendition a stream: let the camera send each size as a stream of its own"),
            _ => not("segments are not encrypted: serve them by HTTPS and let playing be signed (auth.play)"),
        }
    }

    /// The file of settings, with a word about what an origin needs besides.
    pub(super) fn finish(mut self) -> Imported {
        if let Some(ms) = self.hls_playlist_ms {
            let segment = self.hls_fragment_ms.unwrap_or(5000).div_ceil(1000).max(1) * 1000;
            self.settings.push(("http", "hls_segments", ms.div_ceil(segment).max(3).to_string()));
        }
        let mut text = String::from(
            "# From an nginx.conf. Publishers need a token of a cloud here, as name?token=...; for trials on one machine set\n\
             # auth.allow_unsigned_publish = true. Streams are played by their playback ids, not by the names that they are published under.\n",
        );
        // Most endpoints of an nginx.conf are on the same machine.
        if self.settings.iter().any(|(table, key, _)| *table == "callbacks" && key.starts_with("on_")) {
            self.settings.push(("callbacks", "allow_private_addresses", "true".to_owned()));
        }
        let names: Vec<String> = self.apps.iter().map(|app| quoted(&app.name)).collect();
        let mut tables: Vec<(&str, Vec<String>)> = vec![("rtmp", Vec::new())];
        if let Some(listen) = &self.listen {
            tables[0].1.push(format!("listen = {}", quoted(listen)));
        }
        if !names.is_empty() {
            let mut apps = names;
            apps.dedup();
            tables[0].1.push(format!("apps = [{}]", apps.join(", ")));
        }
        for (table, key, value) in &self.settings {
            let line = format!("{key} = {value}");
            match tables.iter_mut().find(|(name, _)| name == table) {
                Some((_, lines)) => lines.push(line),
                None => tables.push((table, vec![line])),
            }
        }
        for (name, lines) in tables.iter().filter(|(_, lines)| !lines.is_empty()) {
            let _ = writeln!(text, "\n[{name}]\n{}", lines.join("\n"));
        }
        for App { name, rules } in &self.apps {
            // nginx takes an application's own rules, and those around it only where it has none.
            let rules = if rules.is_empty() { &self.rules } else { rules };
            if !rules.is_empty() {
                let rules: Vec<String> = rules.iter().map(|rule| quoted(rule)).collect();
                let _ = writeln!(text, "\n[[apps]]\nname = {}\nrules = [{}]", quoted(name), rules.join(", "));
            }
        }
        for Relay { name, url } in &self.relays {
            let _ = writeln!(text, "\n[[relays]]\nname = {}\nurl = {}", quoted(name), quoted(url));
        }
        Imported { toml: text, findings: self.findings }
    }
}

fn record(directive: &Directive, first: &str) -> Become {
    let words: Vec<&str> = directive.args.iter().map(nginx_lint_parser::ast::Argument::as_str).collect();
    match directive.name.as_str() {
        "record" if first == "off" => Become::Setting("record", "enabled", "false".to_owned()),
        "record" if words.iter().any(|word| matches!(*word, "audio" | "video" | "keyframes" | "manual")) && !words.contains(&"all") => {
            not("an origin records all that a stream has, from its begin to its end")
        }
        "record" if words.contains(&"manual") => not("an origin records each stream from its begin to its end"),
        "record" => Become::Setting("record", "enabled", "true".to_owned()),
        "record_path" => Become::Setting("record", "dir", quoted(first)),
        "record_suffix" if first.trim_matches('"').ends_with(".flv") && !first.contains('%') => {
            Become::Setting("record", "flv", "true".to_owned())
        }
        "record_suffix" => not("files are named by their time (UTC), a directory a device"),
        "record_unique" => always("each publish is a file of its own, named by its time"),
        "record_append" => not("a publish never goes on in an old file: each is a file of its own"),
        "record_lock" => always("a file has one writer, and can be read while it grows"),
        "record_max_size" | "record_max_frames" => not("files are cut by time and by what changes in the stream"),
        "record_interval" => not("a file lasts as long as its publish"),
        _ => not("players hear of publishing, not of recording; on_record_done tells your own endpoint"),
    }
}

/// A pull is by the names of viewers, and from an origin: of a server of others it is not known which of them it would give.
fn pull(url: &str) -> String {
    let address = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = address.split('/').next().unwrap_or_default().rsplit('@').next().unwrap_or_default();
    let host = if host.starts_with('[') {
        host.split_inclusive(']').next().unwrap_or_default()
    } else {
        host.split(':').next().unwrap_or_default()
    };
    format!(
        "once {host} runs an origin, too, an edge takes each stream from it at the first viewer: [edge] upstreams = [\"http://{host}:8080\"]; of a server of others let a camera agent read that source (source = the address) and publish it"
    )
}

fn notify(directive: &Directive, first: &str) -> Become {
    let url = || quoted(first);
    match directive.name.as_str() {
        "on_publish" => Become::Setting("callbacks", "on_publish", url()),
        "on_play" => Become::Setting("callbacks", "on_play", url()),
        "on_publish_done" => Become::Setting("callbacks", "on_publish_done", url()),
        "on_play_done" => Become::Setting("callbacks", "on_play_done", url()),
        "on_record_done" => Become::Setting("callbacks", "on_record_done", url()),
        "on_update" => Become::Setting("callbacks", "on_update", url()),
        "notify_method" if first == "get" => Become::Setting("callbacks", "method", quoted("get")),
        "notify_method" => Become::Setting("callbacks", "method", quoted("post")),
        "notify_update_timeout" => match values::time_ms(first, 1) {
            Some(ms) => Become::Setting("callbacks", "update_sec", ms.div_ceil(1000).max(1).to_string()),
            None => not(format!("{first} is no time")),
        },
        "notify_update_strict" => not("an update that fails ends no stream: only on_publish and on_play decide"),
        "notify_relay_redirect" | "notify_send_redirect" => {
            not("a redirect of on_publish or on_play is an answer to the client, not a relay: set [[relays]]")
        }
        "on_connect" => not("a connection is nothing yet: on_publish and on_play decide, with the same fields"),
        _ => not("ends are told by on_publish_done and on_play_done"),
    }
}

/// What connections and streams do.
fn session(directive: &Directive, first: &str) -> Become {
    match directive.name.as_str() {
        "chunk_size" | "out_chunk_size" => match values::size_bytes(first) {
            Some(bytes) if (128..=1_048_576).contains(&bytes) => Become::Setting("rtmp", "chunk_size", bytes.to_string()),
            _ => not("rtmp.chunk_size is 128 to 1048576"),
        },
        "max_message" => match values::size_bytes(first) {
            Some(bytes) => Become::Setting("limits", "message_bytes", bytes.clamp(65_536, 16_777_215).to_string()),
            None => not(format!("{first} is no size")),
        },
        "max_connections" => Become::Setting("limits", "connections", first.to_owned()),
        "timeout" => match values::time_ms(first, 1) {
            Some(ms) => Become::Setting("rtmp", "idle_timeout_sec", ms.div_ceil(1000).max(1).to_string()),
            None => not(format!("{first} is no time")),
        },
        "drop_idle_publisher" => match values::time_ms(first, 1) {
            Some(ms) => Become::Setting("rtmp", "idle_timeout_sec", ms.div_ceil(1000).max(1).to_string()),
            None => not(format!("{first} is no time")),
        },
        "live" if first == "off" => not("every application is live"),
        "live" => always("every application is live"),
        "publish_notify" => always("players are told of a publisher's coming and going"),
        "wait_key" | "wait_video" => always("a viewer begins with the last key frame, at once"),
        "meta" | "interleave" | "sync" | "play_restart" | "idle_streams" | "buflen" => {
            always("viewers get metadata, times that only rise, and stay over a publisher's restart")
        }
        "ping" | "ping_timeout" | "ack_window" | "out_queue" | "out_cork" | "max_streams" | "busy" => {
            always("dead peers are found, and queues have limits of their own (limits.*)")
        }
        "pull" => not(pull(first)),
        "static" => not("let a camera agent read that source (source = the address) and publish it"),
        "push_reconnect" | "pull_reconnect" | "relay_buffer" | "session_relay" => {
            always("a relay is tried again after half a second, and at least every four seconds")
        }
        "exec" | "exec_push" | "exec_pull" | "exec_static" | "exec_publish" | "exec_play" | "exec_play_done" | "exec_publish_done"
        | "exec_record_done" | "exec_options" | "exec_kill_signal" | "respawn" | "respawn_timeout" => not(
            "nothing is executed from settings: a relay ([[relays]]) for copies, a callback for your own program; sizes and codecs are the camera's",
        ),
        "play" | "play_temp_path" | "play_local_path" => not("recordings are played from the archive, not from a directory of files"),
        "dash" | "dash_path" | "dash_fragment" | "dash_playlist_length" | "dash_nested" | "dash_cleanup" => {
            not("no DASH: LL-HLS is played by the same players (hls.js, Shaka, ExoPlayer)")
        }
        "access_log" | "log_format" => not("connections are in the log, and requests in /metrics; --log-format json for programs"),
        name => not(format!("{name} is not known here")),
    }
}
