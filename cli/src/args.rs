//! What can be said on the command line.

pub(crate) use crate::args_cloud::CloudDir;
pub(crate) use crate::args_people::{Group, GroupAction, User, UserAction, UserTokenAction};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use sightline_camera::{Secret, SourceName};
use sightline_cloud::admin::people::GroupPath;
use sightline_signal::DeviceId;
use std::{net::SocketAddr, path::PathBuf};

/// Streams live video from fleets of cameras to the cloud, and keeps it live when links break.
///
/// Start with `sightline demo`: a cloud, a media server and a live camera on this machine, with a page to watch it.
#[derive(Parser, Debug)]
#[command(name = "sightline", version, propagate_version = true, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Say more: -v what happens, -vv what is decided, -vvv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Say only what is wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Logs on standard error as text, or as one JSON object a line
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "SIGHTLINE_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// How logs are written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// For programs: `timestamp`, `level`, `fields` with the message and its values, `spans`
    Json,
}

const AFTER_HELP: &str = "\
Examples:
  sightline demo                                    watch a live camera in the browser
  sightline push test rtmp://localhost/live/name    send a moving scene to any RTMP server
  sightline device add cam-1 --dir DIR              let a camera in, and get its certificate
  sightline doctor --config camera.toml             what works on a device, what does not, and how to mend it

Exit status: 0 done, 1 failed, 2 wrong use. Documentation: README.md and docs/.";

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// All of it on this machine: cloud, media server, a live camera and a page to watch it
    Demo(Demo),
    /// Run a camera, or several: the agent on a device; or look at what cameras there are
    Camera(Camera),
    /// Run the cloud: MQTT broker, allocator, HTTP API and console
    Cloud(Role),
    /// Run an origin: takes streams in, records them, plays them
    Origin(Role),
    /// Send one source to any RTMP or RTMPS server
    Push(Push),
    /// Go through the deployment checklist: what works, what does not, and how to mend it
    Doctor(Doctor),
    /// Let devices in, look at them, shut them out
    Device(Device),
    /// Give operators certificates of their own, and take them back
    Operator(Operator),
    /// RTMP servers of others, and servers that are to be emptied
    Server(Server),
    /// Make keys that play one stream, for links and for what needs one fixed address; look at them, take them back
    Token(Token),
    /// Let people sign in, say what they may do and where, make API tokens for their programs
    User(User),
    /// Groups of cameras, as a tree: what people may do holds for a group and all below it
    Group(Group),
    /// What a camera has recorded on its own disk: list it, export a time range
    Recordings(Recordings),
    /// Read the audit log and check that no one has changed it
    Audit(Audit),
    /// Copy a cloud's data directory, while the cloud runs: database, authority, keys, certificates
    Backup(Backup),
    /// Put a backup into a new data directory
    Restore(Backup),
    /// Check a configuration file, or print one to start from
    Config(Config),
    /// Print completions for a shell
    Completions(Completions),
    /// Write the manual pages, one for each command
    Man(Man),
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
The demo binds 127.0.0.1, unless --http and its kin say otherwise. Under DIR lie the certificates and keys for clients of your own:
  DIR/ca.pem  DIR/devices/cam-1.pem  DIR/devices/cam-1.key  DIR/operator.pem  DIR/operator.key

  mosquitto_sub -h localhost -p 8883 --cafile DIR/ca.pem --cert DIR/operator.pem --key DIR/operator.key -t 'devices/#' -v")]
pub(crate) struct Demo {
    /// What the cameras see: `test` (a moving scene), a media file, looped, `/dev/videoN` (a camera of this machine), `rtsp://…` or `http://…` (MJPEG). H.264 in MP4, FLV, Annex B or RTSP is passed through as it is; other files are decoded by `ffmpeg`
    #[arg(long, value_name = "SRC", default_value = "test")]
    pub(crate) source: SourceName,

    /// Where certificates, keys, the database and recordings are kept. Started again on the same one, nothing is lost
    #[arg(long, value_name = "DIR", default_value = "sightline-demo")]
    pub(crate) dir: PathBuf,

    /// Console and API [default: 127.0.0.1:8080, or a free port where that one is taken]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,

    /// MQTT over TLS [default: 127.0.0.1:8883, or a free port]
    #[arg(long, value_name = "ADDR")]
    pub(crate) mqtt: Option<SocketAddr>,

    /// RTMP [default: 127.0.0.1:1935, or a free port]
    #[arg(long, value_name = "ADDR")]
    pub(crate) rtmp: Option<SocketAddr>,

    /// RTMPS [default: 127.0.0.1:1936, or a free port]
    #[arg(long, value_name = "ADDR")]
    pub(crate) rtmps: Option<SocketAddr>,

    /// How many cameras: cam-1, cam-2, …
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) cameras: u16,

    /// The preset [default: the best one that this machine can encode and show at once]
    #[arg(long, value_enum)]
    pub(crate) quality: Option<QualityArg>,

    /// Print the addresses as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The presets of specification §1.1.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum QualityArg {
    /// 640x480, 15 fps, 500 kbit/s
    Low,
    /// 1280x720, 20 fps, 1 Mbit/s
    Medium,
    /// 1920x1080, 25 fps, 2 Mbit/s
    High,
    /// 1920x1080, 30 fps, 4 Mbit/s
    Ultra,
}

impl QualityArg {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Ultra => "ultra",
        }
    }
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Role {
    /// The settings (TOML). `sightline config template ROLE` prints one to start from; each key can also be set as SIGHTLINE_…
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

#[derive(ClapArgs, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Camera {
    #[command(subcommand)]
    pub(crate) action: Option<CameraAction>,

    /// The settings (TOML), of one camera or of several (`[[cameras]]`). `sightline config template camera` prints one to start from; each key can also be set as SIGHTLINE_…
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum CameraAction {
    /// List the cameras and encoders of this machine; or read a source for a few seconds, and say what it gives and what each preset makes of it
    Probe {
        /// `/dev/videoN`, `rtsp(s)://[USER:PASSWORD@]HOST/PATH`, `http(s)://[USER:PASSWORD@]HOST/PATH` (MJPEG), a media file, or `test`
        #[arg(value_name = "SRC")]
        source: Option<SourceName>,

        /// A smaller stream of the same RTSP camera at an address of its own: both are looked at
        #[arg(long, value_name = "URL")]
        source_sub: Option<SourceName>,

        /// How an RTSP camera's media travels: `tcp`, or `udp` for cameras whose TCP is broken
        #[arg(long, value_name = "TRANSPORT", default_value = "tcp")]
        rtsp_transport: String,

        /// The authority that the certificate of a camera by rtsps or https must come from (PEM) [default: those that the machine trusts]
        #[arg(long, value_name = "FILE")]
        source_ca: Option<PathBuf>,

        /// Try this encoder (`/dev/videoN`) instead: three seconds of the test scene, with a forced key frame, half of the bit rate and a drain
        #[arg(long, value_name = "DEVICE", conflicts_with = "source")]
        encoder: Option<PathBuf>,

        /// The size that the encoder is tried with
        #[arg(long, value_name = "WxH", default_value = "1280x720", requires = "encoder")]
        encoder_size: String,

        /// What the encoder is to make; our tests have a driver that makes another format
        #[arg(long, value_name = "FOURCC", default_value = "H264", hide = true)]
        encoder_format: String,

        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  sightline push test rtmp://localhost/live/name
  sightline push clip.mp4 'rtmps://a.example/live/key?token=…' --once
  sightline push 'rtsp://user:password@camera.example/stream1' rtmp://localhost/live/name
  sightline push /dev/video0 rtmp://localhost/live/name
  libcamera-vid -t 0 --inline -o - | sightline push - rtmp://localhost/live/name

The last part of URL is the name, or stream key, to publish under. It is never printed, nor are a camera's user and password.")]
pub(crate) struct Push {
    /// `test` (a moving scene), a media file, `/dev/videoN` (a camera of this machine), `rtsp(s)://[USER:PASSWORD@]HOST/PATH`, `http(s)://[USER:PASSWORD@]HOST/PATH` (MJPEG, as ESP32-CAM gives at :81/stream), or `-` (standard input: H.264 in Annex B form as it is, anything else by way of ffmpeg)
    #[arg(value_name = "SRC")]
    pub(crate) source: SourceName,

    /// rtmp(s)://host[:port]/app/name[?query]
    #[arg(value_name = "URL")]
    pub(crate) url: Secret,

    /// The preset [default: high; H.264 of a file or an RTSP camera is passed through as it is]
    #[arg(long, value_enum)]
    pub(crate) quality: Option<QualityArg>,

    /// A smaller stream of the same RTSP camera at an address of its own: of the two, the one that comes nearest to the preset is read
    #[arg(long, value_name = "URL")]
    pub(crate) source_sub: Option<SourceName>,

    /// How an RTSP camera's media travels: `tcp`, or `udp` for cameras whose TCP is broken
    #[arg(long, value_name = "TRANSPORT", default_value = "tcp")]
    pub(crate) rtsp_transport: String,

    /// The authority that the certificate of a camera by rtsps or https must come from (PEM) [default: those that the machine trusts]
    #[arg(long, value_name = "FILE")]
    pub(crate) source_ca: Option<PathBuf>,

    /// The format that a camera of this machine is read in: auto, h264, nv12, yu12, yuyv or mjpeg
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub(crate) v4l2_format: String,

    /// Play a file once, then end
    #[arg(long)]
    pub(crate) once: bool,

    /// The authority that an rtmps server's certificate must come from (PEM) [default: the system's, /etc/ssl/certs/ca-certificates.crt]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Print events as lines of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Stop the camera first: its own program holds the camera and the connection to the broker, which the check takes for some seconds. Nothing is published.

Exit status: 0 nothing failed, 1 something did, 2 wrong use.")]
pub(crate) struct Doctor {
    /// The settings (TOML) of a camera, a cloud or an origin. Without it, what needs none is looked at: hardware, cameras, encoder, network link, clock
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Whose settings they are [default: told from the keys]
    #[arg(long, value_enum, requires = "config")]
    pub(crate) role: Option<RoleArg>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  sightline backup /mnt/backup/2026-11-30 --config cloud.toml
  sightline restore /mnt/backup/2026-11-30 --dir /var/lib/sightline

A backup holds every key of the installation: only its owner may read it. Recordings are not in it.")]
pub(crate) struct Backup {
    /// The backup: a directory that does not exist yet, or the one to restore from
    pub(crate) backup: PathBuf,
    #[command(flatten)]
    pub(crate) cloud: CloudDir,
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "These work while the cloud runs: a revoked device is cut off within 10 seconds.")]
pub(crate) struct Device {
    #[command(subcommand)]
    pub(crate) action: DeviceAction,
    #[command(flatten)]
    pub(crate) cloud: CloudDir,
}

#[derive(ClapArgs, Debug)]
#[command(
    after_help = "These work while the cloud runs: a revoked operator is cut off within 10 seconds. DIR/operator.pem is the first operator's, named operator."
)]
pub(crate) struct Operator {
    #[command(subcommand)]
    pub(crate) action: OperatorAction,
    #[command(flatten)]
    pub(crate) cloud: CloudDir,
}

#[derive(ClapArgs, Debug)]
#[command(
    after_help = "A key goes behind each address of the stream as ?token=KEY: /live/ID.flv?token=KEY. These work while the cloud runs: whoever watches with a key that was removed is cut off within 10 seconds."
)]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) action: TokenAction,
    #[command(flatten)]
    pub(crate) cloud: CloudDir,
}

#[derive(Subcommand, Debug)]
pub(crate) enum TokenAction {
    /// Make a key. It is shown once: what is kept is a hash
    Add {
        /// The device whose stream it plays
        device: DeviceId,
        /// What it is for, for people
        #[arg(long, value_name = "NAME")]
        name: String,
        /// How long it is good, in seconds; without it, until it is removed
        #[arg(long, value_name = "SECONDS")]
        ttl_sec: Option<u64>,
        /// The only address, or network such as 10.0.0.0/8, that it is good from
        #[arg(long, value_name = "NETWORK", default_value = "")]
        address: String,
        /// The only ways that it is good for, by comma: rtmp,flv,hls,whep,snapshot,frames,vod
        #[arg(long, value_name = "WAYS", value_delimiter = ',')]
        ways: Vec<String>,
        /// How many may watch with it at a time; 0: any number
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        viewers_max: u32,
    },
    /// All keys with their last use
    List,
    /// Take a key back
    Remove {
        /// Its id, from `list`
        id: String,
    },
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  sightline server add eu-nginx rtmp://media.example/live --region eu --dir DIR
  sightline server drain origin-a --dir DIR          before work on it: its cameras go elsewhere
  sightline server drain origin-a --undo --dir DIR

These work while the cloud runs: it follows within two seconds. Servers of cloud.toml are changed there.")]
pub(crate) struct Server {
    #[command(subcommand)]
    pub(crate) action: ServerAction,
    #[command(flatten)]
    pub(crate) cloud: CloudDir,
}

#[derive(Subcommand, Debug)]
pub(crate) enum ServerAction {
    /// Enter an RTMP server of others: nginx-rtmp, SRS, MediaMTX, a service
    Add {
        /// Its id: A-Z a-z 0-9 _ -, at most 64 characters
        id: String,
        /// rtmp(s)://host[:port]/app
        #[arg(value_name = "URL")]
        url: Secret,
        /// Its name, for people
        #[arg(long, value_name = "NAME", default_value = "")]
        name: String,
        /// Where it is
        #[arg(long, value_name = "REGION", default_value = "")]
        region: String,
        /// What it takes in at most, in kbit/s; 0: no limit
        #[arg(long, value_name = "KBPS", default_value_t = 0)]
        capacity_kbps: u64,
    },
    /// Origins that have ever reported, and servers that were entered
    List,
    /// Give a server no cameras any more, and call away those that it has
    Drain {
        /// Its id
        id: String,
        /// Give it cameras again
        #[arg(long)]
        undo: bool,
    },
    /// Remove a server that was entered
    Remove {
        /// Its id
        id: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum OperatorAction {
    /// Make a certificate and key for an operator
    Add {
        /// The operator's name: A-Z a-z 0-9 _ -, at most 64 characters
        name: String,
    },
    /// All certificates of operators, the revoked ones too
    List,
    /// Accept an operator's certificate no more
    Revoke {
        /// The operator's name
        name: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum DeviceAction {
    /// Let a device in: makes its certificate, key and HTTP token
    Add {
        /// Its id: A-Z a-z 0-9 _ -, at most 64 characters
        id: DeviceId,
        /// Put it into this group, which must be there
        #[arg(long, value_name = "PATH")]
        group: Option<GroupPath>,
    },
    /// All devices
    List,
    /// One device
    Show {
        /// Its id
        id: DeviceId,
    },
    /// Let a device publish again, after `deny`; its next request gets a new token
    Allow {
        /// Its id
        id: DeviceId,
    },
    /// Let a device publish no more: its tokens are void, a running stream is ended within 10 seconds. It stays known and connected;
    /// its requests get `PERMISSION_DENIED`
    Deny {
        /// Its id
        id: DeviceId,
    },
    /// Shut a device out, for good: its certificate and tokens are refused, a running stream is ended
    Revoke {
        /// Its id
        id: DeviceId,
    },
    /// Remove a device for good, with its files: its certificate and tokens are refused; the audit log keeps what it did
    Remove {
        /// Its id
        id: DeviceId,
    },
    /// Put a device into a group: whoever has a right on that one sees it, and nobody else
    Group {
        /// Its id
        id: DeviceId,
        /// The group's path, such as site-a/hall-2; / for none
        group: GroupPath,
    },
    /// Give a device a new certificate, key and HTTP token; the old ones end
    Rotate {
        /// Its id
        id: DeviceId,
    },
    /// Show a camera's settings from afar, or change them: it applies them while it runs, and reports back
    Config(DeviceConfig),
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  sightline device config cam-1 --dir cloud
  sightline device config cam-1 --dir cloud --set stream.quality=medium --set motion.sensitivity=0.7
  sightline device config cam-1 --dir cloud --file settings.toml
  sightline device config cam-1 --dir cloud --clear

The tables `stream`, `motion`, `recording` and `schedule` of a camera's file, but for secrets and paths.
The camera itself checks what they mean, and answers: call it again without a change to see that.")]
pub(crate) struct DeviceConfig {
    /// Its id
    pub(crate) id: DeviceId,

    /// Change one setting of those wished for, and keep the others. VALUE as in TOML; text needs no quotes
    #[arg(long, value_name = "TABLE.KEY=VALUE", conflicts_with_all = ["file", "clear"])]
    pub(crate) set: Vec<String>,

    /// Wish for what this file (TOML) has, in place of all before
    #[arg(long, value_name = "FILE", conflicts_with = "clear")]
    pub(crate) file: Option<PathBuf>,

    /// Wish for nothing: the camera's own file is all again
    #[arg(long)]
    pub(crate) clear: bool,
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  sightline recordings list --config camera.toml
  sightline recordings export 2026-11-23T08:00:00Z 2026-11-23T08:05:00Z clip.mp4 --dir recordings
  sightline recordings list --cloud http://localhost:8080 --device cam-1
  sightline recordings export 2026-11-23T08:00:00Z 2026-11-23T08:05:00Z case-7.zip --cloud https://cloud.example:8080 \\
      --token-file operator.token --device gate-1 --device gate-2

These work while the camera records. A .zip has a manifest: each file's SHA-256, its time, and where nothing was recorded, and why.")]
pub(crate) struct Recordings {
    #[command(subcommand)]
    pub(crate) action: RecordingsAction,

    /// The camera's `recording.dir`
    #[arg(long, value_name = "DIR", global = true, conflicts_with_all = ["config", "cloud"])]
    pub(crate) dir: Option<PathBuf>,

    /// The camera's configuration file, which names the directory
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "cloud")]
    pub(crate) config: Option<PathBuf>,

    /// A cloud instead: what its origins have recorded, as in https://cloud.example:8080
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) cloud: Option<String>,

    /// With --cloud: a file with the operator's token (data_dir/operator.token); also SIGHTLINE_TOKEN
    #[arg(long, value_name = "FILE", global = true, requires = "cloud")]
    pub(crate) token_file: Option<PathBuf>,

    /// With --cloud: the authority that its certificate comes from (data_dir/ca.pem), beside those that the system trusts
    #[arg(long, value_name = "FILE", global = true, requires = "cloud")]
    pub(crate) ca: Option<PathBuf>,

    /// With --cloud: whose recordings; several for an export into a .zip
    #[arg(long = "device", value_name = "ID", global = true, requires = "cloud")]
    pub(crate) devices: Vec<String>,

    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum RecordingsAction {
    /// All files, oldest first
    List,
    /// One MP4 of a time range: the recorded pictures, untouched, from the key frame before FROM. Several cameras, or what lies on several
    /// servers: a .zip with a manifest
    Export {
        /// When it begins, as in 2026-11-23T08:00:00Z or 2026-11-23T09:00:00+01:00
        from: jiff::Timestamp,
        /// When it ends
        to: jiff::Timestamp,
        /// The file to make; it must not be there yet
        #[arg(value_name = "OUT")]
        out: PathBuf,
    },
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(crate) action: AuditAction,
    #[command(flatten)]
    pub(crate) cloud: CloudDir,
}

#[derive(Subcommand, Debug)]
pub(crate) enum AuditAction {
    /// The newest entries
    Show {
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Check the chain: any changed, missing or added entry is found and named
    Verify {
        /// A checkpoint that was kept elsewhere (an origin's data_dir/audit-checkpoint.json, or what `audit checkpoint` printed): a log that
        /// does not hold it was rolled back or rewritten
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
    },
    /// Print a signed checkpoint of the log, to keep on another machine
    Checkpoint,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) action: ConfigAction,
}

/// Which role's settings.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RoleArg {
    /// The device agent
    Camera,
    /// Broker, allocator, API, console
    Cloud,
    /// Media server
    Origin,
}

impl RoleArg {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::Cloud => "cloud",
            Self::Origin => "origin",
        }
    }
}

#[derive(Subcommand, Debug)]
pub(crate) enum ConfigAction {
    /// Check a file, and print every setting as it will be, with where it comes from
    Check {
        /// The file
        file: PathBuf,
        /// Whose settings they are [default: told from the keys]
        #[arg(long, value_enum)]
        role: Option<RoleArg>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make an origin's file of an nginx.conf of the RTMP module: what maps is mapped, each directive that does not is named
    ImportNginx {
        /// The file; those that it includes are read, too
        file: PathBuf,
        /// Print JSON: `config`, and `directives` with what became of each
        #[arg(long)]
        json: bool,
    },
    /// Print a file with every key, its meaning and its default
    Template {
        /// Whose settings
        #[arg(value_enum)]
        role: RoleArg,
    },
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  sightline completions bash > ~/.local/share/bash-completion/completions/sightline
  sightline completions zsh > ~/.zfunc/_sightline
  sightline completions fish > ~/.config/fish/completions/sightline.fish")]
pub(crate) struct Completions {
    /// Whose
    pub(crate) shell: clap_complete::Shell,
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  sightline man ~/.local/share/man/man1    then: man sightline, man sightline-device-add
  sightline man /usr/local/share/man/man1  for everyone on this machine")]
pub(crate) struct Man {
    /// Where they are written; it is made if it is not there
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}
