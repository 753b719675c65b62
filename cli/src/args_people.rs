//! What can be said of people and groups on the command line.

use crate::args_cloud::CloudDir;
use clap::{Args as ClapArgs, Subcommand};
use sightline_cloud::admin::people::{GroupPath, Role, UserName};
use std::path::PathBuf;

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  sightline user add ann --role admin --dir DIR                    asks for a password
  sightline user add bob --role viewer --group site-a --dir DIR
  sightline user grant bob operator site-a/hall-2 --dir DIR
  sightline user token add bob --name backup --role viewer --dir DIR

Roles: viewer looks; operator commands cameras, too, makes marks and links; admin changes all else, on the root also users and servers.
These work while the cloud runs. From the first user on, everyone signs in, this machine's own browser too. The operator's token stays.")]
pub(crate) struct User {
    #[command(subcommand)]
    pub(crate) action: UserAction,
    #[command(flatten)]
    pub(crate) cloud: CloudDir,
}

#[derive(Subcommand, Debug)]
pub(crate) enum UserAction {
    /// Add someone; the password is asked for, or read from standard input
    Add {
        /// a-z 0-9 . _ + - @, at most 64 characters
        name: UserName,
        /// What they may do
        #[arg(long, value_name = "ROLE")]
        role: Option<Role>,
        /// Where: a group's path, and all below it
        #[arg(long, value_name = "PATH", default_value = "/", requires = "role")]
        group: GroupPath,
        /// Read the password from this file's first line
        #[arg(long, value_name = "FILE", conflicts_with = "no_password")]
        password_file: Option<PathBuf>,
        /// Nobody signs in by this name: it is for API tokens alone
        #[arg(long)]
        no_password: bool,
    },
    /// Everyone, with what they may do
    List,
    /// Remove someone: their sessions and API tokens end at once
    Remove {
        /// Their name
        name: UserName,
    },
    /// Give someone a role on a group and all below it, in place of the one they had there
    Grant {
        /// Their name
        name: UserName,
        /// viewer, operator, admin; or none, to take it
        role: String,
        /// The group's path; / for all
        #[arg(default_value = "/")]
        group: GroupPath,
    },
    /// Give someone another password: their sessions end
    Password {
        /// Their name
        name: UserName,
        /// Read it from this file's first line
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// API tokens: what people's programs show
    Token {
        #[command(subcommand)]
        action: UserTokenAction,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum UserTokenAction {
    /// Make one. It is shown once: what is kept is a hash
    Add {
        /// Whose: it may never more than they may
        user: UserName,
        /// What it is for, for people
        #[arg(long, value_name = "NAME")]
        name: String,
        /// How long it lasts, in seconds; two years at most
        #[arg(long, value_name = "SECONDS", default_value_t = 7_776_000)]
        ttl_sec: u64,
        /// At most this role
        #[arg(long, value_name = "ROLE", default_value = "admin")]
        role: Role,
        /// On this group and below it alone
        #[arg(long, value_name = "PATH", default_value = "/")]
        group: GroupPath,
    },
    /// All of them
    List,
    /// Take one back
    Remove {
        /// Its id, from `list`
        id: String,
    },
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  sightline group add site-a/hall-2 --dir DIR
  sightline device group cam-1 site-a/hall-2 --dir DIR

These work while the cloud runs.")]
pub(crate) struct Group {
    #[command(subcommand)]
    pub(crate) action: GroupAction,
    #[command(flatten)]
    pub(crate) cloud: CloudDir,
}

#[derive(Subcommand, Debug)]
pub(crate) enum GroupAction {
    /// Make a group, and those above it
    Add {
        /// Its path, such as site-a/hall-2
        path: GroupPath,
    },
    /// All groups
    List,
    /// Remove a group that holds nothing, with what was granted on it
    Remove {
        /// Its path
        path: GroupPath,
    },
}
