//! `sightline`, the one binary: every role by a subcommand. Data goes to standard output, the rest to standard error;
//! the exit status is 0, 1 (it failed) or 2 (wrong use).

mod admin;
mod args;
mod args_cloud;
mod args_people;
mod cameras;
mod demo;
mod device_config;
mod doctor;
mod nginx;
mod operators;
mod people;
mod probe;
mod push;
mod recordings;
mod roles;
mod servers;
mod settings;
mod terminal;
mod tokens;

use args::{Args, Command};
use clap::Parser as _;
use std::process::ExitCode;

/// What a subcommand says when it fails: one sentence that names what, where and the mend.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args = Args::parse();
    terminal::start_logging(&args);
    // One provider of cryptography in the whole process, before anything speaks TLS.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a provider of cryptography is installed already");
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all();
    if matches!(args.command, Command::Origin(_)) {
        builder.on_thread_park(sightline_origin::gather);
    }
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => return terminal::fail(&error),
    };
    let outcome = runtime.block_on(run(args));
    // Threads that encode end with the process; what matters was ended by its owner.
    runtime.shutdown_background();
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => terminal::fail(&*error),
    }
}

/// False: it was done, and what it says is that something failed.
async fn run(args: Args) -> Result<bool, Failure> {
    match args.command {
        Command::Doctor(doctor) => return doctor::run(doctor).await,
        Command::Demo(demo) => demo::run(demo).await,
        Command::Camera(camera) => roles::camera(&camera).await,
        Command::Cloud(role) => roles::cloud(&role).await,
        Command::Origin(role) => roles::origin(&role).await,
        Command::Push(push) => push::run(push).await,
        Command::Device(device) => admin::device(device).await,
        Command::Operator(operator) => admin::operator(operator).await,
        Command::Server(server) => admin::server(server).await,
        Command::Token(token) => admin::token(token).await,
        Command::User(user) => admin::user(user).await,
        Command::Group(group) => admin::group(group).await,
        Command::Recordings(recordings) => recordings::run(&recordings).await,
        Command::Audit(audit) => admin::audit(audit).await,
        Command::Backup(backup) => admin::backup(backup).await,
        Command::Restore(backup) => admin::restore(backup).await,
        Command::Config(config) => settings::command(config),
        Command::Completions(completions) => {
            terminal::print(terminal::completions(completions.shell).trim_end());
            Ok(())
        }
        Command::Man(man) => {
            terminal::write_manual(&man.dir).map(|pages| terminal::print(&format!("{pages} pages in {}", man.dir.display())))
        }
    }?;
    Ok(true)
}
