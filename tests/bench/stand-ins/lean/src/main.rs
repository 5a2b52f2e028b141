//! The leanest function that reads items through the SDK. It shows the minimum cost of the calls.

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::{Client, Config};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use futures_util::future::try_join_all;
use lambda_http::{Body, Error, Request, Response, run, service_fn};

/// The roots that the functions trust.
const AMAZON_ROOTS: &[u8] = include_bytes!("../../../../../shared/src/amazon-roots.pem");

struct Reader {
    client: Client,
    table: String,
    pk: String,
    sk: String,
    /// The numbers of concurrent calls: `3` is three concurrent calls; `1,2` is one call, then two concurrent ones.
    calls: Vec<usize>,
}

fn main() -> Result<(), Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let reader = Reader::from_env()?;
        // Opens the connection in init.
        reader.read().await?;
        run(service_fn(|request| reader.answer(request))).await
    })
}

impl Reader {
    fn from_env() -> Result<Self, Error> {
        let roots = match std::env::var("AWS_CA_BUNDLE") {
            Ok(path) => std::fs::read(path)?,
            Err(_) => AMAZON_ROOTS.to_vec(),
        };
        let roots = TrustStore::empty().with_pem_certificate(roots);
        let tls = TlsContext::builder().with_trust_store(roots).build()?;
        let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls).build_https();
        let (key, secret) = (std::env::var("AWS_ACCESS_KEY_ID")?, std::env::var("AWS_SECRET_ACCESS_KEY")?);
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(std::env::var("AWS_REGION")?))
            .credentials_provider(Credentials::new(key, secret, None, None, "environment"))
            .http_client(http);
        config.set_endpoint_url(std::env::var("AWS_ENDPOINT_URL_DYNAMODB").ok());
        let calls = std::env::var("CALLS")?.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self {
            client: Client::from_conf(config.build()),
            table: std::env::var("TABLE_NAME")?,
            pk: std::env::var("ITEM_PK")?,
            sk: std::env::var("ITEM_SK")?,
            calls,
        })
    }

    async fn read(&self) -> Result<usize, Error> {
        let key = |text: &String| AttributeValue::S(text.clone());
        let item = self.client.get_item().table_name(&self.table).key("pk", key(&self.pk)).key("sk", key(&self.sk));
        Ok(item.send().await?.item().map_or(0, |item| item.len()))
    }

    async fn answer(&self, _request: Request) -> Result<Response<Body>, Error> {
        let mut attributes = 0;
        for at_once in &self.calls {
            attributes += try_join_all((0..*at_once).map(|_| self.read())).await?.iter().sum::<usize>();
        }
        let body = format!("{{\"attributes\":{attributes}}}");
        Ok(Response::builder().header("content-type", "application/json").body(body.into())?)
    }
}
