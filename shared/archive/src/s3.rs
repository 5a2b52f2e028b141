//! S3 access by `object_store` over the AWS SDK's HTTP client, which has the one TLS implementation and the one set of root
//! certificates.

use async_trait::async_trait;
use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt, Full};
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use shared::aws::Aws;

pub(crate) fn open(bucket: &str, aws: &Aws) -> object_store::Result<AmazonS3> {
    let credentials = aws.credentials();
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(aws.region().to_string())
        .with_access_key_id(credentials.access_key_id())
        .with_secret_access_key(credentials.secret_access_key())
        .with_http_connector(SdkHttp(SharedHttpConnector::new(aws.connector())));
    if let Some(token) = credentials.session_token() {
        builder = builder.with_token(token);
    }
    if let Some(endpoint) = aws.endpoint("AWS_ENDPOINT_URL_S3") {
        builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
    }
    builder.build()
}

#[derive(Clone, Debug)]
struct SdkHttp(SharedHttpConnector);

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
        let request = http::Request::from_parts(parts, SdkBody::from(body));
        let request = request.try_into().map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let response = self.0.call(request).await.map_err(failed)?;
        let response = response.try_into_http1x().map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| HttpError::new_boxed(HttpErrorKind::Interrupted, error))?;
        let body = HttpResponseBody::new(Full::new(body.to_bytes()).map_err(|never| match never {}));
        Ok(HttpResponse::from_parts(parts, body))
    }
}

fn failed(error: ConnectorError) -> HttpError {
    let kind = match () {
        () if error.is_timeout() => HttpErrorKind::Timeout,
        () if error.is_io() => HttpErrorKind::Connect,
        () => HttpErrorKind::Request,
    };
    HttpError::new(kind, error)
}
