//! Python without a system around it: an interpreter in a process of its own, which may compute, print and call tools.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe;

mod bound;
mod value;
mod wire;
mod worker;

pub(crate) use wire::{Asked, Job, Stepped};
pub use worker::serve;

use wire::{Order, Said};

use crate::tool::ToolFault;

/// How long a process may take beyond its own bound until it is killed.
const GRACE: Duration = Duration::from_secs(1);
/// Bytes of one line of the process: arguments of one call, or all that a step shows.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// The program that becomes an interpreter: one whose `main` ends in [`serve()`].
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    /// What each interpreter may use.
    pub limits: Limits,
}

/// What an interpreter may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time one piece of code may compute; waiting for tools does not count.
    pub time: Duration,
    /// Memory beyond that of the program itself.
    pub memory_bytes: u64,
    /// Time of a processor for all the code of one interpreter; the system ends it there.
    pub total: Duration,
    /// Bytes one piece of code may print; what it prints beyond is left out.
    pub print_bytes_max: usize,
    /// Bytes of its value that are shown.
    pub value_bytes_max: usize,
    /// Calls of tools by one piece of code.
    pub call_count_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(5),
            memory_bytes: 256 << 20,
            total: Duration::from_secs(120),
            print_bytes_max: 8 << 10,
            value_bytes_max: 8 << 10,
            call_count_max: 64,
        }
    }
}

impl Program {
    /// The program at this path, called with these arguments.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { path: path.into(), arguments, limits: Limits::default() }
    }

    /// With other limits.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What a piece of code is run with.
    pub(crate) fn job(&self, code: &str, tools: Vec<String>, unix_seconds: Option<u64>) -> Job {
        let Limits { time, print_bytes_max, value_bytes_max, call_count_max, .. } = self.limits;
        let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let code = code.to_owned();
        Job { code, tools, unix_seconds, time_ms, print_bytes_max, value_bytes_max, call_count_max }
    }
}

/// A running interpreter; names live until it is dropped, and its process with it.
#[derive(Debug)]
pub(crate) struct Interpreter {
    child: Child,
    input: pipe::Sender,
    output: BufReader<pipe::Receiver>,
    wait: Duration,
}

/// What a piece of code did next.
#[derive(Debug)]
pub(crate) enum Next {
    /// It calls a tool and waits.
    Call(Asked),
    /// It ended.
    Ended(Stepped),
}

impl Interpreter {
    /// Starts one: no environment, no arguments of the caller's, nothing but the two pipes.
    pub(crate) async fn start(program: &Program) -> Result<Self, ToolFault> {
        let failed = |error: io::Error| ToolFault(format!("no Python could be started: {error}"));
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).env_clear().envs(bound::ENVIRONMENT).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.expect("both were asked for");
        let input = pipe::Sender::from_owned_fd(OwnedFd::from(input)).map_err(failed)?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output)).map_err(failed)?;
        let Limits { time, memory_bytes, total, .. } = program.limits;
        let output = BufReader::new(output);
        let mut interpreter = Self { child, input, output, wait: time + GRACE };
        let bound = Order::Bound { memory_bytes, processor_seconds: total.as_secs() };
        // A program that is no interpreter may have ended before it reads a word.
        let ended = |why| ToolFault(format!("no Python could be started: {}: {why}", program.path.display()));
        interpreter.send(&bound).await.map_err(ended)?;
        Ok(interpreter)
    }

    /// Runs a piece of code until it calls a tool or ends.
    pub(crate) async fn run(&mut self, job: Job) -> Next {
        self.go(&Order::Run(job)).await
    }

    /// Gives a call its result, or the reason there is none, which is raised there.
    pub(crate) async fn answer(&mut self, result: Result<Value, String>) -> Next {
        self.go(&result.map_or_else(Order::Fault, Order::Value)).await
    }

    async fn go(&mut self, order: &Order) -> Next {
        let wait = self.wait;
        let exchange = async {
            self.send(order).await.ok()?;
            self.receive().await
        };
        let said = tokio::time::timeout(wait, exchange).await;
        match said {
            Ok(Some(Said::Call(asked))) => Next::Call(asked),
            Ok(Some(Said::Ended(stepped))) => Next::Ended(stepped),
            Ok(None) => Next::Ended(Stepped::lost(self.last_words())),
            Err(_) => Next::Ended(Stepped::lost("TimeoutError: the code was stopped: it took too long")),
        }
    }

    async fn send(&mut self, order: &Order) -> Result<(), ToolFault> {
        let mut line = serde_json::to_string(order).map_err(ToolFault::new)?;
        line.push('\n');
        self.input.write_all(line.as_bytes()).await.map_err(ToolFault::new)
    }

    async fn receive(&mut self) -> Option<Said> {
        let mut line = String::new();
        (&mut self.output).take(LINE_BYTES_MAX).read_line(&mut line).await.ok()?;
        serde_json::from_str(&line).ok()
    }

    /// Why the process is gone.
    fn last_words(&mut self) -> &'static str {
        use std::os::unix::process::ExitStatusExt as _;
        // It may have said something unreadable and live on.
        let _ = self.child.kill();
        let signal = self.child.wait().ok().and_then(|status| status.signal());
        match signal {
            Some(bound::ABORT) => {
                "MemoryError: the code was stopped: it asked for more memory than it may have"
            }
            Some(bound::PROCESSOR) => {
                "TimeoutError: the code was stopped: its interpreter used up all its time"
            }
            _ => "SystemError: the interpreter broke down over this code",
        }
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        // What has ended already needs no signal.
        let _ = self.child.kill();
        drop(self.child.wait());
    }
}
