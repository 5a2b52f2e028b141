//! AWS SDK configuration, built by hand: a Lambda function has its region and credentials in the environment, and
//! aws-config's provider chains would only add size and start-up time.

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, SharedHttpClient};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{HttpClient as _, http_client_fn};

use crate::settings::{MissingSetting, Settings};

/// The certificate authorities of Amazon Trust Services, from which every AWS endpoint's certificate descends
/// (<https://www.amazontrust.com/repository/>). Parsing these five takes a tenth of the time that a full bundle does.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// The configuration of a function's SDK clients.
#[derive(Clone, Debug)]
pub struct Aws {
    region: Region,
    credentials: Credentials,
    tls: TlsContext,
    http: SharedHttpClient,
    endpoints: Settings,
}

/// The reasons why the configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum AwsConfigError {
    #[error(transparent)]
    Missing(#[from] MissingSetting),
    #[error("the file of certificates can't be read")]
    CaBundle(#[source] std::io::Error),
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
        })
    }

    /// Returns the configuration with another HTTP client, which then gets every call of the SDK.
    pub fn over(self, http: SharedHttpClient) -> Self {
        Self { http, ..self }
    }

    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.region())
            .credentials_provider(self.credentials())
            .http_client(self.http());
        config.set_endpoint_url(self.endpoint("AWS_ENDPOINT_URL_DYNAMODB"));
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let mut config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.region())
            .credentials_provider(self.credentials())
            .http_client(self.http());
        config.set_endpoint_url(self.endpoint("AWS_ENDPOINT_URL_SQS"));
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    pub fn region(&self) -> Region {
        self.region.clone()
    }

    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    pub fn http(&self) -> SharedHttpClient {
        self.http.clone()
    }

    /// Returns a connector with the TLS configuration, for clients of AWS outside the SDK.
    pub fn connector(&self) -> Connector {
        let provider = Provider::Rustls(CryptoMode::Ring);
        Connector::builder().tls_provider(provider).tls_context(self.tls.clone()).build()
    }

    /// Returns a connector for a host outside AWS whose certificate descends from one in this PEM file.
    ///
    /// # Errors
    /// Fails if the file can't be read or has no certificates.
    pub fn connector_trusting(&self, path: &str) -> Result<Connector, AwsConfigError> {
        let tls = trusting(std::fs::read(path).map_err(AwsConfigError::CaBundle)?)?;
        Ok(Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls).build())
    }

    /// Returns the endpoint from a variable such as `AWS_ENDPOINT_URL_KMS`, or else from `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self, service: &str) -> Option<String> {
        self.endpoints.get(service).or_else(|| self.endpoints.get("AWS_ENDPOINT_URL")).map(str::to_owned)
    }
}

fn trusting(roots: Vec<u8>) -> Result<TlsContext, AwsConfigError> {
    let store = TrustStore::empty().with_pem_certificate(roots);
    TlsContext::builder().with_trust_store(store).build().map_err(|error| AwsConfigError::Tls(error.into()))
}
