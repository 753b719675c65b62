//! A Linux of its own, with devices that this machine has not: QEMU without hardware support, Debian's kernel, and a system of a dozen files.

use crate::process::{Process, eventually, output};
use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// The host's loopback address, as a guest sees it.
pub const HOST: &str = "10.0.2.2";
/// What the guest writes after a command's output, with its exit status.
const DONE: &str = "=== status ";
/// For a system of emulated processors to be up, on a machine that does other things too.
const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// For one command.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// A running guest. Ends with its owner.
#[derive(Debug)]
pub struct Guest {
    /// QEMU; its log is the kernel's.
    pub process: Process,
    shell: BufReader<UnixStream>,
}

impl Guest {
    /// Boots one with `modules` (a kernel module each, with its parameters), its network up, and `programs` in `/bin`.
    ///
    /// # Panics
    /// If the kernel is not there (`cargo xtask test` puts it there), or does not come up.
    #[must_use]
    pub fn boot(dir: &Path, modules: &[&str], programs: &[&Path]) -> Self {
        let tools = tools();
        let image = dir.join("initramfs");
        pack(&tools, dir, &image, modules, programs);
        let socket = dir.join("shell");
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-accel", "tcg", "-cpu", "max", "-m", "768", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"]);
        command.arg("-serial").arg(format!("unix:{},server=on,wait=off", socket.display()));
        // Without its boot ROM, which is another package's.
        command.args(["-netdev", "user,id=net", "-device", "e1000,netdev=net,romfile="]);
        command.arg("-kernel").arg(only_entry(&tools.join("boot"), "vmlinuz-")).arg("-initrd").arg(&image);
        command.args(["-append", "console=ttyS0 rdinit=/init panic=-1 mitigations=off loglevel=4"]);
        let process = Process::start("guest", dir, &mut command);
        let stream = eventually("the guest's console is there", Duration::from_secs(20), || UnixStream::connect(&socket).ok());
        stream.set_read_timeout(Some(BOOT_LIMIT)).expect("a socket takes a timeout");
        let mut guest = Self { process, shell: BufReader::new(stream) };
        let (status, said) = guest.answer();
        assert_eq!(status, 0, "the guest does not come up: {said}\n{}", guest.process.log());
        guest.shell.get_ref().set_read_timeout(Some(COMMAND_LIMIT)).expect("a socket takes a timeout");
        guest
    }

    /// Runs one line of shell to its end; gives its exit status and what it wrote.
    ///
    /// # Panics
    /// If the guest is gone or the command hangs.
    pub fn try_run(&mut self, line: &str) -> (i32, String) {
        let shell = self.shell.get_mut();
        shell.write_all(format!("{line}\n").as_bytes()).expect("the guest takes a command");
        self.answer()
    }

    /// The same, of a command that must succeed.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&mut self, line: &str) -> String {
        let (status, said) = self.try_run(line);
        assert_eq!(status, 0, "{line}: {said}");
        said
    }

    fn answer(&mut self) -> (i32, String) {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = self.shell.read_line(&mut line);
            assert!(matches!(read, Ok(1..)), "the guest does not answer ({read:?}): {said}\n{}", self.process.log());
            if let Some(status) = line.strip_prefix(DONE) {
                return (status.trim().parse().expect("a number"), said);
            }
            said.push_str(line.trim_end_matches(['\r', '\n']));
            said.push('\n');
        }
    }
}

/// Debian's kernel and busybox, unpacked.
fn tools() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/guest");
    assert!(
        dir.join("ready").is_file(),
        "no kernel in {}: run `cargo xtask test` once, as root on a Debian machine; it unpacks the packages linux-image-amd64 and busybox-static there",
        dir.display()
    );
    dir
}

fn only_entry(dir: &Path, prefix: &str) -> PathBuf {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut found = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    found.next().unwrap_or_else(|| panic!("no {prefix}… in {}", dir.display())).path()
}

/// The guest's file system: busybox, the modules with what they need, the programs with their libraries, and `/init`.
fn pack(tools: &Path, dir: &Path, image: &Path, modules: &[&str], programs: &[&Path]) {
    let root = dir.join("guest");
    let busybox = tools.join("bin/busybox");
    let put = |from: &Path, to: &str| {
        let to = root.join(to.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().expect("a file is in a directory")).expect("the test's directory can be written");
        std::fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        to
    };
    put(&busybox, "/bin/busybox");
    let kernel = only_entry(&tools.join("lib/modules"), "");
    let mut init = INIT_BEGIN.to_owned();
    for module in ["e1000"].iter().chain(modules) {
        let name = module.split(' ').next().unwrap_or_default();
        let files = needed(&kernel, name);
        for file in &files {
            put(&kernel.join(file), &format!("/modules/{file}"));
        }
        // What a module needs is loaded before it, and may be there already.
        let (last, first) = files.split_last().expect("a module is a file");
        first.iter().for_each(|file| writeln!(init, "insmod /modules/{file} 2>/dev/null").expect("a string grows"));
        writeln!(init, "insmod /modules/{last} {} || failed=1", module.strip_prefix(name).unwrap_or_default()).expect("a string grows");
    }
    init.push_str(INIT_END);
    std::fs::write(root.join("init"), init).expect("the test's directory can be written");
    std::fs::set_permissions(root.join("init"), PermissionsExt::from_mode(0o755)).expect("a file's mode can be set");
    for program in programs {
        let name = program.file_name().expect("a program is a file").to_string_lossy().into_owned();
        let copy = put(program, &format!("/bin/{name}"));
        // Most of a program that was built for tests is for debuggers.
        output(Command::new("objcopy").arg("--strip-debug").arg(&copy));
        let listed = String::from_utf8_lossy(&output(Command::new("ldd").arg(program))).into_owned();
        listed.split_whitespace().filter(|word| word.starts_with('/')).for_each(|library| drop(put(Path::new(library), library)));
    }
    let names = output(Command::new("find").arg(".").current_dir(&root));
    let file = std::fs::File::create(image).expect("the test's directory can be written");
    let mut cpio = Command::new(&busybox);
    cpio.args(["cpio", "-o", "-H", "newc"]).current_dir(&root).stdin(Stdio::piped()).stdout(file).stderr(Stdio::null());
    let mut cpio = cpio.spawn().expect("busybox runs");
    cpio.stdin.take().expect("it is piped").write_all(&names).expect("cpio reads the names");
    assert!(cpio.wait().expect("a child can be waited for").success(), "cpio fails");
}

/// A module's file and those of what it needs, in the order in which they are loaded.
fn needed(kernel: &Path, name: &str) -> Vec<String> {
    let list = std::fs::read_to_string(kernel.join("modules.dep")).expect("`cargo xtask test` made modules.dep");
    let file = format!("/{name}.ko:");
    let line = list.lines().find(|line| line.contains(&file)).unwrap_or_else(|| panic!("this kernel has no module {name}"));
    let (module, others) = line.split_once(':').expect("it has a colon");
    others.split_whitespace().rev().chain([module]).map(str::to_owned).collect()
}

const INIT_BEGIN: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /proc /sys /dev /tmp /etc
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
echo 'root:x:0:0::/:/bin/sh' >/etc/passwd
echo 'nobody:x:65534:65534::/:/bin/sh' >>/etc/passwd
chmod 1777 /tmp
failed=0
";

/// A line in, its output and its status out, for ever.
const INIT_END: &str = "ip link set lo up
ip link set eth0 up && ip address add 10.0.2.15/24 dev eth0 || failed=1
stty -F /dev/ttyS1 raw -echo
exec </dev/ttyS1 >/dev/ttyS1
echo \"=== status $failed\"
while read -r line; do
  eval \"$line\" </dev/null >/tmp/said 2>&1
  status=$?
  cat /tmp/said
  echo \"=== status $status\"
done
";
