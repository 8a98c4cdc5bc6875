//! The log of servers in this process, as the executable writes it with `--log json`: one object in each line.

use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

#[derive(Clone, Copy, Debug)]
struct Memory;

impl Write for Memory {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Memory {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

/// Keeps everything that is logged in this process from now on.
pub fn keep() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        // A test that chose another subscriber reads its log itself.
        let _ = tracing_subscriber::fmt().json().flatten_event(true).with_writer(Memory).try_init();
    });
}

/// The log as text.
#[must_use]
pub fn text() -> String {
    String::from_utf8_lossy(&LINES.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

/// Every line of `text` as the object that it must be.
///
/// # Panics
/// If a line is not one JSON object.
#[must_use]
pub fn events(text: &str) -> Vec<Value> {
    let object = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(value @ Value::Object(_)) => value,
        other => unreachable!("a line of the log is not one object: {line:?}: {other:?}"),
    };
    text.lines().map(object).collect()
}

/// The one event with this reference.
///
/// # Panics
/// If there is none or more than one.
#[must_use]
pub fn event(reference: &str) -> Value {
    let mut found: Vec<Value> =
        events(&text()).into_iter().filter(|e| e.get("reference") == Some(&reference.into())).collect();
    assert_eq!(found.len(), 1, "events with reference {reference}");
    found.remove(0)
}
