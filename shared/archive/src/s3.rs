//! S3 access by `object_store` over the AWS SDK's HTTP client, so that there is only one TLS implementation and one set
//! of root certificates.

use std::time::Duration;

use async_trait::async_trait;
use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, RetryConfig};
use shared::aws::{Aws, Limits};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::store::Patience;

/// The slowest upload that is waited for, in bytes in a millisecond.
const SLOWEST_UPLOAD: u64 = 1000;

impl Patience {
    /// Returns the time after which no attempt begins.
    fn repeats_for(self, limits: Limits) -> Duration {
        match self {
            Self::Request => limits.call - limits.attempt,
            Self::Run => Duration::from_secs(60),
        }
    }
}

pub(crate) fn open(bucket: &str, aws: &Aws, patience: Patience) -> object_store::Result<AmazonS3> {
    let credentials = aws.credentials();
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(aws.region().to_string())
        .with_access_key_id(credentials.access_key_id())
        .with_secret_access_key(credentials.secret_access_key())
        .with_retry(RetryConfig { retry_timeout: patience.repeats_for(aws.limits()), ..RetryConfig::default() })
        .with_http_connector(SdkHttp {
            connector: SharedHttpConnector::new(aws.connector()),
            attempt: aws.limits().attempt,
        });
    if let Some(token) = credentials.session_token() {
        builder = builder.with_token(token);
    }
    if let Some(endpoint) = aws.endpoint("AWS_ENDPOINT_URL_S3") {
        builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
    }
    builder.build()
}

#[derive(Clone, Debug)]
struct SdkHttp {
    connector: SharedHttpConnector,
    /// The time limit for the beginning of a response, and for each part of its body.
    attempt: Duration,
}

impl HttpConnector for SdkHttp {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for SdkHttp {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let upload = Duration::from_millis(body.len() as u64 / SLOWEST_UPLOAD);
        let request = http::Request::from_parts(parts, SdkBody::from(body));
        let request = request.try_into().map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let response = timeout(self.attempt + upload, self.connector.call(request)).await.map_err(late)?;
        let response = response.map_err(failed)?;
        let response = response.try_into_http1x().map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
        let (parts, body) = response.into_parts();
        let body = received(body, self.attempt).await?;
        let body = HttpResponseBody::new(Full::new(body).map_err(|never| match never {}));
        Ok(HttpResponse::from_parts(parts, body))
    }
}

/// Receives a body of any length. Fails if nothing comes for this time.
async fn received(mut body: SdkBody, idle: Duration) -> Result<Bytes, HttpError> {
    let mut received = BytesMut::new();
    while let Some(frame) = timeout(idle, body.frame()).await.map_err(late)? {
        let frame = frame.map_err(|error| HttpError::new_boxed(HttpErrorKind::Interrupted, error))?;
        if let Some(data) = frame.data_ref() {
            received.extend_from_slice(data);
        }
    }
    Ok(received.freeze())
}

fn late(error: Elapsed) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, error)
}

fn failed(error: ConnectorError) -> HttpError {
    let kind = match () {
        () if error.is_timeout() => HttpErrorKind::Timeout,
        () if error.is_io() => HttpErrorKind::Connect,
        () => HttpErrorKind::Request,
    };
    HttpError::new(kind, error)
}
