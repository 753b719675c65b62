//! Where a command finds the cloud's state.

use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Where the cloud keeps its state.
#[derive(ClapArgs, Debug)]
pub(crate) struct CloudDir {
    /// The cloud's data directory (the demo's --dir)
    #[arg(long, value_name = "DIR", global = true, conflicts_with = "config")]
    pub(crate) dir: Option<PathBuf>,

    /// The cloud's configuration file, which names the directory
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}
