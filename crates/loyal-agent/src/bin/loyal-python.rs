//! An interpreter of Python for `loyal_agent::python::Program`: orders on standard input, what came of them on standard output.

fn main() -> std::io::Result<()> {
    loyal_agent::python::serve(std::io::stdin().lock(), std::io::stdout().lock())
}
