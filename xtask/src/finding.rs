//! Something a tidy rule holds against a file.

use std::fmt;

/// One fault, where it is and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the root.
    pub path: String,
    /// The line, from 1; 0 for the whole file.
    pub line: usize,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Finding {
    /// A fault of a line (from 1), or of a whole file (0).
    pub fn new(path: &str, line: usize, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, problem: problem.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.problem),
            line => write!(formatter, "{}:{line}: {}", self.path, self.problem),
        }
    }
}
