//! AWS SDK configuration, built by hand: a Lambda function has its region and credentials in the environment, and
//! aws-config's provider chains would only add size and start-up time.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{HttpClient as _, http_client_fn};
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;

use crate::settings::{MissingSetting, Settings};

/// The certificate authorities of Amazon Trust Services, from which every AWS endpoint's certificate descends
/// (<https://www.amazontrust.com/repository/>). Parsing these five takes a tenth of the time that a full bundle does.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// The time limits of every call of AWS.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For opening a connection.
    pub connect: Duration,
    /// For one attempt of a call.
    pub attempt: Duration,
    /// For a call with its retries.
    pub call: Duration,
}

impl Limits {
    /// The limits in Lambda. A request may go on after one stalled call, for example of the limiter, so the time limit of
    /// each function is more than twice that of a call. An attempt has time for CodeBuild, which is the slowest to answer.
    /// The time left for a second attempt suffices for DynamoDB, on a new connection.
    pub const LAMBDA: Self =
        Self { connect: Duration::from_secs(1), attempt: Duration::from_secs(3), call: Duration::from_millis(4500) };
    /// The limits for services on the same machine, which may be busy, and for long polls.
    pub const PATIENT: Self =
        Self { connect: Duration::from_secs(60), attempt: Duration::from_secs(60), call: Duration::from_secs(180) };
}

/// The configuration of a function's SDK clients.
#[derive(Clone, Debug)]
pub struct Aws {
    region: Region,
    credentials: Credentials,
    tls: TlsContext,
    http: SharedHttpClient,
    endpoints: Settings,
    limits: Limits,
}

/// The reasons why the configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum AwsConfigError {
    /// A setting that every function needs is not set.
    #[error(transparent)]
    Missing(#[from] MissingSetting),
    /// The PEM file that a setting names can't be read.
    #[error("the file of certificates can't be read")]
    CaBundle(#[source] std::io::Error),
    /// The PEM file has no usable certificates.
    #[error("TLS can't be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Aws {
    /// Reads the variables that Lambda sets (`AWS_REGION` and the credentials) and those that every AWS tool reads:
    /// `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_DYNAMODB` and the like, and `AWS_CA_BUNDLE`, a PEM file that replaces the
    /// built-in roots.
    pub fn new(settings: &Settings) -> Result<Self, AwsConfigError> {
        let credentials = Credentials::new(
            settings.require("AWS_ACCESS_KEY_ID")?,
            settings.require("AWS_SECRET_ACCESS_KEY")?,
            settings.get("AWS_SESSION_TOKEN").map(str::to_owned),
            None,
            "environment",
        );
        let tls = match settings.get("AWS_CA_BUNDLE") {
            Some(path) => trusting(std::fs::read(path).map_err(AwsConfigError::CaBundle)?)?,
            None => trusting(AMAZON_ROOTS.to_vec())?,
        };
        let provider = Provider::Rustls(CryptoMode::Ring);
        let client = Builder::new().tls_provider(provider).tls_context(tls.clone()).build_https();
        // Without this closure, the SDK would parse the certificates once more for each client, to validate it.
        let http = http_client_fn(move |settings, components| client.http_connector(settings, components));
        Ok(Self {
            region: Region::new(settings.require("AWS_REGION")?.to_owned()),
            credentials,
            tls,
            http,
            endpoints: settings.clone(),
            limits: Limits::LAMBDA,
        })
    }

    /// Returns the configuration with another HTTP client, which then carries every call of the SDK.
    pub fn over(self, http: SharedHttpClient) -> Self {
        Self { http, ..self }
    }

    /// Returns the configuration with other time limits than [`Limits::LAMBDA`].
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the time limits of every client that this configuration makes.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns the configuration of a client of the SDK. `service` is the variable with the endpoint of the service, for
    /// example `AWS_ENDPOINT_URL_KMS`.
    pub fn client(&self, service: &str) -> SdkConfig {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.limits.connect)
            .operation_attempt_timeout(self.limits.attempt)
            .operation_timeout(self.limits.call);
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.region.clone())
            .credentials_provider(SharedCredentialsProvider::new(self.credentials.clone()))
            .http_client(self.http.clone())
            .timeout_config(timeouts.build());
        config.set_endpoint_url(self.endpoint(service));
        config.build()
    }

    /// Returns a client of DynamoDB, at `AWS_ENDPOINT_URL_DYNAMODB` if that is set.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.client("AWS_ENDPOINT_URL_DYNAMODB"))
    }

    /// Returns a client of SQS, at `AWS_ENDPOINT_URL_SQS` if that is set.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.client("AWS_ENDPOINT_URL_SQS"))
    }

    /// Returns the region in `AWS_REGION`.
    pub fn region(&self) -> Region {
        self.region.clone()
    }

    /// Returns the credentials of the function's role, for clients of AWS outside the SDK.
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// Returns a connector with the TLS configuration, for clients of AWS outside the SDK.
    pub fn connector(&self) -> Connector {
        let provider = Provider::Rustls(CryptoMode::Ring);
        Connector::builder().tls_provider(provider).tls_context(self.tls.clone()).build()
    }

    /// Returns a connector for hosts outside AWS whose certificates descend from one in this PEM file.
    ///
    /// # Errors
    /// Fails if the file can't be read or has no certificates.
    pub(crate) fn connector_trusting(&self, path: &str) -> Result<Connector, AwsConfigError> {
        let tls = trusting(std::fs::read(path).map_err(AwsConfigError::CaBundle)?)?;
        Ok(Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls).build())
    }

    /// Returns the endpoint from a variable such as `AWS_ENDPOINT_URL_KMS`, or else from `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self, service: &str) -> Option<String> {
        self.endpoints.get(service).or_else(|| self.endpoints.get("AWS_ENDPOINT_URL")).map(str::to_owned)
    }
}

/// The code of a call that took longer than its time limit.
pub(crate) const TIMEOUT: &str = "timeout";

/// The codes of calls that a service refuses because there are too many.
const THROTTLING: [&str; 5] = [
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
];

/// Returns the code of a failed call: the service's own, or `timeout`, `unreachable` or `unreadable`.
pub fn code_of<E: ProvideErrorMetadata>(error: &SdkError<E>) -> &str {
    match error {
        SdkError::ServiceError(service) => service.err().code().unwrap_or("unknown"),
        SdkError::TimeoutError(_) => TIMEOUT,
        SdkError::DispatchFailure(_) => "unreachable",
        _ => "unreadable",
    }
}

/// Returns whether a call that failed with this code can succeed later.
pub fn is_passing(code: &str) -> bool {
    const PASSING: [&str; 6] = [
        TIMEOUT,
        "unreachable",
        "AccountLimitExceededException",
        "ServiceUnavailableException",
        "TransactionConflictException",
        "InternalServerError",
    ];
    PASSING.contains(&code) || is_throttling(code)
}

/// Returns whether a service refused a call because there are too many. It has not applied the call.
pub(crate) fn is_throttling(code: &str) -> bool {
    THROTTLING.contains(&code)
}

fn trusting(roots: Vec<u8>) -> Result<TlsContext, AwsConfigError> {
    let store = TrustStore::empty().with_pem_certificate(roots);
    TlsContext::builder().with_trust_store(store).build().map_err(|error| AwsConfigError::Tls(error.into()))
}
