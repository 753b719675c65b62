//! No secret is ever printed. A marked one is put into every place that takes one: files, the environment, command lines, URLs, HTTP
//! headers. Then everything that the program says is searched for it: checks, errors, logs at the finest level, metrics, the API. The
//! secrets that the program makes itself are searched for as well.
#![expect(clippy::unwrap_used, reason = "all of it is a test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What must not be seen. Its parts would be hidden by URL encoding, so it has only letters and digits.
const SECRET: &str = "hunter2MARKED";
/// What only a hang reaches.
const LIMIT: Duration = Duration::from_secs(60);
/// The shortest file content that counts as a secret: shorter ones would be found by chance.
const SECRET_BYTES_MIN: usize = 16;

fn sightline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
    command.env("RUST_LOG", "trace").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    sightline().args(arguments).output().unwrap()
}

/// Fails where `text` holds the marked secret.
fn assert_hidden(what: &str, text: &str) {
    if let Some(at) = text.find(SECRET) {
        let line = text[..at].rfind('\n').map_or(0, |start| start + 1);
        let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
        panic!("{what} shows a secret: {}", &text[line..end]);
    }
}

fn assert_output_hidden(what: &str, output: &Output) {
    assert_hidden(what, &String::from_utf8_lossy(&output.stdout));
    assert_hidden(what, &String::from_utf8_lossy(&output.stderr));
}

/// A program that runs until it is dropped; what it says goes into a file.
struct Running {
    child: Child,
    log: std::path::PathBuf,
}

impl Running {
    fn start(command: &mut Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { child, log: log.to_owned() }
    }

    /// Waits until it has said this, and something after it has had its time.
    fn wait_for(&self, word: &str) {
        let began = Instant::now();
        while !self.said().contains(word) {
            assert!(began.elapsed() < LIMIT, "{word:?} was never said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    fn stop(mut self) -> String {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        self.child.wait().unwrap();
        self.said()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// One request by hand: status line, headers and body.
fn request(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let length = body.len();
    write!(socket, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    let mut reader = BufReader::new(socket);
    reader.read_line(&mut answer).unwrap();
    let mut rest = Vec::new();
    let _ = reader.read_to_end(&mut rest);
    answer + &String::from_utf8_lossy(&rest)
}

#[test]
fn checks_and_errors_of_settings_hide_every_secret() {
    let dir = tempfile::tempdir().unwrap();
    let good = [
        (
            "source",
            format!("device_id = 'a'\nsource = 'rtsp://admin:{SECRET}@127.0.0.1/1?token={SECRET}'\n[mqtt]\nurl = 'mqtts://localhost'\n"),
        ),
        (
            "stream",
            format!(
                "device_id = 'a'\nsource = 'test'\n[stream]\nrtmp_server_url = 'rtmp://127.0.0.1/live'\nstream_key = 'name?token={SECRET}'\n"
            ),
        ),
        ("cameras", format!("[mqtt]\nurl = 'mqtts://localhost'\n[[cameras]]\ndevice_id = 'a'\nsource = 'http://u:{SECRET}@127.0.0.1/v'\n")),
        ("servers", format!("[[servers]]\nid = 's'\nrtmp_url = 'rtmp://u:{SECRET}@127.0.0.1/live?key={SECRET}'\n")),
        ("cloud_url", format!("server_id = 'o'\n[cloud]\nurl = 'http://u:{SECRET}@127.0.0.1'\ncluster_key_file = 'cluster.key'\n")),
        ("store", format!("server_id = 'o'\n[store]\nurl = 's3://video'\naccess_key = 'k'\nsecret_key = '{SECRET}'\n")),
        ("mqtt", format!("device_id = 'a'\nsource = 'test'\n[mqtt]\nurl = 'mqtts://u:{SECRET}@localhost'\n")),
        (
            "rtmp_url",
            format!(
                "device_id = 'a'\nsource = 'test'\n[stream]\nrtmp_server_url = 'rtmp://u:{SECRET}@127.0.0.1/live?k={SECRET}'\nstream_key = 'n'\n"
            ),
        ),
    ];
    // The same with a mistake near the secret: a quote that does not end, a wrong type, a key that does not exist, a line too many.
    let bad = |text: &str| {
        [
            text.replacen(&format!("{SECRET}'"), SECRET, 1).replacen('\'', "\"", 1),
            text.replace("device_id = 'a'", "device_id = 5"),
            format!("{text}stream_kee = '{SECRET}'\n"),
            format!("{text}= {SECRET}\n"),
            format!("{text}[[{SECRET}]\n"),
        ]
    };
    for (name, text) in &good {
        for (number, text) in std::iter::once(text.clone()).chain(bad(text)).enumerate() {
            let file = dir.path().join(format!("{name}-{number}.toml"));
            std::fs::write(&file, &text).unwrap();
            let file = file.to_str().unwrap();
            for arguments in [&["config", "check", file][..], &["config", "check", file, "--json"], &["doctor", "--config", file, "--json"]]
            {
                // A doctor that has a whole configuration would go and look at the network: the others say the same of a broken one.
                if arguments[0] == "doctor" && number == 0 {
                    continue;
                }
                assert_output_hidden(&format!("{name} {number} {arguments:?}"), &run(arguments));
            }
        }
    }
    let file = dir.path().join("camera.toml");
    std::fs::write(&file, "device_id = 'a'\nsource = 'test'\n[mqtt]\nurl = 'mqtts://localhost'\n").unwrap();
    for (variable, value) in [
        ("SIGHTLINE_CAMERA_SOURCE", format!("rtsp://u:{SECRET}@127.0.0.1/1")),
        ("SIGHTLINE_CAMERA_STREAM_STREAM_KEY", SECRET.to_owned()),
        ("SIGHTLINE_CAMERA_SOURCE", format!("gopher://u:{SECRET}@127.0.0.1")),
        ("SIGHTLINE_STREAM_KEY", SECRET.to_owned()),
    ] {
        let output = sightline().env(variable, value).args(["config", "check", file.to_str().unwrap()]).output().unwrap();
        assert_output_hidden(variable, &output);
    }
}

#[test]
fn command_lines_hide_every_secret() {
    let dead = free_address();
    let source = format!("rtsp://u:{SECRET}@{dead}/1");
    for arguments in [
        vec!["push", &source, "nonsense"],
        vec!["push", "nonsense", SECRET],
        vec!["push", "test", &format!("http://{dead}/{SECRET}")],
        vec!["push", "test", &format!("rtmp://{dead}/live/{SECRET}"), "--quality", SECRET],
        vec!["camera", "probe", &source, "--json"],
        vec!["camera", "probe", &format!("gopher://u:{SECRET}@{dead}/1")],
        vec!["demo", "--source", &format!("gopher://u:{SECRET}@{dead}/1")],
    ] {
        let output = run(&arguments);
        // clap repeats a wrong word of a fixed list, as every program does; a secret has no place there.
        if !arguments.contains(&"--quality") {
            assert_output_hidden(&format!("{arguments:?}"), &output);
        }
        assert!(!output.status.success(), "{arguments:?}");
    }
}

#[test]
fn logs_metrics_and_the_api_hide_every_secret() {
    let dir = tempfile::tempdir().unwrap();
    let demo_dir = dir.path().join("demo");
    let [http, mqtt, rtmp, rtmps] = [(); 4].map(|()| free_address());
    let addresses = [("--http", http), ("--mqtt", mqtt), ("--rtmp", rtmp), ("--rtmps", rtmps)];
    let mut command = sightline();
    command.args(["demo", "--quality", "low", "--dir"]).arg(&demo_dir);
    for (option, address) in addresses {
        command.arg(option).arg(address.to_string());
    }
    let demo = Running::start(&mut command, &dir.path().join("demo.log"));
    demo.wait_for("a publisher began");

    // Publishers whose token is refused, over plain RTMP, to a stream of its own name.
    let push = format!("rtmp://{rtmp}/live/stolen?token={SECRET}");
    let mut command = sightline();
    command.args(["-vvv", "push", "test", &push, "--quality", "low"]);
    let push = Running::start(&mut command, &dir.path().join("push.log"));
    push.wait_for("STREAM_KEY_INVALID");
    demo.wait_for("a publisher was refused");

    // A camera whose source is an RTSP server that refuses its password, and an FFmpeg behind it: nobody listens.
    let camera = dir.path().join("camera.toml");
    let text = format!(
        "device_id = 'cam-9'\nsource = 'rtsp://admin:{SECRET}@{}/1'\n[stream]\nrtmp_server_url = 'rtmp://{rtmp}/live'\nstream_key = 'n?token={SECRET}'\n",
        free_address()
    );
    std::fs::write(&camera, text).unwrap();
    let camera = Running::start(sightline().args(["-vvv", "camera", "--config"]).arg(&camera), &dir.path().join("camera.log"));
    camera.wait_for("rtsp");
    std::thread::sleep(Duration::from_secs(2));

    // The API, with secrets in headers, paths, queries and bodies.
    let bearer = format!("Authorization: Bearer {SECRET}\r\n");
    let mut answers = String::new();
    for (method, path, body) in [
        ("GET", "/metrics", ""),
        ("GET", "/api/v1/streams", ""),
        ("GET", "/api/v1/devices", ""),
        ("GET", "/api/v1/devices/cam-1", ""),
        ("GET", "/api/v1/servers", ""),
        ("GET", "/api/v1/events", ""),
        ("GET", "/api/v1/audit", ""),
        ("GET", "/healthz", ""),
        ("GET", "/readyz", ""),
        ("POST", "/stream/request", "{}"),
        ("PUT", "/api/v1/devices/cam-1/config", "{\"stream\":{\"stream_key\":\"hunter2MARKED\"}}"),
        ("PUT", "/api/v1/devices/cam-1/config", "{\"source\":\"rtsp://u:hunter2MARKED@h/1\"}"),
        ("POST", "/api/v1/servers/demo/report", "{}"),
    ] {
        let answer = request(http, method, path, &format!("{bearer}Content-Type: application/json\r\n"), body);
        assert!(answer.starts_with("HTTP/1.1 "), "{method} {path}: {answer}");
        assert_hidden(&format!("{method} {path}"), &answer);
        answers.push_str(&answer);
    }
    let shown = sign_in(http, &demo_dir);
    let said = [("demo", demo.stop()), ("push", push.stop()), ("camera", camera.stop()), ("answers", answers)];
    let made = made_secrets(&demo_dir);
    assert!(made.len() >= 6, "cluster key, device token, private keys: {}", made.len());
    for (who, said) in &said {
        assert!(who == &"answers" || said.contains("TRACE"), "{who} logged at its finest level");
        assert_hidden(who, said);
        for (file, secret) in &made {
            assert!(!said.contains(secret.as_str()), "{who} shows the secret of {file}");
        }
        assert!(shown.iter().all(|secret| !said.contains(secret.as_str())), "{who} shows a session or an API token");
    }
}

/// Someone signs in with the marked password, wrong and right, and their program comes with a token. Gives cookie and token, which each were
/// shown once.
fn sign_in(http: SocketAddr, dir: &Path) -> [String; 2] {
    let file = dir.join("password.txt");
    std::fs::write(&file, SECRET).unwrap();
    let (dir, file) = (dir.to_str().unwrap(), file.to_str().unwrap());
    let added = run(&["user", "add", "ann", "--role", "admin", "--dir", dir, "--password-file", file, "--json"]);
    assert!(added.status.success());
    assert_output_hidden("user add", &added);
    let made = run(&["user", "token", "add", "ann", "--name", "test", "--dir", dir]);
    let token = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    assert!(token.starts_with("slt_") && !String::from_utf8_lossy(&made.stderr).contains(&token), "shown once");
    let mut cookie = String::new();
    for (password, status) in [(format!("{SECRET}x"), "401"), (SECRET.to_owned(), "200")] {
        let body = format!("{{\"name\":\"ann\",\"password\":\"{password}\"}}");
        let answer = request(http, "POST", "/api/v1/session", "Content-Type: application/json\r\n", &body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_hidden("a sign-in", &answer);
        let set = answer.lines().find_map(|line| line.strip_prefix("set-cookie: sightline-session="));
        cookie = set.map_or(cookie, |set| set.split(';').next().unwrap_or_default().to_owned());
    }
    assert!(cookie.len() >= SECRET_BYTES_MIN);
    for header in [format!("Cookie: sightline-session={cookie}\r\n"), format!("Authorization: Bearer {token}\r\n")] {
        for path in ["/api/v1/session", "/api/v1/users", "/api/v1/tokens", "/api/v1/audit", "/api/v1/events"] {
            let answer = request(http, "GET", path, &header, "");
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
            assert_hidden(path, &answer);
            assert!(!answer.contains(&cookie) && !answer.contains(&token), "{path}");
        }
    }
    [cookie, token]
}

/// What the program made under a directory and must not show: keys and tokens, of private keys a line in the middle.
fn made_secrets(dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = path.display().to_string();
        if path.is_dir() {
            found.extend(made_secrets(&path));
        } else if name.ends_with(".key") || name.ends_with(".token") {
            let text = std::fs::read_to_string(&path).unwrap();
            let secret = text.lines().find(|line| !line.starts_with("-----")).unwrap_or_default().trim().to_owned();
            assert!(secret.len() >= SECRET_BYTES_MIN, "{name} is short");
            found.push((name, secret));
        }
    }
    found
}
