//! The binary `loyal`.

mod access;
mod agent;
mod args;
mod chain;
mod clock;
mod completions;
mod court;
mod curve;
mod demo;
mod ending;
mod endpoint;
mod env;
mod fingerprint;
mod governance;
mod host;
mod hub;
mod key;
mod manual;
mod model;
mod output;
mod owner;
mod prover;
mod report;
mod shipped;
mod site;
mod stake;
mod stop;
mod store;
mod subject;
mod time;
mod up;
mod validator;
mod verify;

use ending::Ending;

/// Training allocates and frees megabytes at every operation; the system's allocator gives the pages back each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let result = args::run();
    if let Err(error) = &result
        && error.downcast_ref() != Some(&Ending::PipeClosed)
    {
        output::complain(error);
    }
    ending::code(&result)
}
