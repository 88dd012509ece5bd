//! A hub on this computer: one repository, answered as the hub does, and as badly as a test wants it.

#![allow(clippy::unwrap_used, dead_code, reason = "a failed unwrap is a failed test; each test uses what it needs")]

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use sha2::{Digest as _, Sha256};

/// What was asked for, as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The connection ends after so many bytes of the body.
    pub(crate) cut_after: Option<usize>,
    /// No more is sent until the other side gives up.
    pub(crate) then_silent: bool,
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply { status: 200, body: body.into(), ..Reply::default() }
    }

    pub(crate) fn status(status: u16, code: &str) -> Reply {
        let headers = if code.is_empty() { Vec::new() } else { vec![("x-error-code".to_owned(), code.to_owned())] };
        Reply { status, headers, ..Reply::default() }
    }

    pub(crate) fn redirect(to: &str) -> Reply {
        Reply { status: 302, headers: vec![("location".to_owned(), to.to_owned())], ..Reply::default() }
    }

    /// A body, or what of it the request's `Range` wants.
    pub(crate) fn ranged(request: &Request, body: &[u8]) -> Reply {
        let from =
            request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match from {
            None => Reply::ok(body),
            Some(from) if from >= body.len() => Reply::status(416, ""),
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                let headers = vec![("content-range".to_owned(), range)];
                Reply { status: 206, headers, body: body[from..].to_vec(), ..Reply::default() }
            }
        }
    }
}

/// What is said goes through it.
pub(crate) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

type Answering = dyn Fn(&Request) -> Reply + Send + Sync;

pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    ending: Arc<Mutex<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        Server::over(|stream| Box::new(stream), answer)
    }

    /// With something between the network and what is said.
    pub(crate) fn over(
        wrap: impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, ending) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(false)));
        let answer: Arc<Answering> = Arc::new(answer);
        let (log, end) = (Arc::clone(&seen), Arc::clone(&ending));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if *end.lock().unwrap() {
                    return;
                }
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                // One that hangs must not keep the next from being answered.
                let stream = wrap(stream.unwrap());
                std::thread::spawn(move || serve(stream, &log, &answer));
            }
        });
        Server { address, seen, ending, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        *self.ending.lock().unwrap() = true;
        // Wakes the listener.
        TcpStream::connect(self.address).ok();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn serve(mut stream: Box<dyn Stream>, log: &Mutex<Vec<Request>>, answer: &Arc<Answering>) {
    let mut lines = BufReader::new(&mut stream).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    });
    let request = Request { path, headers: headers.collect() };
    log.lock().unwrap().push(request.clone());
    let reply = answer(&request);
    let mut head =
        format!("HTTP/1.1 {} -\r\nconnection: close\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
    reply.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    let sent = reply.cut_after.unwrap_or(reply.body.len()).min(reply.body.len());
    // The other side may have gone, which is what some tests are about.
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&reply.body[..sent])).ok();
    stream.flush().ok();
    if reply.then_silent {
        stream.read_exact(&mut [0]).ok();
    }
}

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Git's name for a file of `{}`.
pub(crate) const EMPTY_JSON: &str = "9e26dfeeb6e641a33dae4961196235bdb965b21b";

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Files of a repository. `{}` is listed as git has small files, all others as large ones.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// What the hub's API says of a repository.
pub(crate) fn listing(files: &Files) -> String {
    let siblings: Vec<String> = files
        .iter()
        .map(|(path, bytes)| {
            let size = bytes.len();
            if bytes == b"{}" {
                return format!(r#"{{"rfilename":"{path}","size":2,"blobId":"{EMPTY_JSON}"}}"#);
            }
            let sha = sha256(bytes);
            format!(
                r#"{{"rfilename":"{path}","size":{size},"blobId":"{COMMIT}","lfs":{{"sha256":"{sha}","size":{size},"pointerSize":134}}}}"#
            )
        })
        .collect();
    let all = siblings.join(",");
    format!(
        r#"{{"id":"ann/birds","sha":"{COMMIT}","gated":false,"cardData":{{"license":"cc0-1.0"}},"siblings":[{all}]}}"#
    )
}

/// As the hub answers: the list of files, and each file.
pub(crate) fn answer(request: &Request, files: &Files) -> Reply {
    if request.path.starts_with("/api/models/ann/birds/revision/main") {
        return Reply::ok(listing(files));
    }
    let of = |path: &str| files.iter().find(|(name, _)| name == path);
    match request.path.strip_prefix(&format!("/ann/birds/resolve/{COMMIT}/")) {
        Some(path) => of(path).map_or(Reply::status(404, "EntryNotFound"), |(_, bytes)| Reply::ranged(request, bytes)),
        None => Reply::status(401, "RepoNotFound"),
    }
}

/// Numbers that are not all the same, so that a piece in the wrong place shows.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}
