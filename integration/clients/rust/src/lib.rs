//! What the drivers of the client matrix in Rust share: the arguments, the JSON lines and the exit codes (doc.go beside
//! the folder says what each verb does).
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

pub type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The error for what a library has not: the matrix shows a dash.
#[derive(Debug)]
pub struct Lacks(pub &'static str);

impl fmt::Display for Lacks {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Lacks {}

/// The command line: `<bootstrap> <verb> [name=value …]`.
pub struct Args {
    pub bootstrap: String,
    pub verb: String,
    values: BTreeMap<String, String>,
}

impl Args {
    pub fn from_command_line() -> Args {
        let mut words = std::env::args().skip(1);
        Args {
            bootstrap: words.next().unwrap_or_default(),
            verb: words.next().unwrap_or_default(),
            values: words.filter_map(|w| w.split_once('=').map(|(name, value)| (name.into(), value.into()))).collect(),
        }
    }

    pub fn text(&self, name: &str) -> Result<&str> {
        Ok(self.values.get(name).ok_or_else(|| format!("{}: {name}= is missing", self.verb))?)
    }

    pub fn topic(&self) -> Result<&str> {
        self.text("topic")
    }

    pub fn number<N: std::str::FromStr<Err: Error + Send + Sync + 'static>>(&self, name: &str) -> Result<N> {
        Ok(self.text(name)?.parse()?)
    }

    /// What is left of the arguments of `create` and `alter`: the topic's settings.
    pub fn settings(&self) -> impl Iterator<Item = (&String, &String)> {
        self.values.iter().filter(|(name, _)| *name != "topic" && *name != "partitions")
    }

    /// The records of `produce`: key, value, and the header `n`.
    pub fn records(&self) -> Result<impl Iterator<Item = (String, String, String)>> {
        let (count, size): (u64, usize) = (self.number("count")?, self.number("size")?);
        Ok((0..count).map(move |i| {
            let mut value = format!("v{i}");
            value.extend(std::iter::repeat_n('.', size.saturating_sub(value.len())));
            (format!("k{i}"), value, i.to_string())
        }))
    }
}

/// Ends the process with what the verb came to.
pub fn exit(result: Result) -> ! {
    let code = match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            if error.is::<Lacks>() { 3 } else { 1 }
        }
    };
    std::process::exit(code)
}

/// Writes a line at once.
pub fn emit(line: Value) -> Result {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// The line of `version`: what the lock file, by which this is built, says of the library.
pub fn emit_version(client: &str) -> Result {
    let entry = format!("name = \"{client}\"\nversion = \"");
    let (_, rest) = include_str!("../Cargo.lock").split_once(&entry).ok_or("the lock file does not have it")?;
    emit(json!({"client": client, "version": rest.split('"').next()}))
}

/// Writes the line of a consumed record.
pub fn emit_record<'a>(
    (partition, offset, timestamp): (i32, i64, i64),
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result {
    let text = String::from_utf8_lossy;
    let headers: BTreeMap<_, _> = headers.map(|(name, value)| (name, text(value))).collect();
    emit(json!({
        "partition": partition, "offset": offset, "timestamp": timestamp,
        "key": key.map(text), "value": value.map(text), "headers": headers,
    }))
}

/// Returns when standard input ends.
pub async fn stdin_closed() {
    let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
}

/// Calls `send` with s0, s1, … until standard input ends, at most 200 a second, and again with the same one if it fails.
pub async fn steadily<S: AsyncFnMut(String) -> Result<(i32, i64)>>(mut send: S) -> Result {
    let mut ended = std::pin::pin!(stdin_closed());
    let mut i = 0;
    loop {
        let value = format!("s{i}");
        match send(value.clone()).await {
            Ok((partition, offset)) => {
                emit(json!({"partition": partition, "offset": offset, "value": value}))?;
                i += 1;
            }
            Err(error) => eprintln!("{value}: {error}: once more"),
        }
        tokio::select! {
            () = &mut ended => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
}
