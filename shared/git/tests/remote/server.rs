use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use git::CloneUrl;
use shared::hosts::Hosts;

use crate::origin::isolated_git;

/// A smart HTTP server on loopback: `git http-backend` behind a few answers of its own.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    /// The headers by lower-case name.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

pub(crate) enum Answer {
    /// The response of `git http-backend` for this path.
    Git(String),
    /// The response of `git http-backend` for this path, which is told this about the protocol instead of what the client says.
    OldGit(String, &'static str),
    /// The response of `git http-backend` for this path, which is not told what the client has.
    DeafGit(String),
    /// The first half of the response of `git http-backend`.
    CutGit(String),
    /// This response, after which the connection ends.
    Raw(Vec<u8>),
    Redirect(&'static str, String),
    Status(&'static str),
    /// A body of this type.
    Content(&'static str, Vec<u8>),
    /// A 401 with this `WWW-Authenticate`.
    Challenge(&'static str),
    /// A body of this type that starts with the first text and repeats the second for ever, or stalls if the second is
    /// empty.
    Endless(&'static str, String, String),
    /// Nothing, while the connection stays open.
    Silence,
}

impl Server {
    /// Serves the repositories in `root`.
    pub(crate) fn new(root: &Path) -> Self {
        Server::answering(root, |request| Answer::Git(request.path.clone()))
    }

    pub(crate) fn answering(root: &Path, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (root, answer, seen) = (root.to_owned(), Arc::new(answer), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (root, answer, seen) = (root.clone(), Arc::clone(&answer), Arc::clone(&seen));
                // Some tests have clients that disconnect early.
                thread::spawn(move || converse(stream?, &root, answer.as_ref(), &seen));
            }
        });
        Server { address, requests }
    }

    pub(crate) fn url(&self, path: &str) -> CloneUrl {
        CloneUrl::parse(&format!("http://{}{path}", self.address), Hosts::AlsoLocal).unwrap()
    }

    /// Returns the address and the port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn converse(
    stream: TcpStream,
    root: &Path,
    answer: &(impl Fn(&Request) -> Answer + ?Sized),
    seen: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(request) = read_request(&mut reader)? {
        seen.lock().unwrap().push(request.clone());
        let (status, headers, body) = match answer(&request) {
            Answer::Git(path) => http_backend(root, &path, &request, header(&request, "git-protocol"))?,
            Answer::OldGit(path, protocol) => http_backend(root, &path, &request, protocol)?,
            Answer::DeafGit(path) => {
                let request = Request { body: without_haves(&request.body), ..request.clone() };
                http_backend(root, &path, &request, header(&request, "git-protocol"))?
            }
            Answer::CutGit(path) => {
                let (status, headers, body) = http_backend(root, &path, &request, header(&request, "git-protocol"))?;
                write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len())?;
                return stream.write_all(&body[..body.len() / 2]);
            }
            Answer::Raw(response) => return stream.write_all(&response),
            Answer::Redirect(status, location) => (status.to_owned(), format!("Location: {location}\r\n"), Vec::new()),
            Answer::Challenge(challenge) => {
                ("401 Unauthorized".to_owned(), format!("WWW-Authenticate: {challenge}\r\n"), Vec::new())
            }
            Answer::Status(status) => (status.to_owned(), String::new(), b"secret words".to_vec()),
            Answer::Content(content_type, body) => {
                ("200 OK".to_owned(), format!("Content-Type: {content_type}\r\n"), body)
            }
            Answer::Endless(content_type, start, again) => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n{start}")?;
                while !again.is_empty() {
                    stream.write_all(again.repeat(1000).as_bytes())?;
                }
                return stall();
            }
            Answer::Silence => return stall(),
        };
        write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len())?;
        stream.write_all(&body)?;
    }
    Ok(())
}

/// Leaves out the lines in which a client names what it has. The first four digits of each line are its length.
fn without_haves(body: &[u8]) -> Vec<u8> {
    let (mut rest, mut kept) = (body, Vec::new());
    while let Some(digits) = rest.get(..4) {
        let length = usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap().max(4);
        let (line, others) = rest.split_at(length);
        if !line[4..].starts_with(b"have ") {
            kept.extend_from_slice(line);
        }
        rest = others;
    }
    kept
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers.get(name).map_or("", String::as_str)
}

fn stall() -> std::io::Result<()> {
    thread::sleep(Duration::from_secs(60));
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, query, headers, body }))
}

/// Runs git behind the part of the CGI interface of RFC 3875 that it uses.
fn http_backend(
    root: &Path,
    path: &str,
    request: &Request,
    protocol: &str,
) -> std::io::Result<(String, String, Vec<u8>)> {
    let mut child = isolated_git()
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", protocol)
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", header(request, "content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    child.stdin.take().unwrap().write_all(&request.body)?;
    let output = child.wait_with_output()?.stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(output[..end].to_vec()).unwrap();
    let mut status = "200 OK".to_owned();
    let mut headers = String::new();
    for line in head.lines() {
        match line.strip_prefix("Status: ") {
            Some(text) => status = text.to_owned(),
            None => headers.extend([line, "\r\n"]),
        }
    }
    Ok((status, headers, output[end + 4..].to_vec()))
}
