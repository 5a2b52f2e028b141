//! TLS in front of the local services, with its own certificate authority.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::Result;
use crate::binaries::workspace;

/// The file of trusted roots on a Linux system.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new([])?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(parameters, key), certificate })
    }

    /// Writes two files of roots, both with this authority. The file for `AWS_CA_BUNDLE` also has the functions'
    /// built-in roots, and the file for `SSL_CERT_FILE` has the system's. So loading the roots takes as long as in AWS.
    pub(crate) fn write_roots(&self, aws: &Path, system: &Path) -> Result<()> {
        let amazon = std::fs::read_to_string(workspace().join("shared/src/amazon-roots.pem"))?;
        std::fs::write(aws, format!("{amazon}\n{}", self.certificate))?;
        let roots = std::fs::read_to_string(SYSTEM_ROOTS).unwrap_or_default();
        Ok(std::fs::write(system, format!("{roots}\n{}", self.certificate))?)
    }

    /// Starts TLS in front of a service on this machine and returns its URL. Counts the connections.
    pub(crate) async fn in_front_of(&self, service: &str, connections: &Arc<AtomicUsize>) -> Result<String> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &self.issuer)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
        let (acceptor, service) = (TlsAcceptor::from(Arc::new(config)), service.replace("http://", ""));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (url, connections) = (format!("https://{}", listener.local_addr()?), connections.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (acceptor, service) = (acceptor.clone(), service.clone());
                tokio::spawn(async move {
                    let (mut client, mut service) =
                        (acceptor.accept(client).await?, TcpStream::connect(service).await?);
                    client.get_ref().0.set_nodelay(true)?;
                    service.set_nodelay(true)?;
                    copy_bidirectional(&mut client, &mut service).await
                });
            }
        });
        Ok(url)
    }
}
