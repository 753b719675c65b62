//! `sightline server …`: RTMP servers of others, and servers that are to be emptied.

use crate::{
    Failure,
    args::{Server, ServerAction},
    terminal,
};
use sightline_cloud::admin::servers::{self, NewServer};
use std::path::Path;

pub(crate) async fn run(dir: &Path, server: Server) -> Result<(), Failure> {
    let json = server.cloud.json;
    let done = |id: &str, what: &str, words: &str| {
        if json {
            terminal::print(&serde_json::json!({ "id": id, what: true }).to_string());
        } else {
            terminal::say(&format!("{id}: {words}"));
        }
    };
    match server.action {
        ServerAction::Add { id, url, name, region, capacity_kbps } => {
            let new = NewServer { id: id.clone(), name, region, rtmp_url: url.reveal().into(), capacity_kbps };
            servers::add_server(dir, new).await?;
            done(&id, "added", "cameras are sent there; a cloud that runs knows it within two seconds");
        }
        ServerAction::List => {
            let all = servers::list_servers(dir).await?;
            if json {
                terminal::print(&serde_json::to_string(&all)?);
                return Ok(());
            }
            for server in &all {
                let state = if server.draining { "draining" } else { "" };
                terminal::print(&format!("{:<20} {:<9} {:<12} {:<9} {}", server.id, server.kind, server.region, state, server.rtmp_url));
            }
            if all.is_empty() {
                terminal::say("no server yet: an origin comes by its first report, one of others by `sightline server add ID URL`");
            }
        }
        ServerAction::Drain { id, undo } => {
            servers::drain_server(dir, &id, !undo).await?;
            match undo {
                true => done(&id, "used", "it is given cameras again"),
                false => done(&id, "draining", "it is given no cameras, and those that it has are called away"),
            }
        }
        ServerAction::Remove { id } => {
            servers::remove_server(dir, &id).await?;
            done(&id, "removed", "removed");
        }
    }
    Ok(())
}
