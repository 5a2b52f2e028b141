//! Files that are too large for a function's answer. A function of the local stack names such a file in a header, and the gateway
//! sends it. In AWS no function does: S3 sends files itself.

use std::io;
use std::io::SeekFrom;

use axum::body::Body;
use axum::http::Response;
use axum::http::header::CONTENT_LENGTH;
use downloads::{FILE, FILE_PART};
use percent_encoding::percent_decode;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

/// Returns the response with the part of a file that its headers name, if they name one, as its body.
pub(super) async fn with_named_file(mut response: Response<Body>) -> io::Result<Response<Body>> {
    let (file, part) = (response.headers_mut().remove(FILE), response.headers_mut().remove(FILE_PART));
    let Some((file, part)) = file.zip(part) else { return Ok(response) };
    let unreadable = || io::Error::other("the function named a file in a way that the gateway can't read");
    let path = percent_decode(file.as_bytes()).decode_utf8().map_err(|_| unreadable())?;
    let (start, size) = part.to_str().ok().and_then(|part| part.split_once(' ')).ok_or_else(unreadable)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| unreadable());
    let (start, size) = (number(start)?, number(size)?);
    let mut file = File::open(&*path).await?;
    file.seek(SeekFrom::Start(start)).await?;
    response.headers_mut().insert(CONTENT_LENGTH, size.into());
    *response.body_mut() = Body::from_stream(ReaderStream::new(file.take(size)));
    Ok(response)
}
