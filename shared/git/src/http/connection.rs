//! gix's smart HTTP transport over the client.

use std::any::Any;
use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::rc::Rc;

use gix::error::{ErrorExt, message};
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use http::{HeaderMap, HeaderName, Request, Response, header};
use ureq::Body;

use super::answer::{check_advertisement, check_result};
use super::body::ResponseBody;
use super::client::{Client, protocol};
use crate::error::RemoteError;

/// Parses gix's header lines, without its user agent: the client has its own.
fn parse_headers(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<HeaderMap, RemoteError> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.as_ref().split_once(':').ok_or_else(|| protocol("a header without a value"))?;
        let name: HeaderName = name.parse().map_err(protocol)?;
        if name != header::USER_AGENT {
            headers.append(name, value.trim().parse().map_err(protocol)?);
        }
    }
    Ok(headers)
}

/// The HTTP requests of gix's smart transport.
pub(crate) struct Connection {
    client: Rc<Client>,
    redirected_base: Option<String>,
}

impl Connection {
    pub(crate) fn new(client: Rc<Client>) -> Self {
        Connection { client, redirected_base: None }
    }

    fn fail(&self, error: RemoteError) -> gix::Error {
        self.client.record(error).and_raise(message("the HTTP request failed"))
    }
}

impl Http for Connection {
    type Headers = Part<HeaderLines>;
    type ResponseBody = Part<BufReader<ResponseBody>>;
    type PostBody = RequestBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        let tail = url.strip_prefix(base_url).expect("the trait promises that the URL starts with its base");
        let (response, base) = parse_headers(headers)
            .and_then(|headers| self.client.get(base_url, tail, &headers))
            .map_err(|error| self.fail(error))?;
        self.redirected_base = Some(base);
        let mut exchange = Exchange::new(Rc::clone(&self.client), None);
        exchange.arrived(response, check_advertisement).map_err(|error| self.fail(error))?;
        Ok(exchange.into_parts().into())
    }

    /// Prepares a request, which is sent when gix starts to read the response. gix writes the whole body before
    /// that: a few lines, because a fetch into an empty repository has nothing to negotiate.
    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Self::Headers, Self::ResponseBody, RequestBody>> {
        let headers = parse_headers(headers).map_err(|error| self.fail(error))?;
        let mut request = Request::post(url).body(Vec::new()).map_err(|error| self.fail(protocol(error)))?;
        *request.headers_mut() = headers;
        self.client.skip_rest(false);
        Ok(Exchange::new(Rc::clone(&self.client), Some(request)).into_parts())
    }

    fn configure(&mut self, _config: &dyn Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected_base.clone()
    }
}

type HeaderLines = Cursor<Vec<u8>>;

/// A request and its response, which is fetched by the first read.
pub(crate) struct Exchange {
    client: Rc<Client>,
    request: Option<Request<Vec<u8>>>,
    headers: Option<HeaderLines>,
    body: Option<BufReader<ResponseBody>>,
}

impl Exchange {
    fn new(client: Rc<Client>, request: Option<Request<Vec<u8>>>) -> Self {
        Exchange { client, request, headers: None, body: None }
    }

    fn send(&mut self) -> io::Result<()> {
        if let Some(request) = self.request.take() {
            let response = self.client.post(request).and_then(|response| self.arrived(response, check_result));
            response.map_err(|error| self.client.record(error))?;
        }
        Ok(())
    }

    /// Keeps a response whose start passes this check.
    fn arrived(
        &mut self,
        response: Response<Body>,
        check: fn(&HeaderMap, &mut ResponseBody) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        let (parts, body) = response.into_parts();
        let mut body = ResponseBody::new(Rc::clone(&self.client), body);
        check(&parts.headers, &mut body)?;
        let mut lines = Vec::new();
        for (name, value) in &parts.headers {
            lines.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        }
        self.headers = Some(Cursor::new(lines));
        self.body = Some(BufReader::new(body));
        Ok(())
    }

    fn into_parts(self) -> PostResponse<Part<HeaderLines>, Part<BufReader<ResponseBody>>, RequestBody> {
        let exchange = Rc::new(RefCell::new(self));
        PostResponse {
            post_body: RequestBody(Rc::clone(&exchange)),
            headers: Part { exchange: Rc::clone(&exchange), take: |exchange| exchange.headers.take(), reader: None },
            body: Part { exchange, take: |exchange| exchange.body.take(), reader: None },
        }
    }
}

pub(crate) struct RequestBody(Rc<RefCell<Exchange>>);

impl Write for RequestBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0.borrow_mut().request {
            Some(request) => request.body_mut().write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The headers or the body of a response.
pub(crate) struct Part<R> {
    exchange: Rc<RefCell<Exchange>>,
    take: fn(&mut Exchange) -> Option<R>,
    reader: Option<R>,
}

impl<R> Part<R> {
    fn reader(&mut self) -> io::Result<&mut R> {
        if self.reader.is_none() {
            let mut exchange = self.exchange.borrow_mut();
            exchange.send()?;
            self.reader = (self.take)(&mut exchange);
        }
        self.reader.as_mut().ok_or(io::ErrorKind::NotConnected.into())
    }
}

impl<R: Read> Read for Part<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader()?.read(buffer)
    }
}

impl<R: BufRead> BufRead for Part<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.exchange.borrow().client.skips_rest() {
            return Ok(&[]);
        }
        self.reader()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(reader) = &mut self.reader {
            reader.consume(amount);
        }
    }
}
