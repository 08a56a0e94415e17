//! The binary `loyal`.

mod args;
mod clock;
mod curve;
mod model;
mod stop;

/// Training allocates and frees megabytes at every operation; the system's allocator gives the pages back each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    match args::run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "the one place that tells a person what failed")]
            {
                eprintln!("loyal: {error:#}");
            }
            std::process::ExitCode::FAILURE
        }
    }
}
