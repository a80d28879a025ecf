//! QEMU as a test needs it: started with a self-test kernel, watched, never left behind.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Which of QEMU's machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Machine {
    Q35,
    Microvm,
}

/// A machine to be started.
pub(crate) struct Qemu {
    machine: Machine,
    memory: u32,
    processor: &'static str,
    append: String,
    arguments: Vec<String>,
    directory: PathBuf,
}

/// A machine that runs.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    text: String,
    directory: PathBuf,
}

/// A machine that ran.
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) text: String,
    pub(crate) console: Vec<u8>,
}

/// The test's end of the network cable.
pub(crate) struct Wire {
    socket: UnixDatagram,
    guest: PathBuf,
}

impl Qemu {
    pub(crate) fn new(machine: Machine) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sluice-machine-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name); // Socket paths must be short.
        std::fs::create_dir_all(&directory).unwrap();
        let (memory, processor) = (128, "max");
        Self { machine, memory, processor, append: String::new(), arguments: Vec::new(), directory }
    }

    pub(crate) fn memory(mut self, megabytes: u32) -> Self {
        self.memory = megabytes;
        self
    }

    pub(crate) fn processor(mut self, name: &'static str) -> Self {
        self.processor = name;
        self
    }

    pub(crate) fn append(mut self, text: &str) -> Self {
        self.append = text.to_owned();
        self
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub(crate) fn icount(self) -> Self {
        self.argument("-icount").argument("shift=0,sleep=off")
    }

    /// A network card on a datagram socket, and a console that writes to a file.
    pub(crate) fn network(self) -> Self {
        let bus = if self.machine == Machine::Q35 { "pci" } else { "device" };
        let at = |name: &str| self.directory.join(name).display().to_string();
        let network = format!(
            "dgram,id=n,local.type=unix,local.path={},remote.type=unix,remote.path={}",
            at("guest"),
            at("host")
        );
        let console = format!("file,id=c,path={}", at("console"));
        self.argument("-netdev")
            .argument(&network)
            .argument("-device")
            .argument(&format!("virtio-net-{bus},netdev=n,mac=52:54:00:aa:bb:cc"))
            .argument("-chardev")
            .argument(&console)
            .argument("-device")
            .argument(&format!("virtio-serial-{bus}"))
            .argument("-device")
            .argument("virtconsole,chardev=c")
    }

    /// Runs to the end.
    pub(crate) fn run(self) -> Ended {
        self.start().finish()
    }

    pub(crate) fn start(self) -> Running {
        let machine = match self.machine {
            Machine::Q35 => "q35",
            Machine::Microvm => "microvm,acpi=off,rtc=on",
        };
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-M", machine, "-accel", "tcg", "-cpu", self.processor])
            .args(["-m", &self.memory.to_string(), "-append", &self.append])
            .args(["-display", "none", "-serial", "stdio", "-no-reboot"])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
            .args(["-global", "virtio-mmio.force-legacy=false", "-kernel"])
            .arg(kernel())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("qemu-system-x86_64 does not start");
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines, text: String::new(), directory: self.directory }
    }
}

impl Running {
    /// Waits for a line that contains this.
    pub(crate) fn wait_for(&mut self, what: &str) {
        while !self.text.contains(what) {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.text.push_str(&line);
                    self.text.push('\n');
                }
                Err(_) => panic!("no {what:?} in {}", self.text),
            }
        }
    }

    /// The test's end of the cable. To be taken once the kernel is ready.
    pub(crate) fn wire(&self) -> Wire {
        let socket = UnixDatagram::bind(self.directory.join("host")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Wire { socket, guest: self.directory.join("guest") }
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(deadline - Instant::now()) {
            self.text.push_str(&line);
            self.text.push('\n');
        }
        assert!(Instant::now() < deadline, "QEMU hangs after {}", self.text);
        let status = self.child.wait().unwrap().code().unwrap_or(-1);
        let console = std::fs::read(self.directory.join("console")).unwrap_or_default();
        Ended { status, text: std::mem::take(&mut self.text), console }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Wire {
    pub(crate) fn send(&self, frame: &[u8]) {
        self.socket.send_to(frame, &self.guest).unwrap();
    }

    /// Sends a frame and waits for one.
    pub(crate) fn exchange(&self, frame: &[u8]) -> Vec<u8> {
        self.send(frame);
        let mut answer = vec![0; 4096];
        let len = self.socket.recv(&mut answer).expect("no answer");
        answer.truncate(len);
        answer
    }
}

/// Builds the self-test kernel, once per test process.
fn kernel() -> &'static Path {
    static KERNEL: OnceLock<PathBuf> = OnceLock::new();
    KERNEL.get_or_init(|| {
        sluice::build::ensure_tools().unwrap_or_else(|missing| panic!("{missing}"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let built = Command::new(env!("CARGO"))
            .args(["build", "--release", "-p", "sluice-selftest"])
            .args(["--target", "x86_64-unknown-none", "--target-dir"])
            .arg(target)
            .current_dir(root)
            .status()
            .expect("cargo does not start");
        assert!(built.success(), "the self-test kernel does not build");
        target.join("x86_64-unknown-none/release/sluice-selftest")
    })
}
