//! The terminal: logs, errors, and the wish to stop.

use crate::args::{Args, Camera, Command, LogFormat};
use std::{error::Error, io::IsTerminal as _, process::ExitCode};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Logs go to standard error; `RUST_LOG` rules where it is set. The demo keeps quiet about what goes well.
pub(crate) fn start_logging(args: &Args) {
    let calm =
        matches!(args.command, Command::Demo(_) | Command::Push(_) | Command::Doctor(_) | Command::Camera(Camera { action: Some(_), .. }));
    let level = match (args.quiet, args.verbose, calm) {
        (true, _, _) => "error",
        (_, 0, true) => "warn",
        (_, 0, false) | (_, 1, _) => "warn,sightline=info",
        (_, 2, _) => "info,sightline=debug",
        (_, _, _) => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // It would be told on standard error, which is what can't be written: a full disk under the log ends no task.
    let logs = logs.log_internal_errors(false);
    match args.log_format {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().with_current_span(false).init(),
    }
}

/// Says why, with every cause once.
pub(crate) fn fail(error: &(dyn Error + 'static)) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    eprintln!("error: {text}");
    ExitCode::from(if error.is::<WrongUse>() { 2 } else { 1 })
}

/// The command line asks for something that makes no sense: exit status 2, as for what clap refuses.
#[derive(Debug)]
pub(crate) struct WrongUse(pub(crate) String);

impl std::fmt::Display for WrongUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for WrongUse {}

/// Cancelled by Ctrl-C and by SIGTERM. A second one ends the process at once.
pub(crate) fn stop_signal() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let token = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "it lives as long as the process and owns nothing")]
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if is_first {
                token.cancel();
            } else {
                // As a shell reports a process that Ctrl-C ended.
                std::process::exit(130);
            }
        }
    });
    Ok(stop)
}

/// Writes data to standard output; a reader that has gone away is no error.
pub(crate) fn print(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// What a shell completes, from the definitions that the command line is read by.
pub(crate) fn completions(shell: clap_complete::Shell) -> String {
    use clap::CommandFactory as _;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "sightline", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes the manual's pages, from the definitions that the command line is read by. Gives how many there are.
pub(crate) fn write_manual(dir: &std::path::Path) -> Result<usize, crate::Failure> {
    use clap::CommandFactory as _;
    let wrong = |error| format!("{} can't be written: {error}; name a directory that you may write", dir.display());
    std::fs::create_dir_all(dir).map_err(wrong)?;
    // Each command would have `help` among its own, with a page for every other command.
    let args = Args::command().disable_help_subcommand(true);
    clap_mangen::generate_to(args, dir).map_err(wrong)?;
    let pages = std::fs::read_dir(dir).map_err(wrong)?.flatten();
    Ok(pages.filter(|page| page.file_name().to_string_lossy().starts_with("sightline")).count())
}

/// Writes what is for people to standard error.
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_manual_page_with_its_options_and_examples() {
        use clap::CommandFactory as _;
        let dir = tempfile::tempdir().unwrap();
        let pages = dir.path().join("share/man1");
        let written = write_manual(&pages).unwrap();
        let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
        let commands: Vec<String> = Args::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        assert!(written > commands.len() && !pages.join("sightline-help.1").exists());
        assert!(commands.iter().all(|command| page("sightline.1").contains(&format!("sightline\\-{command}(1)"))));
        assert!(commands.iter().all(|command| page(&format!("sightline-{command}.1")).starts_with(".ie")));
        let push = page("sightline-push.1");
        assert!(["quality", "Examples:", "log\\-format"].iter().all(|word| push.contains(word)), "{push}");
        std::fs::write(dir.path().join("file"), "").unwrap();
        let failure = write_manual(&dir.path().join("file")).unwrap_err().to_string();
        assert!(failure.contains("name a directory that you may write"), "{failure}");
    }

    #[test]
    fn shells_complete_subcommands_and_their_options() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let script = completions(shell);
            assert!(["doctor", "rotate", "log-format"].iter().all(|word| script.contains(word)), "{shell}");
        }
    }
}
