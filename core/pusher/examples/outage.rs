//! How long a camera takes to come back after its server was away, by the length of the outage. In virtual time: it takes no time at all.
//!
//! ```text
//! cargo run -p sightline-pusher --example outage
//! ```

#![expect(clippy::print_stdout, reason = "a table on standard output is what it is for")]

use sightline_media::{Instant, WallTime};
use sightline_pusher::{Action, Config, FixedServer, Input, Pusher};
use sightline_signal::{DeviceId, Text};
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    println!("outage  back after its end");
    for outage_sec in [1_u64, 10, 60, 600, 3600] {
        let wait = back_after(Duration::from_secs(outage_sec))?;
        println!("{outage_sec:>5} s  {:>5.1} s", wait.as_secs_f64());
    }
    Ok(())
}

/// The wait from the end of the outage to the next dial, which would find the server.
fn back_after(outage: Duration) -> Result<Duration, Box<dyn Error>> {
    let url = Text::try_from("rtmp://192.0.2.1/live").map_err(|_| "the URL is too long")?;
    let server = FixedServer { tc_urls: [url].into_iter().collect(), name: Text::new() };
    let device = DeviceId::new("cam-1").map_err(|_| "no device id")?;
    let mut pusher = Pusher::<&[u8], 30>::new(Config { server: Some(server), ..Config::new(device) }, 1);
    let mut now = Instant::ZERO;
    loop {
        pusher.handle_timeout(now);
        while let Some(action) = pusher.poll_action(WallTime::default()) {
            if matches!(action, Action::Dial { .. }) {
                if now.since(Instant::ZERO) >= outage {
                    return Ok(now.since(Instant::ZERO) - outage);
                }
                // Nobody listens: the system says so at once.
                pusher.handle(now, Input::LinkClosed(None));
            }
        }
        now = pusher.poll_timeout().ok_or("nothing to wait for")?;
    }
}
